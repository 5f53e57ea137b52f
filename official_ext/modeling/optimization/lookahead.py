"""Slow weights, from which the fast ones look ahead."""

from typing import Any

import tensorflow as tf
import tf_keras

from official_ext.modeling.optimization.shadow_weights import ShadowWeights

# What Garden's moving average has besides, and this one has no use for.
_OF_GARDEN = ('start_step', 'dynamic_decay')


class Lookahead(ShadowWeights):
  """Slow weights that follow the fast ones, which then go on from there.

  With d the decay, p the power, t the steps taken and T those of the training,
  after every n = `interval` of them::

    slow ← k · slow + (1 − k) · fast,    k = dⁿ · (t / T)ᵖ
    fast ← slow

  Batch-norm statistics are weights, too. The momentum is left as it is. This is
  `LookaheadState` in `legacy/airbench96.py` of
  https://github.com/KellerJordan/cifar10-airbench, after
  https://arxiv.org/abs/1907.08610, whose k is constant. In airbench96 an
  evaluation before the end is of the fast weights, and here of the slow ones.
  """

  def __init__(
    self,
    optimizer: tf_keras.optimizers.legacy.Optimizer,
    epochs: float,
    steps_per_epoch: int,
    average_decay: float = 0.95,
    power: float = 3.0,
    interval: int = 5,
    trainable_weights_only: bool = False,
    name: str = 'Lookahead',
    **kwargs: Any,
  ):
    """Wraps an optimizer.

    Args:
      optimizer: What trains.
      epochs: Length of the training.
      steps_per_epoch: Optimizer steps of an epoch.
      average_decay: Share of the old slow weights that is kept a step at the
        end of the training, in [0, 1).
      power: Of the share of the training that is over; 0 for a share
        that is constant.
      interval: Steps between updates of both.
      trainable_weights_only: Whether to leave out batch-norm statistics.
      name: Name of the optimizer.
      **kwargs: Passed to Garden's `ExponentialMovingAverage`.
    """
    super().__init__(
      optimizer,
      average_decay,
      interval,
      trainable_weights_only,
      name,
      **kwargs,
    )
    self._epochs = epochs
    self._steps_per_epoch = steps_per_epoch
    self._power = power

  def _is_turn(self) -> tf.Tensor:
    return self.iterations % self._interval == 0

  def _kept(self) -> tf.Tensor:
    steps = self._epochs * self._steps_per_epoch
    over = tf.minimum(tf.cast(self.iterations, tf.float32) / steps, 1.0)
    return self._average_decay * over**self._power

  def _move(
    self, strategy: tf.distribute.Strategy, kept: tf.Tensor, turn: tf.Tensor
  ) -> tf.Operation:
    super()._move(strategy, kept, turn)

    def follow(fast: tf.Variable, slow: tf.Variable) -> tf.Variable:
      fast.assign(tf.where(turn, slow, fast))
      return fast

    for slow, fast in self._pairs():
      strategy.extended.update(fast, follow, args=(slow,), group=False)
    return tf.no_op()

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    config = super().get_config() | {
      'epochs': self._epochs,
      'steps_per_epoch': self._steps_per_epoch,
      'power': self._power,
    }
    return {k: v for k, v in config.items() if k not in _OF_GARDEN}
