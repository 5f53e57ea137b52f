"""Keras' dynamic loss scale, for steps that hold no condition."""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf
import tf_keras
from official.core import config_definitions as cfg
from official.modeling import performance
from tf_keras.src.mixed_precision import loss_scale_optimizer


class UnconditionalLossScale(loss_scale_optimizer.LossScaleOptimizer):
  """Keras' `LossScaleOptimizer`, which trains and then may undo it.

  Keras trains, or halves the scale, by a condition on whether all gradients are
  finite, for which a GPU makes its host wait. Here an optimizer that gets zeros
  in their place steps in any case, and a selection takes its variables back. Of
  several replicas, and where the scale is fixed, it is Keras' own.
  """

  def apply_gradients(
    self,
    grads_and_vars: Iterable[tuple[tf.Tensor, tf.Variable]],
    name: str | None = None,
    experimental_aggregate_gradients: bool = True,
  ) -> Any:
    """Trains on unscaled gradients; where one is not finite, only counts."""
    strategy = tf.distribute.get_strategy()
    if not self.dynamic or strategy.num_replicas_in_sync > 1:
      return super().apply_gradients(
        grads_and_vars, name, experimental_aggregate_gradients
      )
    pairs = [(g, v) for g, v in grads_and_vars if g is not None]
    gradients, variables = zip(*pairs, strict=True)
    finite = tf.reduce_all(
      [tf.reduce_all(tf.math.is_finite(g)) for g in gradients]
    )
    with tf.init_scope():
      self._create_all_weights(variables)
    changing = self._changing(variables)
    before = [tf.identity(variable) for variable in changing]
    self.inner_optimizer.apply_gradients(
      [(tf.where(finite, g, tf.zeros_like(g)), v) for g, v in pairs], name=name
    )
    for variable, value in zip(changing, before, strict=True):
      variable.assign(tf.where(finite, variable, value))
    self._move_scale(finite)
    return self.iterations

  def _changing(self, variables: Iterable[tf.Variable]) -> list[tf.Variable]:
    """Returns what a step changes but for the count of steps."""
    kept = self.inner_optimizer.variables()
    return [*variables, *(v for v in kept if v is not self.iterations)]

  def _move_scale(self, finite: tf.Tensor) -> None:
    """Doubles the scale after so many finite steps; halves it down to 1.

    Numbers and law are those of Keras.
    """
    scale, count = self._loss_scale.current_loss_scale, self.dynamic_counter
    multiplier = self._loss_scale.multiplier
    full = count + 1 >= self.dynamic_growth_steps
    larger = tf.where(
      tf.math.is_finite(scale * multiplier), scale * multiplier, scale
    )
    smaller = tf.maximum(scale / multiplier, 1)
    grown = tf.where(full, larger, scale)
    scale.assign(tf.where(finite, grown, smaller))
    count.assign(tf.where(finite & ~full, count + 1, tf.zeros_like(count)))


def scaling(
  optimizer: tf_keras.optimizers.Optimizer, runtime: cfg.RuntimeConfig | None
) -> tf_keras.optimizers.Optimizer:
  """Returns an optimizer that scales losses where float16 is trained in.

  Args:
    optimizer: What trains.
    runtime: As Garden's `create_optimizer` takes it.
  """
  if runtime is None or runtime.mixed_precision_dtype != 'float16':
    return optimizer
  legacy = isinstance(optimizer, tf_keras.optimizers.legacy.Optimizer)
  if legacy and runtime.loss_scale in (None, 'dynamic'):
    return UnconditionalLossScale(optimizer)
  return performance.configure_optimizer(
    optimizer, use_float16=True, loss_scale=runtime.loss_scale
  )
