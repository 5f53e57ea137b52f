"""Optimization configurations: Garden's, and this package's beside them."""

import dataclasses

from official.modeling import hyperparams, optimization
from official.modeling.optimization.configs import (
  optimization_config,
  optimizer_config,
)


@dataclasses.dataclass
class LrGroup(hyperparams.Config):
  """Variables that train at a rate of their own.

  Attributes:
    pattern: Regular expression that finds their names, such as 'beta$'.
    lr_multiplier: Factor on the learning rate.
    weight_decay_multiplier: Factor on the weight decay.
  """

  pattern: str = ''
  lr_multiplier: float = 1.0
  weight_decay_multiplier: float = 1.0


@dataclasses.dataclass
class SGDCoupledDecayConfig(optimizer_config.SGDConfig):
  """Configuration of `official_ext.modeling.optimization.sgd`.

  Attributes:
    name: Name of the optimizer.
    weight_decay: Decay that enters the gradient before the momentum, in units
      of the mean loss.
    exclude_from_weight_decay: Regular expressions; a variable whose name one of
      them finds is not decayed.
    lr_groups: Variables with rates of their own; the first group that finds a
      variable counts.
  """

  name: str = 'SGDCoupledDecay'
  weight_decay: float = 0.0
  exclude_from_weight_decay: list[str] = dataclasses.field(default_factory=list)
  lr_groups: list[LrGroup] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class PiecewiseLinearLrConfig(hyperparams.Config):
  """Configuration of `official_ext.modeling.optimization.lr_schedule`.

  Attributes:
    name: Name of the schedule.
    epochs: Position of each knot in epochs.
    values: Learning rate at each knot.
    steps_per_epoch: Optimizer steps of an epoch; `resnet9_cifar10` takes them
      from its data, other experiments have to be told.
    offset: Added to Keras' step count, which starts at 0.
  """

  name: str = 'PiecewiseLinear'
  epochs: list[float] = dataclasses.field(default_factory=list)
  values: list[float] = dataclasses.field(default_factory=list)
  steps_per_epoch: int = 0
  offset: int = 1


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
  dynamic_decay: bool = False
  interval: int = 1


@dataclasses.dataclass
class OptimizerConfig(optimization_config.OptimizerConfig):
  """Garden's one-of of optimizers, extended by `sgd_coupled_decay`."""

  sgd_coupled_decay: SGDCoupledDecayConfig = dataclasses.field(
    default_factory=SGDCoupledDecayConfig
  )


@dataclasses.dataclass
class LrConfig(optimization_config.LrConfig):
  """Garden's one-of of schedules, extended by `piecewise_linear`."""

  piecewise_linear: PiecewiseLinearLrConfig = dataclasses.field(
    default_factory=PiecewiseLinearLrConfig
  )


@dataclasses.dataclass
class OptimizationConfig(optimization.OptimizationConfig):
  """Garden's optimization config over the extended one-ofs.

  Attributes:
    ema: Moving average of the weights; None for none.
  """

  optimizer: OptimizerConfig = dataclasses.field(
    default_factory=OptimizerConfig
  )
  learning_rate: LrConfig = dataclasses.field(default_factory=LrConfig)
  ema: MovingAverageConfig | None = None
