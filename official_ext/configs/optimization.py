"""Optimization configurations: Garden's, to which others add themselves."""

import dataclasses
from typing import Any

from official.modeling import hyperparams, optimization
from official.modeling.optimization.configs import (
  optimization_config,
  optimizer_config,
)

from official_ext.schema import fields, parts
from official_ext.schema.fields import Tie


@dataclasses.dataclass
class OptimizerConfig(parts.Choice, optimization_config.OptimizerConfig):
  """Garden's one-of of optimizers, extended by all that are registered.

  An optimizer registers its config with `parts.kind(OptimizerConfig, NAME)`,
  and itself, under the same name, with Garden's `register_optimizer_cls`.
  """


@dataclasses.dataclass
class LrConfig(parts.Choice, optimization_config.LrConfig):
  """Garden's one-of of schedules, extended by all that are registered.

  A schedule registers its config with `parts.kind(LrConfig, NAME)`, and what
  builds it in Garden's `optimizer_factory.LR_CLS`. Its fields `epochs` and
  `steps_per_epoch` are filled in where they are 0, with the length of the
  training and of an epoch.
  """


@parts.part('moving_average')
@dataclasses.dataclass
class MovingAverageConfig(optimizer_config.EMAConfig):
  """Configuration of `official_ext.modeling.optimization.moving_average`.

  Attributes:
    name: Name of the optimizer around the one that trains.
    trainable_weights_only: Whether to leave out batch-norm statistics.
    average_decay: Share of the old average that is kept a step.
    start_step: Step before which the average is the weights themselves.
    dynamic_decay: Whether Garden's lower decay at the start is used.
    interval: Steps between updates.
  """

  name: str = 'MovingAverage'
  trainable_weights_only: bool = False
  average_decay: float = fields.field(0.99, fields.SHARE)
  dynamic_decay: bool = False
  interval: int = fields.field(1, fields.AT_LEAST_1)


@parts.part('lookahead')
@dataclasses.dataclass
class LookaheadConfig(hyperparams.Config):
  """Configuration of `official_ext.modeling.optimization.lookahead`.

  Attributes:
    name: Name of the optimizer around the one that trains.
    trainable_weights_only: Whether to leave out batch-norm statistics.
    average_decay: Share of the old slow weights that is kept a step, at the end
      of the training.
    power: Of the share of the training that is over, which is a factor on that;
      0 for the same share all the time.
    interval: Steps after which the slow weights follow the fast ones, and those
      are set to them.
    epochs: Length of the training; 0 for that of the trainer.
    steps_per_epoch: Optimizer steps of an epoch; as in `piecewise_linear`.
  """

  name: str = 'Lookahead'
  trainable_weights_only: bool = False
  average_decay: float = fields.field(0.95, fields.SHARE)
  power: float = fields.field(3.0, fields.AT_LEAST_0)
  interval: int = fields.field(5, fields.AT_LEAST_1)
  epochs: float = fields.field(0, fields.AT_LEAST_0, tied_to=Tie.FUTURE)
  steps_per_epoch: int = fields.field(0, fields.AT_LEAST_0, tied_to=Tie.FUTURE)


@dataclasses.dataclass
class OptimizationConfig(optimization.OptimizationConfig):
  """Garden's optimization config over the extended one-ofs.

  Attributes:
    ema: Moving average of the weights, which is what is evaluated; None for
      none.
    lookahead: Slow weights, which are what is evaluated; None for none. There
      is one of both at most.
  """

  optimizer: OptimizerConfig = dataclasses.field(
    default_factory=OptimizerConfig
  )
  learning_rate: LrConfig = fields.field(LrConfig, tied_to=Tie.FUTURE)
  ema: MovingAverageConfig | None = fields.field(None, tied_to=Tie.WEIGHTS)
  lookahead: LookaheadConfig | None = fields.field(None, tied_to=Tie.WEIGHTS)


def shadow(config: Any) -> Any:
  """Returns the config of what is evaluated instead of the weights, or None.

  Args:
    config: An optimization config, of Garden's too.
  """
  return getattr(config, 'ema', None) or getattr(config, 'lookahead', None)


def counting_epochs(config: Any) -> dict[str, Any]:
  """Returns the configs that have to know the length of the training.

  Args:
    config: An optimization config, of Garden's too.

  Returns:
    By their place in it, those with fields `epochs` and `steps_per_epoch`.
  """
  rate = getattr(config, 'learning_rate', None)
  places = {'lookahead': getattr(config, 'lookahead', None)}
  if rate and rate.type:
    places[f'learning_rate.{rate.type}'] = rate.get()
  return {k: v for k, v in places.items() if hasattr(v, 'steps_per_epoch')}
