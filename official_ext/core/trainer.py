"""Garden's trainer, told of every step and able to begin at any."""

import itertools
from collections.abc import Callable
from typing import Any, Protocol

import orbit
import tensorflow as tf
from official.core import base_trainer


class Observer(Protocol):
  """What is told how far a run is."""

  def loop_begins(self, name: str, start: int) -> None:
    """A loop begins: `name` is 'train' or 'test', `start` the global step."""

  def step_ends(self) -> None:
    """A step of the loop is done."""

  def loop_ends(self) -> None:
    """The loop is done."""


class Trainer(base_trainer.Trainer):
  """Garden's `Trainer`, whose loops tell an observer of each step.

  The order of the training images depends on the step alone. So an input that
  was built for step 0 is built anew where training begins elsewhere, after a
  restored checkpoint.
  """

  def __init__(self, *args: Any, observer: Observer, **kwargs: Any):
    """Takes Garden's arguments, and the observer."""
    super().__init__(*args, **kwargs)
    self._observer = observer
    self._next_input_step = 0

  def train(self, num_steps: tf.Tensor) -> orbit.runner.Output:
    """Trains for `num_steps` steps from the global step on."""
    step = self.global_step.numpy()
    if step != self._next_input_step:
      self.train_dataset = self.distribute_dataset(
        self.task.build_inputs, self.config.task.train_data, start_step=step
      )
    self._next_input_step = step + int(num_steps)
    self._observer.loop_begins('train', step)
    try:
      return super().train(num_steps)
    finally:
      self._observer.loop_ends()

  def train_loop_end(self) -> orbit.runner.Output:
    """Returns Garden's logs, with the learning rate of the last step."""
    logs = super().train_loop_end()
    rate = self.optimizer.learning_rate
    if callable(rate):
      # Garden reads the schedule where the next step will.
      logs['learning_rate'] = rate(self.optimizer.iterations - 1)
    return logs

  def evaluate(self, num_steps: tf.Tensor) -> orbit.runner.Output:
    """Evaluates for `num_steps` steps; -1 is all of the data."""
    self._observer.loop_begins('test', 0)
    try:
      return super().evaluate(num_steps)
    finally:
      self._observer.loop_ends()

  def create_train_loop_fn(self) -> Callable[..., Any]:
    """Returns Garden's loop, or one that tells the observer of each step."""
    options = self._train_options
    if options.use_tf_while_loop:
      return super().create_train_loop_fn()
    return self._create_loop_fn(self.train_step, options.use_tf_function)

  def create_eval_loop_fn(self, has_state: bool) -> Callable[..., Any]:
    """Returns Garden's loop, or one that tells the observer of each step."""
    options = self._eval_options
    if options.use_tf_while_loop:
      return super().create_eval_loop_fn(has_state)
    return self._create_loop_fn(self.eval_step, options.use_tf_function)

  def _create_loop_fn(
    self, step_fn: Callable[..., Any], use_tf_function: bool
  ) -> Callable[..., Any]:
    """Returns a loop over steps that keeps step with them.

    Orbit's own Python loop enqueues all steps at once and then waits: nothing
    could be told, nor a signal be heeded, before the last one is done.
    """
    if use_tf_function:
      step_fn = tf.function(step_fn)

    def loop_fn(
      iterator: Any,
      num_steps: tf.Tensor,
      state: Any = None,
      reduce_fn: Callable[[Any, Any], Any] | None = None,
    ) -> Any:
      steps = int(num_steps)
      try:
        for _ in itertools.count() if steps == -1 else range(steps):
          outputs = step_fn(iterator)
          if reduce_fn:
            state = reduce_fn(state, outputs)
          self._observer.step_ends()
      except tf.errors.OutOfRangeError:
        if steps != -1:
          raise
      return state

    return loop_fn
