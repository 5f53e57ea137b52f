"""Feeds readers of outside bytes what a coverage-guided fuzzer makes up.

Usage, in the checkout, with `pip install atheris`::

  python tests/fuzz.py READER --minutes 10

READER is archive, pickle, image, idx, npz, yaml, table or checkpoints. Whatever
is read, the reader returns or raises what its callers expect; anything else,
more than five seconds, or more than two gigabytes ends the fuzzer, which leaves
the input in a file beside. `tests/fuzz_test.py` replays what was found.
"""

import argparse
import pathlib
import sys
import tempfile

import atheris
import conftest  # noqa: F401  It quiets TensorFlow.

_INSTRUMENTED = [
  'official_ext',
  'PIL',
  'pickle',
  'pickletools',
  'numpy',
  'tarfile',
  'yaml',
  'zipfile',
]

with atheris.instrument_imports(include=_INSTRUMENTED):
  from helpers import fuzz_targets


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('reader', choices=fuzz_targets.READERS)
  parser.add_argument('--minutes', type=float, default=10)
  arguments = parser.parse_args()
  with tempfile.TemporaryDirectory() as corpus:
    for number, seed in enumerate(fuzz_targets.seeds(arguments.reader)):
      (pathlib.Path(corpus) / str(number)).write_bytes(seed)
    seconds = round(60 * arguments.minutes)
    options = [f'-max_total_time={seconds}', '-timeout=5', '-rss_limit_mb=2048']
    options += ['-max_len=65536', '-print_final_stats=1']
    read = fuzz_targets.READERS[arguments.reader]
    target = lambda content: read(content) and None  # noqa: E731
    atheris.Setup([sys.argv[0], *options, corpus], target)
    atheris.Fuzz()


if __name__ == '__main__':
  main()
