"""Training under this package's moving average, for any task of Garden."""

from typing import Any

import tf_keras
from official.core import config_definitions as cfg

from official_ext.modeling.optimization.moving_average import MovingAverage


class WeightAveraging:
  """Mixin of tasks whose `optimizer_config.ema` is a `MovingAverageConfig`.

  The trainer evaluates and checkpoints the average as it does Garden's own.
  """

  @classmethod
  def create_optimizer(
    cls,
    optimizer_config: cfg.OptimizationConfig,
    runtime_config: cfg.RuntimeConfig | None = None,
    dp_config: Any = None,
  ) -> tf_keras.optimizers.Optimizer:
    """Returns Garden's optimizer, inside a `MovingAverage` if asked for.

    Garden would scale losses outside of the average, which then is lost.
    """
    optimizer = super().create_optimizer(  # type: ignore[misc]
      optimizer_config.replace(ema=None), runtime_config, dp_config
    )
    average = optimizer_config.ema
    return (
      MovingAverage(optimizer, **average.as_dict()) if average else optimizer
    )

  def train_step(
    self,
    inputs: Any,
    model: tf_keras.Model,
    optimizer: tf_keras.optimizers.Optimizer,
    metrics: list[tf_keras.metrics.Metric] | None = None,
  ) -> dict[str, Any]:
    """Trains on a batch as the task does, then averages."""
    average = optimizer if isinstance(optimizer, MovingAverage) else None
    inner = average.inner if average else optimizer
    step = super(WeightAveraging, self).train_step  # type: ignore[misc] # noqa: UP008
    logs = step(inputs, model, inner, metrics)
    if average:
      average.update()
    return logs
