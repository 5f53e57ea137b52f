"""Trains and evaluates: Garden's driver, with this package's experiments.

Usage::

  python -m official_ext.train --gin_file gin/resnet9_v100.gin
"""

from absl import flags
from official.common import flags as tfm_flags

from official_ext.core import cli

FLAGS = flags.FLAGS


def main() -> None:
  """Reads the configuration, then trains in a folder of the run's own."""
  # TensorFlow is imported here, so that --help and a wrong flag answer at once.
  from official_ext.core import experiment, gin_config, run_dir, train_lib

  gin_files = FLAGS.gin_file or []
  gin_config.parse(gin_files, FLAGS.gin_params or [])
  params = experiment.parse(FLAGS)
  model_dir = run_dir.choose(FLAGS.model_dir, gin_files, FLAGS.experiment)
  train_lib.run(params, FLAGS.mode, model_dir)


if __name__ == '__main__':
  tfm_flags.define_flags()
  cli.define_flags()
  FLAGS.set_default('experiment', 'resnet9_cifar10')
  FLAGS.set_default('mode', 'train_and_eval')
  cli.run(main)
