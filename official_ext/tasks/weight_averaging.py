"""Training under an average of the weights, for any task of Garden."""

from typing import Any

import tf_keras
from official.core import config_definitions as cfg

from official_ext.configs import optimization
from official_ext.modeling.optimization import loss_scale
from official_ext.modeling.optimization.lookahead import Lookahead
from official_ext.modeling.optimization.moving_average import MovingAverage
from official_ext.modeling.optimization.shadow_weights import ShadowWeights

_SHADOWS: dict[type, type[ShadowWeights]] = {
  optimization.MovingAverageConfig: MovingAverage,
  optimization.LookaheadConfig: Lookahead,
}


class WeightAveraging:
  """Mixin of tasks whose `optimizer_config` is this package's.

  The trainer evaluates and checkpoints its moving average, or slow weights, as
  it does Garden's own average.
  """

  @classmethod
  def create_optimizer(
    cls,
    optimizer_config: cfg.OptimizationConfig,
    runtime_config: cfg.RuntimeConfig | None = None,
    dp_config: Any = None,
  ) -> tf_keras.optimizers.Optimizer:
    """Returns Garden's optimizer, inside a `ShadowWeights` if asked for.

    Garden would scale losses outside of the average, which then is lost; it
    does so by a condition.
    """
    optimizer = super().create_optimizer(  # type: ignore[misc]
      optimizer_config.replace(ema=None), None, dp_config
    )
    optimizer = loss_scale.scaling(optimizer, runtime_config)
    config = optimization.shadow(optimizer_config)
    if config is None:
      return optimizer
    return _SHADOWS[type(config)](optimizer, **config.as_dict())

  def train_step(
    self,
    inputs: Any,
    model: tf_keras.Model,
    optimizer: tf_keras.optimizers.Optimizer,
    metrics: list[tf_keras.metrics.Metric] | None = None,
  ) -> dict[str, Any]:
    """Trains on a batch as the task does, then moves the shadows."""
    shadows = optimizer if isinstance(optimizer, ShadowWeights) else None
    inner = shadows.inner if shadows else optimizer
    step = super(WeightAveraging, self).train_step  # type: ignore[misc] # noqa: UP008
    logs = step(inputs, model, inner, metrics)
    if shadows:
      shadows.update()
    return logs
