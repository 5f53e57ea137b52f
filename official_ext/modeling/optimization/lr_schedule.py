"""Learning rates that change linearly between knots."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling.optimization import optimizer_factory


class PiecewiseLinear(tf_keras.optimizers.schedules.LearningRateSchedule):
  """Linear interpolation between (epoch, rate) knots, flat outside them.

  This is `PiecewiseLinear` in `core.py` of
  https://github.com/davidcpage/cifar10-fast, which reads it at steps 1 to T.
  Keras counts steps from 0, hence `offset`.
  """

  def __init__(
    self,
    epochs: Sequence[float],
    values: Sequence[float],
    steps_per_epoch: int,
    offset: int = 1,
    name: str = 'PiecewiseLinear',
  ):
    """Builds the schedule.

    Args:
      epochs: Position of each knot in epochs, increasing; two or more.
      values: Learning rate at each knot.
      steps_per_epoch: Optimizer steps of an epoch.
      offset: Added to Keras' step count, which starts at 0.
      name: Name of the schedule.
    """
    super().__init__()
    self._epochs = list(epochs)
    self._values = list(values)
    self._steps_per_epoch = steps_per_epoch
    self._offset = offset
    self._name = name

  def __call__(self, step: Any) -> tf.Tensor:
    """Returns the rate of the update after `step` updates, a float32 scalar."""
    knots = [epoch * self._steps_per_epoch for epoch in self._epochs]
    step = tf.cast(step, tf.float32) + self._offset
    right = tf.searchsorted(tf.constant(knots[1:-1], tf.float32), [step])[0]

    def segment(values: Sequence[float]) -> tuple[tf.Tensor, tf.Tensor]:
      start = tf.gather(tf.constant(values[:-1], tf.float32), right)
      return start, tf.gather(tf.constant(values[1:], tf.float32), right)

    (step0, step1), (rate0, rate1) = segment(knots), segment(self._values)
    fraction = tf.clip_by_value((step - step0) / (step1 - step0), 0.0, 1.0)
    return rate0 + fraction * (rate1 - rate0)

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return {
      'epochs': self._epochs,
      'values': self._values,
      'steps_per_epoch': self._steps_per_epoch,
      'offset': self._offset,
      'name': self._name,
    }


# Garden has a function to register an optimizer, but for schedules only the
# dictionary itself.
optimizer_factory.LR_CLS['piecewise_linear'] = PiecewiseLinear
