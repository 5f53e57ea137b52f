"""The package's benchmark, with the same step in PyTorch beside it.

Usage, in the checkout, after `pip install torch==2.13.0`::

  python -m studies.benchmark --gin_file gin/resnet9_v100.gin --json FILE

It takes the flags of `official_ext.benchmark`. PyTorch's step is measured in
the same process and takes turns with the others.
"""

from collections.abc import Sequence

from official_ext import benchmark
from official_ext.command_line import cli


def main(changes: Sequence[str]) -> None:
  """Measures as the package does, with a rival."""
  from studies.pytorch import step

  benchmark.main(changes, {'pytorch': step.RIVAL}, 'studies.benchmark')


if __name__ == '__main__':
  benchmark.define_flags()
  cli.run(main, takes_files=True)
