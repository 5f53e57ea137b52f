"""Runtime and trainer configurations: Garden's, with this package's fields."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

from official.core import config_definitions as cfg

from official_ext.configs import optimization
from official_ext.errors import UserError
from official_ext.schema import fields, parts
from official_ext.schema.fields import Tie

# Where a config has the seed of a training.
SEEDS = ('runtime.seed', 'task.train_data.seed')


def leave_out(places: Iterable[str], settings: dict[str, Any]) -> None:
  """Takes values out of a config as nested dicts, where it has them.

  Args:
    places: Their dotted places.
    settings: The config; it is changed.
  """
  for place in places:
    *parents, key = place.split('.')
    functools.reduce(lambda d, k: d.get(k, {}), parents, settings).pop(key, '')


@parts.part('runtime')
@dataclasses.dataclass
class RuntimeConfig(cfg.RuntimeConfig):
  """Garden's runtime config, by default of what the machine has.

  Attributes:
    distribution_strategy: One of Garden's; 'auto' for 'tpu' where `tpu` is
      given, 'multi_worker_mirrored' over several workers, 'mirrored' over
      several devices and 'one_device' otherwise.
    num_gpus: Number of GPUs, on each worker; -1 for all there are.
    num_logical_cpus: Devices to divide the CPU into, to rehearse a training on
      several; 0 to leave it whole.
    arrival_timeout_seconds: How long to wait at the start for all workers.
    mixed_precision_dtype: 'float32', 'bfloat16' or 'float16'; None for the
      fastest one that the device computes natively.
    seed: Seed of the initial weights, and of Garden's own input where that has
      none; this package's then takes 0.
    deterministic: Whether to make every operation give the same bits each time,
      or raise an error where it cannot.
  """

  distribution_strategy: str = fields.field('auto', tied_to=Tie.PLACE)
  num_gpus: int = fields.field(-1, tied_to=Tie.PLACE)
  num_logical_cpus: int = fields.field(0, tied_to=Tie.PLACE)
  arrival_timeout_seconds: float = fields.field(300, tied_to=Tie.PLACE)
  seed: int = fields.field(0, fields.SEED, tied_to=Tie.RUN)
  deterministic: bool = fields.field(False, tied_to=Tie.FUTURE)


@dataclasses.dataclass
class TrainerConfig(cfg.TrainerConfig):
  """Garden's trainer config, with a length in epochs.

  `train_steps` and the intervals that are left as the experiment made them
  follow from `epochs` and `steps_per_epoch`.

  Attributes:
    epochs: Passes over the training data.
    evaluation_interval: Epochs from one evaluation, checkpoint and row of the
      table to the next; the last epoch always has them.
    steps_per_epoch: Full batches in the training data, which tell it; 0 where
      nothing knows the epochs, as with Garden's own inputs.
  """

  epochs: float = fields.field(0, tied_to=Tie.FUTURE)
  evaluation_interval: int = fields.field(
    1, fields.AT_LEAST_1, tied_to=Tie.FUTURE
  )
  steps_per_epoch: int = fields.field(0, tied_to=Tie.FUTURE)
  optimizer_config: optimization.OptimizationConfig = fields.field(
    optimization.OptimizationConfig, tied_to=Tie.RUN
  )


def set_steps_per_epoch(trainer: TrainerConfig, steps: int) -> None:
  """Sets all that is counted in steps; one loop from evaluation to evaluation.

  Args:
    trainer: Changed, its schedule too.
    steps: Full batches in the training data.
  """
  trainer.override(counts_of_epochs(trainer, steps))
  trainer.steps_per_epoch = steps
  set_lengths(trainer)


def set_lengths(trainer: TrainerConfig) -> None:
  """Tells what counts in epochs how long the training is, and an epoch.

  Args:
    trainer: Its schedule is changed, and other parts of its optimization.

  Raises:
    UserError: If one of them has another length.
  """
  counting = optimization.counting_epochs(trainer.optimizer_config)
  for place, config in counting.items():
    _set_lengths_of(config, place, trainer)


def _set_lengths_of(config: Any, place: str, trainer: TrainerConfig) -> None:
  for key, value in lengths(trainer).items():
    there = getattr(config, key)
    if not value or not isinstance(there, int | float):
      continue  # It is not known yet, or knots are a list of their own.
    if there not in (0, value):
      raise UserError(
        f'trainer.optimizer_config.{place}.{key}={there:g} '
        f'(gin: {place.rpartition(".")[2]}.{key}) is to be that of the '
        f'training, {value:g}; leave it out.'
      )
    setattr(config, key, value)


def last_epoch(schedule: Any) -> float:
  """Returns the epoch at which a schedule ends that counts in epochs."""
  ends = schedule.epochs
  return ends[-1] if isinstance(ends, list | tuple) else ends


def steps_per_epoch(trainer: cfg.TrainerConfig) -> int:
  """Returns the steps of an epoch.

  Of Garden's own tasks, whose epochs nothing knows, those from one evaluation
  to the next.
  """
  return getattr(trainer, 'steps_per_epoch', 0) or trainer.validation_interval


def counts_of_epochs(trainer: TrainerConfig, steps: int) -> dict[str, int]:
  """Returns the trainer's counts, by field, with so many steps an epoch."""
  interval = trainer.evaluation_interval * steps
  once_an_interval = (
    'steps_per_loop',
    'summary_interval',
    'checkpoint_interval',
    'validation_interval',
  )
  return {
    'train_steps': round(trainer.epochs * steps),
    **dict.fromkeys(once_an_interval, interval),
  }


def following_counts(trainer: TrainerConfig) -> set[str]:
  """Returns the trainer's counts that its epochs make what they are.

  There are none while the steps of an epoch are open.
  """
  steps = trainer.steps_per_epoch
  counts = counts_of_epochs(trainer, steps)
  return {k for k, v in counts.items() if steps and getattr(trainer, k) == v}


def following_lengths(trainer: TrainerConfig) -> set[str]:
  """Returns the places in its `optimizer_config` that the trainer fills in."""
  counting = optimization.counting_epochs(trainer.optimizer_config)
  return {
    f'{place}.{key}'
    for place, config in counting.items()
    for key, value in lengths(trainer).items()
    if value and getattr(config, key) == value
  }


def forget_lengths(trainer: TrainerConfig) -> None:
  """Leaves open what the trainer fills in."""
  counting = optimization.counting_epochs(trainer.optimizer_config)
  for place in following_lengths(trainer):
    config, _, key = place.rpartition('.')
    setattr(counting[config], key, 0)


def lengths(trainer: TrainerConfig) -> dict[str, float]:
  """Returns what a config that counts in epochs has to know, by field."""
  return {
    'epochs': trainer.epochs,
    'steps_per_epoch': trainer.steps_per_epoch,
  }
