"""Orbit's controller, kept to the boundaries of epochs."""

from typing import Any

import orbit


class Controller(orbit.Controller):
  """Orbit's `Controller`, for runs that may begin in the middle of an epoch.

  Orbit counts the interval between evaluations from where a run begins; here
  they stay where they would have been. A checkpoint is written after the
  evaluation at its step, so that a killed run repeats what it has not reported.
  """

  def train_and_evaluate(
    self,
    train_steps: int,
    eval_steps: int = -1,
    eval_interval: int | None = None,
  ) -> Any:
    """Trains until step `train_steps`, evaluating at multiples of an interval.

    Args:
      train_steps: Global step to train to.
      eval_steps: Steps of an evaluation; -1 for all of the data.
      eval_interval: Steps between evaluations; None for only one, at the end.

    Returns:
      The logs of the last evaluation; None if there was nothing to train.
    """
    interval = eval_interval or train_steps
    output = None
    while (step := self.global_step.numpy()) < train_steps:
      loop = self.steps_per_loop
      self._train_n_steps(
        min(loop - step % loop, interval - step % interval, train_steps - step)
      )
      step = self.global_step.numpy()
      if step % interval == 0 or step == train_steps:
        output = self.evaluate(eval_steps)
      self._maybe_save_checkpoint(check_interval=step < train_steps)
    self._sync_on_async_checkpointing()
    return output
