"""A moving average of all of a model's weights."""

from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling.optimization import ema_optimizer

from official_ext.ops import placement


class MovingAverage(ema_optimizer.ExponentialMovingAverage):
  """Garden's average, which starts right, of batch-norm statistics too.

  With w the weights after a step and d the decay, after the first step and then
  every `interval` of them::

    average ← dⁿ · average + (1 − dⁿ) · w,    n = interval

  This is `update_ema` in `torch_backend.py` of
  https://github.com/davidcpage/cifar10-fast, whose average starts, as here, as
  a copy of the weights; Garden's starts at zero. There the count of steps
  begins anew with each epoch, and here it goes on: 194 updates in the recipe's
  970 steps, where `new_dawn.py` makes 200. Swapping back and forth leaves all
  bits as they were, where Garden's sums and differences round.

  It wraps any `legacy` optimizer, a `LossScaleOptimizer` too: the loss is then
  scaled by that one, `optimizer.inner`.
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
      trainable_weights_only=trainable_weights_only,
      average_decay=average_decay**interval,
      dynamic_decay=dynamic_decay,
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
    """Makes the averages, equal to the model's weights."""
    super().shadow_copy(model)
    self.reset()

  def add_slot(self, var: tf.Variable, *args: Any, **kwargs: Any) -> Any:
    """Makes an average that replicas keep apart if they do the variable.

    So with batch-norm statistics, of which Garden averages the first replica's.
    """

    def create_alike(create: Any, **options: Any) -> tf.Variable:
      options['synchronization'] = var.synchronization
      options['aggregation'] = var.aggregation
      return create(**options)

    with tf.variable_creator_scope(create_alike):
      return super().add_slot(var, *args, **kwargs)

  def reset(self) -> None:
    """Makes the averages equal to the weights, as before the first step."""
    for average, weight in self._pairs():
      average.assign(tf.identity(weight))

  def swap_weights(self) -> None:
    """Swaps the weights with their averages, outside of a replica."""
    for average, weight in self._pairs():
      kept = tf.identity(weight)
      weight.assign(tf.identity(average))
      average.assign(kept)

  def apply_gradients(self, *args: Any, **kwargs: Any) -> tf.Operation:
    """Trains, then averages."""
    result = self._optimizer.apply_gradients(*args, **kwargs)
    self.update()
    return result

  def update(self) -> None:
    """Averages after a step, in a replica, if it is the step's turn."""
    ema_optimizer.maybe_merge_call(
      self.update_average, tf.distribute.get_strategy()
    )

  @tf.function(autograph=False)
  def update_average(self, strategy: tf.distribute.Strategy) -> None:
    """Updates the averages if it is their turn.

    On an accelerator, where a condition makes the host wait, they are updated
    at each step, with a decay of 1 where it is not.
    """
    turn = (self.iterations - 1) % self._interval == 0
    if not placement.on_cpu():
      self._move(strategy, tf.where(turn, self._decay(), 1.0))
    elif self._interval == 1:
      self._move(strategy, self._decay())
    else:
      tf.cond(
        turn, lambda: self._move(strategy, self._decay()), lambda: tf.no_op()
      )

  def _decay(self) -> tf.Tensor:
    """Returns the share of the old average that is kept, as Garden has it."""
    step = tf.cast(self.iterations, tf.float32)
    decay = tf.constant(self._average_decay, tf.float32)
    if self._dynamic_decay:
      since = step - self._start_step
      decay = tf.minimum(decay, (1 + since) / (10 + since))
    return tf.where(step < self._start_step, 0.0, decay)

  def _move(
    self, strategy: tf.distribute.Strategy, decay: tf.Tensor
  ) -> tf.Operation:
    def move(average: tf.Variable, weight: tf.Variable) -> tf.Variable:
      share = tf.cast(1 - decay, average.dtype)
      average.assign_sub(share * (average - weight))
      return average

    for average, weight in self._pairs():
      strategy.extended.update(average, move, args=(weight,), group=False)
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
