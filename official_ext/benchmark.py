r"""Measures how near an experiment's training is to the machine's limits.

The experiment is chosen as for `official_ext.train`, whose flags it takes::

  python -m official_ext.benchmark --gin_file gin/resnet9_v100.gin --json FILE

About five minutes on two CPU cores; `--rounds 2 --seconds 0.2` is a short form
that shows that all of it runs. With further gin files, or names with a binding
(`no_flip:resnet9_cifar10.flip=False`), each a change that goes on top of the
recipe, the training steps alone are compared::

  python -m official_ext.benchmark --gin_file gin/resnet9_v100.gin \
    gin/resnet9_dawn.gin

Nothing is downloaded, and nothing stays behind but FILE and, where they are
measured, the pictures that are drawn.
"""

import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags
from official.common import flags as tfm_flags

from official_ext.command_line import cli
from official_ext.errors import UserError
from official_ext.machine import stopping

FLAGS = flags.FLAGS

# Those of Garden's flags that say what to train; a process that is started to
# be measured gets them too.
_EXPERIMENT_FLAGS = (
  'experiment',
  'gin_file',
  'gin_params',
  'config_file',
  'params_override',
  'tpu',
  'tf_data_service',
)


def define_experiment_flags() -> None:
  """Defines the flags that choose what to measure."""
  tfm_flags.define_flags()
  cli.define_flags()
  FLAGS.set_default('experiment', 'resnet9_cifar10')


def define_flags() -> None:
  """Defines the flags of this command."""
  define_experiment_flags()
  flags.DEFINE_string('json', None, 'New file for the figures.')
  flags.DEFINE_integer(
    'rounds', 5, 'How often each speed is measured, in turns.', lower_bound=1
  )
  flags.DEFINE_float(
    'seconds', 4.0, 'Time of one measurement, about.', lower_bound=0.0
  )


def main(changes: Sequence[str]) -> None:
  """Reads the configuration, measures, and prints and writes the figures."""
  for number in stopping.signals():
    signal.signal(number, _stop)
  for name in ('mode', 'model_dir'):
    if FLAGS[name].present:
      raise UserError(
        f'--{name}={FLAGS[name].value} has no effect on a benchmark, which '
        'trains and evaluates in a temporary folder; leave it out.'
      )
  # TensorFlow is imported here, so that --help and a wrong flag answer at once.
  from official_ext.benchmarks import report

  if FLAGS.json:
    report.check_new(FLAGS.json)
  figures = _compare(changes) if changes else _measure_all()
  print(figures.table())
  if FLAGS.json:
    report.write(FLAGS.json, figures.as_dict())
    print(f'Figures: {FLAGS.json}')


def _measure_all() -> Any:
  """Measures one experiment in every respect."""
  from official_ext.benchmarks import suite

  arguments = [
    argument
    for name in _EXPERIMENT_FLAGS
    if FLAGS[name].value is not None
    for argument in _serialize(name)
  ]
  params = _parse(FLAGS.gin_file or [])
  return suite.run(params, arguments, FLAGS.rounds, FLAGS.seconds)


def _compare(changes: Sequence[str]) -> Any:
  """Measures the steps of the recipe and of changes to it."""
  from official_ext.benchmarks import step_times
  from official_ext.configuration import gin_config

  files = FLAGS.gin_file or []
  recipe = pathlib.Path(files[-1]).stem if files else FLAGS.experiment
  named = gin_config.named_changes(recipe, changes)
  variants = {recipe: _parse(files)}
  for change in named:
    variants[change.name] = _parse([*files, *change.files], change.bindings)
  return step_times.measure(variants, FLAGS.rounds, FLAGS.seconds)


def _parse(gin_files: Sequence[str], bindings: Sequence[str] = ()) -> Any:
  """Returns the config of gin files and bindings, whose data is here."""
  from official_ext.benchmarks import local_data
  from official_ext.configuration import experiment, gin_config

  gin_config.parse(gin_files, [*bindings, *(FLAGS.gin_params or [])])
  local_data.check(FLAGS)
  return experiment.parse(FLAGS)


def _serialize(name: str) -> list[str]:
  """Returns a flag as a command line has it, once for each of its values."""
  value = FLAGS[name].value
  values = value if isinstance(value, list) else [value]
  return [f'--{name}={item}' for item in values]


def _stop(signum: int, _: Any) -> None:
  """Ends the command by an exception, so that what it started goes."""
  sys.exit(128 + signum)  # As the shell has it.


if __name__ == '__main__':
  define_flags()
  cli.run(main, takes_files=True)
