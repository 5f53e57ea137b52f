"""Learning rates that change linearly between knots."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling import hyperparams
from official.modeling.optimization import optimizer_factory

from official_ext.configs.optimization import LrConfig
from official_ext.errors import UserError
from official_ext.schema import fields, parts


@parts.kind(LrConfig, 'piecewise_linear')
@dataclasses.dataclass
class PiecewiseLinearLrConfig(hyperparams.Config):
  """Configuration of `PiecewiseLinear`.

  Attributes:
    name: Name of the schedule.
    epochs: Position of each knot in epochs.
    values: Learning rate at each knot.
    steps_per_epoch: Optimizer steps of an epoch; `small_images` takes them from
      its data, other experiments have to be told (1 for knots that are steps).
    offset: Added to Keras' step count, which starts at 0.
  """

  name: str = 'PiecewiseLinear'
  epochs: list[float] = dataclasses.field(default_factory=list)
  values: list[float] = fields.field([], fields.all_of(fields.AT_LEAST_0))
  steps_per_epoch: int = 0
  offset: int = 1

  def check_together(self, place: str) -> None:
    """Raises where the knots do not run forward."""
    rising = all(a < b for a, b in itertools.pairwise(self.epochs))
    if not rising or not 2 <= len(self.epochs) == len(self.values):
      raise UserError(
        f'{place[:-1]} has knots at epochs {self.epochs} of rates '
        f'{self.values}; the epochs must rise, one a rate.'
      )


@parts.kind(LrConfig, 'triangular')
@dataclasses.dataclass
class TriangularLrConfig(hyperparams.Config):
  """A rate that rises linearly from 0, falls linearly, and may then stay.

  Attributes:
    name: Name of the schedule.
    peak_learning_rate: Highest learning rate, for the mean loss of a batch.
    peak_epoch: Epoch of the highest rate.
    final_learning_rate: To which the rate falls from there.
    flat_epochs: Length of the end of the training at that rate.
    epochs: Length of the training; 0 for that of the trainer.
    steps_per_epoch: Optimizer steps of an epoch; as in `piecewise_linear`.
    offset: Added to Keras' step count, which starts at 0.
  """

  name: str = 'Triangular'
  peak_learning_rate: float = fields.field(0.4, fields.AT_LEAST_0)
  peak_epoch: float = fields.field(5, fields.ABOVE_0)
  final_learning_rate: float = fields.field(0.0, fields.AT_LEAST_0)
  flat_epochs: float = fields.field(0, fields.AT_LEAST_0)
  epochs: float = fields.field(0, fields.AT_LEAST_0)
  steps_per_epoch: int = fields.field(0, fields.AT_LEAST_0)
  offset: int = 1

  def check_together(self, place: str) -> None:
    """Raises where a part of the schedule would have no effect, or no room."""
    if self.flat_epochs and not self.final_learning_rate:
      raise UserError(
        f'{place}flat_epochs={self.flat_epochs:g} would train at a rate of 0; '
        f'set {place}final_learning_rate too.'
      )
    falls_to = self.epochs - self.flat_epochs
    if self.epochs and self.peak_epoch >= falls_to:
      raise UserError(
        f'{place}peak_epoch={self.peak_epoch:g} must be less than the '
        f'{self.epochs:g} epochs of the training less '
        f'flat_epochs={self.flat_epochs:g} (gin: triangular.peak_epoch, '
        'run.epochs).'
      )


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

  @property
  def steps_per_epoch(self) -> int:
    """Optimizer steps of an epoch."""
    return self._steps_per_epoch

  def compressed(self, last_epoch: float) -> 'PiecewiseLinear':
    """Returns the same rates in another time.

    Args:
      last_epoch: Where the last knot is to be; the others keep their ratios to
        it.
    """
    factor = last_epoch / self._epochs[-1]
    epochs = [epoch * factor for epoch in self._epochs]
    return PiecewiseLinear(**self.get_config() | {'epochs': epochs})

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return {
      'epochs': self._epochs,
      'values': self._values,
      'steps_per_epoch': self._steps_per_epoch,
      'offset': self._offset,
      'name': self._name,
    }


def triangular(
  peak_learning_rate: float,
  peak_epoch: float,
  final_learning_rate: float,
  flat_epochs: float,
  epochs: float,
  **kwargs: Any,
) -> PiecewiseLinear:
  """Returns the schedule of a `TriangularLrConfig`.

  Args:
    peak_learning_rate: Highest rate.
    peak_epoch: Its epoch.
    final_learning_rate: To which the rate falls.
    flat_epochs: How long it stays there, at the end.
    epochs: Length of the training.
    **kwargs: The other arguments of `PiecewiseLinear`.
  """
  knots = [(0, 0.0), (peak_epoch, peak_learning_rate)]
  if flat_epochs:
    knots.append((epochs - flat_epochs, final_learning_rate))
  knots.append((epochs, final_learning_rate))
  positions, values = zip(*knots, strict=True)
  return PiecewiseLinear(positions, values, **kwargs)


# Garden has a function to register an optimizer, but for schedules only the
# dictionary itself.
optimizer_factory.LR_CLS['piecewise_linear'] = PiecewiseLinear
optimizer_factory.LR_CLS['triangular'] = triangular
