"""Trains and evaluates: Garden's driver, with this package's experiments.

Usage::

  python -m official_ext.train --gin_file gin/resnet9_v100.gin

Flags, most of them Garden's (--helpfull lists the rest):

  --gin_file         A gin file, of one's own or of this package; repeatable.
  --gin_params       A binding such as "run.epochs=30"; repeatable.
  --config_file      YAML over the experiment's config, after gin; repeatable.
  --params_override  YAML or a.b=1,c=2 over all of these.
  --model_dir        Folder of the run, new or to go on with; by default a new
                     one in runs/. Without any flag above, or --experiment, a
                     run that is there is gone on with, or evaluated, as it was
                     asked for.
  --data_dir         Then, folder of TFDS data sets, where it is not the run's.
  --mode             train_and_eval (default), train, train_and_post_eval,
                     eval, or continuous_eval: of the checkpoints that another
                     process writes with --mode train, as they come.
  --experiment       small_images (default), one of the package's on Garden's
                     tasks such as resnet9_retinanet, or one of Garden's.
  --nocompile_cache  Do not keep what XLA compiles for a GPU.
  --traceback        Show the full trace of an error.
"""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from official_ext.command_line import cli
from official_ext.errors import UserError

if TYPE_CHECKING:
  from official_ext.configuration.experiment import Experiment

FLAGS = flags.FLAGS


def main() -> None:
  """Reads the configuration, then trains in a folder of the run's own."""
  # TensorFlow is imported here, so that --help and a wrong flag answer at once.
  from official_ext import registry_imports  # noqa: F401
  from official_ext.command_line import streams
  from official_ext.configuration import schedule_length
  from official_ext.machine import workers
  from official_ext.runs import run_dir
  from official_ext.training import session

  streams.outlive_readers()
  asked, mode, arguments = _asked()
  is_chief = workers.configure(asked.params.runtime).is_chief
  if is_chief and 'train' in mode:
    schedule_length.warn(asked.params)
  with (
    run_dir.chosen(FLAGS.model_dir, FLAGS.gin_file or [], FLAGS.experiment)
    if is_chief
    else contextlib.nullcontext(FLAGS.model_dir)
  ) as model_dir:
    session.run(asked, mode, model_dir, arguments)


def _asked() -> tuple['Experiment', str, Sequence[str] | None]:
  """Returns what to train or evaluate, and how.

  Returns:
    The experiment; the mode; and the arguments that ask for the same, if those
    of this command do not.
  """
  from official_ext.configuration import experiment, gin_config
  from official_ext.configuration.flags import Flags
  from official_ext.runs import as_recorded

  folder, trains = FLAGS.model_dir or '', 'train' in FLAGS.mode
  if not folder and not trains:
    raise UserError(f'--mode={FLAGS.mode} needs the --model_dir of a run.')
  said = cli.chosen_by()
  if not said and (not trains or (folder and as_recorded.is_in(folder))):
    flags_of_place = Flags(
      FLAGS.experiment, tpu=FLAGS.tpu, tf_data_service=FLAGS.tf_data_service
    )
    found = as_recorded.parse(folder, flags_of_place, FLAGS.data_dir)
    mode = FLAGS.mode if FLAGS['mode'].present else found.mode
    return found.experiment, mode, found.arguments
  if FLAGS.data_dir:
    raise UserError(
      f'--data_dir={FLAGS.data_dir} goes with the --model_dir of a run alone; '
      'bind data.data_dir in gin.'
    )
  gin_config.parse(FLAGS.gin_file or [], FLAGS.gin_params or [])
  return experiment.parse(FLAGS), FLAGS.mode, None


if __name__ == '__main__':
  cli.define_experiment_flags()
  cli.define_data_dir()
  FLAGS.set_default('mode', 'train_and_eval')
  cli.run(main)
