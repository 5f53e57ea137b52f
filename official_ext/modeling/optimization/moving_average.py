"""A moving average of all of a model's weights."""

from typing import Any

import tensorflow as tf
import tf_keras

from official_ext.modeling.optimization.shadow_weights import ShadowWeights


class MovingAverage(ShadowWeights):
  """Garden's average, which starts right, of batch-norm statistics too.

  With w the weights after a step and d the decay, after the first step and then
  every `interval` of them::

    average ← dⁿ · average + (1 − dⁿ) · w,    n = interval

  This is `update_ema` in `torch_backend.py` of
  https://github.com/davidcpage/cifar10-fast. There the count of steps begins
  anew with each epoch, and here it goes on: 194 updates in the recipe's 970
  steps, where `new_dawn.py` makes 200.
  """

  def __init__(
    self,
    optimizer: tf_keras.optimizers.legacy.Optimizer,
    average_decay: float = 0.99,
    interval: int = 1,
    trainable_weights_only: bool = False,
    dynamic_decay: bool = False,
    name: str = 'MovingAverage',
    **kwargs: Any,
  ):
    """Wraps an optimizer.

    Args:
      optimizer: What trains.
      average_decay: Share of the old average that is kept a step, in [0, 1).
      interval: Steps between updates of the average.
      trainable_weights_only: Whether to leave out batch-norm statistics.
      dynamic_decay: Whether to keep less of the average at the start; Garden's
        remedy for the zeros there.
      name: Name of the optimizer.
      **kwargs: Passed to Garden's `ExponentialMovingAverage`.
    """
    super().__init__(
      optimizer,
      average_decay,
      interval,
      trainable_weights_only,
      name,
      dynamic_decay=dynamic_decay,
      **kwargs,
    )

  def _is_turn(self) -> tf.Tensor:
    return (self.iterations - 1) % self._interval == 0

  def _kept(self) -> tf.Tensor:
    """Returns the share of the old average that is kept, as Garden has it."""
    step = tf.cast(self.iterations, tf.float32)
    decay = tf.constant(self._average_decay, tf.float32)
    if self._dynamic_decay:
      since = step - self._start_step
      decay = tf.minimum(decay, (1 + since) / (10 + since))
    return tf.where(step < self._start_step, 0.0, decay)
