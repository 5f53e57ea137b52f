"""Trains and evaluates: Garden's driver, with this package's experiments.

Usage::

  python -m official_ext.train --gin_file gin/resnet9_v100.gin

Flags, most of them Garden's (--helpfull lists the rest):

  --gin_file         A gin file, of one's own or of this package; repeatable.
  --gin_params       A binding such as "run.epochs=30"; repeatable.
  --config_file      YAML over the experiment's config, after gin; repeatable.
  --params_override  YAML or a.b=1,c=2 over all of these.
  --model_dir        Folder of the run, new or to go on with; by default a new
                     one in runs/.
  --mode             train_and_eval (default), train, train_and_post_eval,
                     eval, or continuous_eval: of the checkpoints that another
                     process writes with --mode train, as they come.
  --experiment       small_images (default), one of the package's on Garden's
                     tasks such as resnet9_retinanet, or one of Garden's.
  --nocompile_cache  Do not keep what XLA compiles for a GPU.
  --traceback        Show the full trace of an error.
"""

import contextlib

from absl import flags

from official_ext.command_line import cli
from official_ext.errors import UserError

FLAGS = flags.FLAGS


def main() -> None:
  """Reads the configuration, then trains in a folder of the run's own."""
  # TensorFlow is imported here, so that --help and a wrong flag answer at once.
  from official_ext import registry_imports  # noqa: F401
  from official_ext.command_line import streams
  from official_ext.configuration import (
    experiment,
    gin_config,
    schedule_length,
  )
  from official_ext.machine import workers
  from official_ext.runs import run_dir
  from official_ext.training import session

  streams.outlive_readers()
  gin_files = FLAGS.gin_file or []
  gin_config.parse(gin_files, FLAGS.gin_params or [])
  asked = experiment.parse(FLAGS)
  if not FLAGS.model_dir and 'train' not in FLAGS.mode:
    raise UserError(f'--mode={FLAGS.mode} needs the --model_dir of a run.')
  is_chief = workers.configure(asked.params.runtime).is_chief
  if is_chief and 'train' in FLAGS.mode:
    schedule_length.warn(asked.params)
  with (
    run_dir.chosen(FLAGS.model_dir, gin_files, FLAGS.experiment)
    if is_chief
    else contextlib.nullcontext(FLAGS.model_dir)
  ) as model_dir:
    session.run(asked, FLAGS.mode, model_dir)


if __name__ == '__main__':
  cli.define_experiment_flags()
  FLAGS.set_default('mode', 'train_and_eval')
  cli.run(main)
