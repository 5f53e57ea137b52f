"""Optimization configurations: Garden's, to which others add themselves."""

import dataclasses

from official.modeling import optimization
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


@dataclasses.dataclass
class OptimizationConfig(optimization.OptimizationConfig):
  """Garden's optimization config over the extended one-ofs.

  Attributes:
    ema: Moving average of the weights, which is what is evaluated; None for
      none.
  """

  optimizer: OptimizerConfig = dataclasses.field(
    default_factory=OptimizerConfig
  )
  learning_rate: LrConfig = fields.field(LrConfig, tied_to=Tie.FUTURE)
  ema: MovingAverageConfig | None = fields.field(None, tied_to=Tie.WEIGHTS)
