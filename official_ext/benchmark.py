r"""Measures how near an experiment's training is to the machine's limits.

The experiment is chosen as for `official_ext.train`, whose flags it takes::

  python -m official_ext.benchmark --gin_file gin/resnet9_v100.gin --json FILE

About five minutes on two CPU cores; `--rounds 2 --seconds 0.2` is a short form
that shows that all of it runs. With further gin files, or names with a binding
(`no_nesterov:sgd_coupled_decay.nesterov=False`), each a change on top of the
recipe, the training steps alone are compared::

  python -m official_ext.benchmark --gin_file gin/resnet9_v100.gin \
    gin/resnet9_dawn.gin

Nothing is downloaded, and nothing stays behind but FILE and, where they are
measured, the pictures that are drawn.
"""

import json
import os
import pathlib
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from official_ext.command_line import cli
from official_ext.errors import RunError, UserError
from official_ext.machine import stopping

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags of this command."""
  cli.define_experiment_flags()
  flags.DEFINE_string('json', None, 'New file for the figures.')
  flags.DEFINE_integer(
    'rounds', 5, 'How often each speed is measured, in turns.', lower_bound=1
  )
  flags.DEFINE_float(
    'seconds', 4.0, 'Time of one measurement, about.', lower_bound=0.0
  )


def main(
  changes: Sequence[str],
  rivals: Mapping[str, Any] | None = None,
  module: str = 'official_ext.benchmark',
) -> None:
  """Reads the configuration, measures, and prints and writes the figures.

  Args:
    changes: What goes on top of the recipe.
    rivals: Each a `report.Rival` to compare the step with, by its name.
    module: What was run, for the record.
  """
  for number in stopping.signals():
    signal.signal(number, _stop)
  for name in ('mode', 'model_dir'):
    if FLAGS[name].present:
      raise UserError(
        f'--{name}={FLAGS[name].value} has no effect on a benchmark, which '
        'trains and evaluates in a temporary folder; leave it out.'
      )
  if FLAGS.json:
    check_new(FLAGS.json)
  figures = _compare(changes) if changes else _measure_all(rivals)
  figures.setup['command'] = command(module, sys.argv[1:])
  print(figures.table())
  if FLAGS.json:
    write(FLAGS.json, figures.as_dict())
    print(f'Figures: {FLAGS.json}')


def _measure_all(rivals: Mapping[str, Any] | None) -> Any:
  """Measures one experiment in every respect."""
  # TensorFlow is imported here, so that --help and a wrong flag answer at once.
  from official_ext.benchmarks import suite

  experiment = _parse(FLAGS.gin_file or [])
  return suite.run(
    experiment, cli.experiment_arguments(), FLAGS.rounds, FLAGS.seconds, rivals
  )


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
  from official_ext import registry_imports  # noqa: F401
  from official_ext.benchmarks import local_data
  from official_ext.configuration import experiment, gin_config

  gin_config.parse(gin_files, [*bindings, *(FLAGS.gin_params or [])])
  local_data.check(FLAGS)
  return experiment.parse(FLAGS)


def _stop(signum: int, _: Any) -> None:
  """Ends the command by an exception, so that what it started goes."""
  sys.exit(128 + signum)  # As the shell has it.


def command(module: str, arguments: Sequence[str]) -> str:
  """Returns a command line for a record, without where that was written.

  Args:
    module: What was run.
    arguments: Its arguments.
  """
  kept, skip = [], False
  for argument in arguments:
    flag, equals, _ = argument.partition('=')
    if not skip and flag not in ('--json', '-json'):
      kept.append(argument)
    skip = not skip and flag in ('--json', '-json') and not equals
  return f'python -m {module} {shlex.join(kept)}'


def write(path: str, figures: Mapping[str, Any]) -> None:
  """Writes figures as JSON to a file that does not exist yet.

  Raises:
    RunError: If it cannot be written, or exists by now.
  """
  try:
    with open(os.path.expanduser(path), 'x') as file:
      json.dump(figures, file, indent=2)
      file.write('\n')
  except OSError as error:
    raise RunError(
      f'--json={path} cannot be written ({error.strerror}); the figures are '
      'above.'
    ) from error


def check_new(path: str) -> None:
  """Raises where `write` would, before minutes are spent.

  Raises:
    UserError: If the file exists or its folder cannot be written to.
  """
  file = pathlib.Path(path).expanduser()
  if file.exists():
    raise UserError(
      f'--json={path} exists and is not overwritten; name another file.'
    )
  if not os.access(file.parent, os.W_OK | os.X_OK):
    raise UserError(
      f'--json={path} cannot be written: {file.parent} is no folder that can '
      'be written to; name another file.'
    )


if __name__ == '__main__':
  define_flags()
  cli.run(main, takes_files=True)
