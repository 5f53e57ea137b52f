"""What a run was asked to be, from its own folder alone."""

import argparse
import copy
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from official_ext.checkpoints import average
from official_ext.configs import common
from official_ext.configuration import experiment, gin_config
from official_ext.configuration.experiment import Experiment
from official_ext.configuration.flags import Flags
from official_ext.errors import UserError
from official_ext.machine import devices
from official_ext.runs import description, recorded_config
from official_ext.schema import fields
from official_ext.schema.fields import Tie


@dataclasses.dataclass(frozen=True)
class Recorded:
  """A run as it was asked for.

  Attributes:
    experiment: The same, on what this machine has.
    arguments: Those of `official_ext.train` that asked for it.
    mode: The one that they ask for.
  """

  experiment: Experiment
  arguments: Sequence[str]
  mode: str


def is_in(model_dir: str) -> bool:
  """Whether a folder, or the one whose best it holds, tells of a run."""
  return (_run(model_dir) / description.PARAMS).is_file()


def parse(model_dir: str, flags: Flags, data_dir: str = '') -> Recorded:
  """Returns what a run was asked for.

  Devices are taken from this machine, and so is the precision where this
  machine does not compute in that of the run.

  Args:
    model_dir: The run's folder, or its best one.
    flags: What is tied to a place in it counts, and the default experiment.
    data_dir: Folder of TFDS data sets, where it is no longer the run's.

  Raises:
    UserError: If the folder does not tell, or something in it cannot work.
  """
  run = _run(model_dir)
  path = run / description.PARAMS
  values = copy.deepcopy(dict(recorded_config.read(run)))
  if not values:
    raise UserError(
      f'--model_dir={model_dir} holds no {path.name} that tells how it '
      'was trained; name the folder of a run, or say what it is by --gin_file.'
    )
  _leave_place(values, data_dir)
  if average.is_best(model_dir):
    # There the average is the weights.
    values['trainer']['optimizer_config']['ema'] = None
  recorded_config.import_modules(run)
  requested = run / description.GIN
  gin_config.parse([str(requested)] if requested.is_file() else [], [])
  arguments = description.arguments(run)
  asked = _asked(arguments, flags.experiment)
  flags = dataclasses.replace(flags, experiment=asked.experiment)
  made = experiment.parse(flags, over_gin=experiment.File(str(path), values))
  return Recorded(made, arguments, asked.mode)


def _run(model_dir: str) -> pathlib.Path:
  return average.run_of(os.path.expanduser(model_dir))


def _leave_place(values: dict[str, Any], data_dir: str) -> None:
  """Takes out of a config what is a machine's, and puts a folder in."""
  runtime = {
    key: value
    for key, value in values.get('runtime', {}).items()
    if fields.tie_of(common.RuntimeConfig, key, Tie.PLACE) > Tie.PLACE
  }
  if not devices.computes_in(runtime.get('mixed_precision_dtype')):
    runtime['mixed_precision_dtype'] = None
  values['runtime'] = runtime
  if data_dir:
    for key in ('train_data', 'validation_data'):
      values['task'][key]['tfds_data_dir'] = data_dir


def _asked(arguments: Sequence[str], default: str) -> argparse.Namespace:
  parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  # absl takes both.
  parser.add_argument('--experiment', '-experiment', default=default)
  parser.add_argument('--mode', '-mode', default='train_and_eval')
  return parser.parse_known_args(arguments)[0]
