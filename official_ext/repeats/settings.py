"""What a training was asked to be, wherever it was made, and how two differ.

Settings are an experiment's config as nested dicts, before the machine fills in
what is left open. They lack what is tied to a place; what they lack because it
is newer has its default.
"""

import copy
import hashlib
import json
import pathlib
from typing import Any

from official.core import config_definitions as cfg
from official.modeling import hyperparams

from official_ext.configs import common
from official_ext.configs.image_classification import ImageClassificationTask
from official_ext.errors import UserError
from official_ext.schema import comparison, fields
from official_ext.schema.comparison import Difference
from official_ext.schema.fields import Tie

Settings = dict[str, Any]


def of(params: cfg.ExperimentConfig) -> Settings:
  """Returns the settings of a config.

  A checkpoint's place is told from another's by a digest of it.
  """
  settings = _without_places(params, Tie.WEIGHTS)
  common.leave_out(_following_from_epochs(params), settings)
  checkpoint = params.task.init_checkpoint
  if checkpoint:
    digest = hashlib.sha256(repr(checkpoint).encode())
    settings['task']['init_checkpoint'] = digest.hexdigest()[:16]
  # As a file has them: lists for tuples.
  return json.loads(json.dumps(settings))


def _without_places(config: hyperparams.Config, inherited: Tie) -> Settings:
  settings, plain = {}, config.as_dict()
  for key, value in fields.chosen(config):
    tie = fields.tie_of(type(config), key, inherited)
    if isinstance(value, hyperparams.Config):
      settings[key] = _without_places(value, tie)
    elif tie > Tie.PLACE:
      settings[key] = plain[key]
  return {key: value for key, value in settings.items() if value != {}}


def _following_from_epochs(params: cfg.ExperimentConfig) -> list[str]:
  """Returns the places of counts that say no more than the epochs do."""
  trainer, optimization = params.trainer, 'trainer.optimizer_config'
  return [
    'trainer.steps_per_epoch',
    *(f'trainer.{key}' for key in common.following_counts(trainer)),
    *(f'{optimization}.{key}' for key in common.following_lengths(trainer)),
  ]


def digest(settings: Settings) -> str:
  """Returns what is the same for settings that differ in their seeds alone."""
  without = copy.deepcopy(settings)
  common.leave_out(common.SEEDS, without)
  text = json.dumps(without, sort_keys=True)
  return f'sha256:{hashlib.sha256(text.encode()).hexdigest()}'


def asked_precision(settings: Settings) -> str:
  """Returns the precision that is asked for; 'auto' for what a machine has."""
  return settings['runtime']['mixed_precision_dtype'] or 'auto'


def differences(
  there: Settings, asked: Settings, seeds: bool = False
) -> list[Difference]:
  """Returns where two trainings differ; those of one variant nowhere.

  Args:
    there: What the one was asked to be.
    asked: What the other is.
    seeds: Whether other seeds are a difference.
  """
  # Garden takes a while to make a config.
  if there == asked or (not seeds and digest(there) == digest(asked)):
    return []
  before = config(there).as_dict()
  found = comparison.differences(before, config(asked), Tie.FUTURE)
  return [each for each in found if seeds or each.place not in common.SEEDS]


def config(settings: Settings) -> cfg.ExperimentConfig:
  """Returns a config of the experiment's own classes, for what they know."""
  return cfg.ExperimentConfig(
    task=ImageClassificationTask(settings.get('task')),
    trainer=common.TrainerConfig(settings.get('trainer')),
    runtime=common.RuntimeConfig(settings.get('runtime')),
  )


def check_same(
  asked: Settings,
  there: Settings,
  place: pathlib.Path | str,
  mend: str,
  seeds: bool = False,
) -> None:
  """Raises where a name stands for two trainings.

  Args:
    asked: Settings, as they ought to be.
    there: Settings, as they are.
    place: Where the latter are.
    mend: What to do.
    seeds: Whether the seeds have to be the same.

  Raises:
    UserError: If they differ; it names the value that is least deep in the
      config, and how many more there are.
  """
  found = differences(there, asked, seeds)
  if not found:
    return
  first = min(found, key=lambda each: each.place.count('.'))
  more = f' and {len(found) - 1} more' if len(found) > 1 else ''
  raise UserError(
    f'{place} is of a training with other settings: {first.place}='
    f'{first.before!r} instead of {first.now!r}{more}; {mend}.'
  )
