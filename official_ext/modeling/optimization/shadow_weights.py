"""A second set of a model's weights, kept by its optimizer, to be evaluated."""

import abc
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling.optimization import ema_optimizer

from official_ext.ops import placement


class ShadowWeights(ema_optimizer.ExponentialMovingAverage, abc.ABC):
  """Garden's moving average, of which it leaves open how it moves.

  Every `interval` steps the shadows move towards the weights, all of them,
  batch-norm statistics too::

    shadow ← k · shadow + (1 − k) · weight

  They start, as the originals' do, as a copy of the weights; Garden's start at
  zero. Swapping back and forth leaves all bits as they were, where Garden's
  sums and differences round.

  It wraps any `legacy` optimizer, a `LossScaleOptimizer` too: the loss is then
  scaled by that one, `optimizer.inner`.
  """

  def __init__(
    self,
    optimizer: tf_keras.optimizers.legacy.Optimizer,
    average_decay: float,
    interval: int,
    trainable_weights_only: bool,
    name: str,
    **kwargs: Any,
  ):
    """Wraps an optimizer.

    Args:
      optimizer: What trains.
      average_decay: Share of the old shadow that is kept a step, in [0, 1).
      interval: Steps between moves.
      trainable_weights_only: Whether to leave out batch-norm statistics.
      name: Name of the optimizer.
      **kwargs: Passed to Garden's `ExponentialMovingAverage`.
    """
    super().__init__(
      optimizer,
      trainable_weights_only=trainable_weights_only,
      average_decay=average_decay**interval,
      name=name,
      **kwargs,
    )
    self._interval = interval
    self._decay_of_a_step = average_decay

  @property
  def inner(self) -> tf_keras.optimizers.legacy.Optimizer:
    """What trains."""
    return self._optimizer

  @property
  def learning_rate(self) -> Any:
    """The rate of what trains, a variable or a schedule.

    Garden asks for it in a way that a `LossScaleOptimizer` does not know.
    """
    return self._optimizer.learning_rate

  @learning_rate.setter
  def learning_rate(self, value: Any) -> None:
    self._optimizer.learning_rate = value

  lr = learning_rate

  def shadow_copy(self, model: tf_keras.Model) -> None:
    """Makes the shadows, equal to the model's weights."""
    super().shadow_copy(model)
    self.reset()

  def add_slot(self, var: tf.Variable, *args: Any, **kwargs: Any) -> Any:
    """Makes a shadow that replicas keep apart if they do the variable.

    So with batch-norm statistics, of which Garden averages the first replica's.
    """

    def create_alike(create: Any, **options: Any) -> tf.Variable:
      options['synchronization'] = var.synchronization
      options['aggregation'] = var.aggregation
      return create(**options)

    with tf.variable_creator_scope(create_alike):
      return super().add_slot(var, *args, **kwargs)

  def reset(self) -> None:
    """Makes the shadows equal to the weights, as before the first step."""
    for shadow, weight in self._pairs():
      shadow.assign(tf.identity(weight))

  def swap_weights(self) -> None:
    """Swaps the weights with their shadows, outside of a replica."""
    for shadow, weight in self._pairs():
      kept = tf.identity(weight)
      weight.assign(tf.identity(shadow))
      shadow.assign(kept)

  def apply_gradients(self, *args: Any, **kwargs: Any) -> tf.Operation:
    """Trains, then moves the shadows."""
    result = self._optimizer.apply_gradients(*args, **kwargs)
    self.update()
    return result

  def update(self) -> None:
    """Moves the shadows after a step, in a replica, if it is their turn."""
    ema_optimizer.maybe_merge_call(
      self.update_average, tf.distribute.get_strategy()
    )

  @tf.function(autograph=False)
  def update_average(self, strategy: tf.distribute.Strategy) -> None:
    """Moves the shadows if it is their turn.

    On an accelerator, where a condition makes the host wait, they are moved at
    each step, by nothing where it is not.
    """
    turn = self._is_turn()
    if not placement.on_cpu():
      self._move(strategy, tf.where(turn, self._kept(), 1.0), turn)
    elif self._interval == 1:
      self._move(strategy, self._kept(), tf.constant(True))
    else:
      tf.cond(
        turn,
        lambda: self._move(strategy, self._kept(), tf.constant(True)),
        lambda: tf.no_op(),
      )

  @abc.abstractmethod
  def _is_turn(self) -> tf.Tensor:
    """Returns whether the shadows move after this step, a boolean scalar."""

  @abc.abstractmethod
  def _kept(self) -> tf.Tensor:
    """Returns the share k of the old shadow, a float32 scalar."""

  def _move(
    self, strategy: tf.distribute.Strategy, kept: tf.Tensor, turn: tf.Tensor
  ) -> tf.Operation:
    """Moves the shadows.

    Args:
      strategy: Whose variables they are.
      kept: The share k; 1 where it is not their turn.
      turn: Whether it is.
    """
    del turn  # For those that move the weights, too.

    def move(shadow: tf.Variable, weight: tf.Variable) -> tf.Variable:
      share = tf.cast(1 - kept, shadow.dtype)
      shadow.assign_sub(share * (shadow - weight))
      return shadow

    for shadow, weight in self._pairs():
      strategy.extended.update(shadow, move, args=(weight,), group=False)
    return tf.no_op()

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return super().get_config() | {
      'average_decay': self._decay_of_a_step,
      'interval': self._interval,
      'trainable_weights_only': self._trainable_weights_only,
    }

  def _pairs(self) -> Any:
    return zip(self._average_weights, self._model_weights, strict=True)
