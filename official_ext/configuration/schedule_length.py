"""Warns of a training that does not end where its learning rate does."""

import sys
from typing import Any

from official.core import config_definitions as cfg
from official.modeling import optimization
from official.modeling.optimization.configs import learning_rate_config

from official_ext.configs import common
from official_ext.configs.image_classification import ImageClassificationTask

# Fields of Garden's schedules that come to an end, in steps.
_LENGTHS = {
  learning_rate_config.CosineLrConfig: 'decay_steps',
  learning_rate_config.PolynomialLrConfig: 'decay_steps',
  learning_rate_config.PowerAndLinearDecayLrConfig: 'total_decay_steps',
}


def warn(params: cfg.ExperimentConfig) -> None:
  """Prints a line where the rate has not come down at the end, or has too soon.

  `trainer.train_steps` may be set by itself, as for a short trial of a recipe,
  and the schedule then stays as it is.

  Args:
    params: An experiment, whose counts that were left open are filled in.
  """
  optimizer = params.trainer.optimizer_config
  if not (optimizer.optimizer.type and optimizer.learning_rate.type):
    return
  last, end = params.trainer.train_steps, _length(optimizer.learning_rate.get())
  if not end or last in (0, end):
    return
  rate = optimization.OptimizerFactory(optimizer).build_learning_rate()
  final, lowest = (float(rate(step - 1)) for step in (last, end))
  mend = f'use {_setting(params)} to change the length of the schedule'
  if last < end and final > lowest:
    _say(
      f'trainer.train_steps={last} ends before the learning rate comes down: '
      f'at step {last:,} of {end:,} it is {final:.4g}; {mend}'
    )
  elif last > end and not final:
    _say(
      f'the learning rate is 0 from step {end:,} on, but '
      f'trainer.train_steps={last}; {mend}'
    )


def _length(schedule: Any) -> int:
  """Returns the step at which a schedule ends; 0 if it has no end."""
  if hasattr(schedule, 'steps_per_epoch'):
    return round(common.last_epoch(schedule) * schedule.steps_per_epoch)
  if getattr(schedule, 'cycle', False):
    return 0
  steps = getattr(schedule, _LENGTHS.get(type(schedule), ''), None) or 0
  return steps + schedule.offset if steps else 0


def _setting(params: cfg.ExperimentConfig) -> str:
  """Returns what sets the length of the schedule."""
  if isinstance(params.task, ImageClassificationTask):
    return 'run.epochs (of gin)'
  learning_rate = params.trainer.optimizer_config.learning_rate
  return f'trainer.optimizer_config.learning_rate.{learning_rate.type}'


def _say(text: str) -> None:
  print(f'warning: {text}.', file=sys.stderr)
