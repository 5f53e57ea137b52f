"""Kills a training up to three times; compares it with one that was not killed.

Usage, in the checkout, with the flags of `official_ext.train`; here the network
in full, on a tenth of CIFAR-10::

  python tests/kill_and_resume.py --gin_file gin/resnet9_v100.gin \
    --gin_params "data.train_split='train[:5120]'" \
    --gin_params "run.epochs=4" \
    --gin_params "triangular.peak_epoch=1"

The moments are random, and the runs `deterministic`. The exit status is 1 if a
weight differs in a bit, or the tables in anything but seconds.
"""

import pathlib
import random
import subprocess
import sys
import tempfile
import time

import conftest  # noqa: F401  It quiets TensorFlow.
from helpers import runs

_KILLS = 3


def start(arguments, model_dir):
  command = [sys.executable, '-m', 'official_ext.train', *arguments]
  command += ['--gin_params=run.deterministic=True']
  command += [f'--model_dir={model_dir}']
  return subprocess.Popen(command)


def train(arguments, model_dir):
  if start(arguments, model_dir).wait():
    raise SystemExit('The training failed.')


def main(arguments):
  """Trains, trains with kills, and compares."""
  with tempfile.TemporaryDirectory() as folder:
    straight, killed = (pathlib.Path(folder) / name for name in 'ab')
    began = time.monotonic()
    train(arguments, straight)
    seconds = time.monotonic() - began
    kills = 0
    for _ in range(_KILLS):
      process = start(arguments, killed)
      # A start alone takes some of them.
      time.sleep(random.uniform(0.2, 0.8) * seconds)
      ended = process.poll() is not None
      process.kill()
      process.wait()
      kills += not ended
      print(f'\n{"Too late to kill" if ended else "Killed"}.', flush=True)
    train(arguments, killed)
    runs.assert_same_run(straight, killed)
    print(f'The same bits after {kills} kills.')


if __name__ == '__main__':
  main(sys.argv[1:])
