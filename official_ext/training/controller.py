"""Orbit's controller, kept to the boundaries of epochs."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import orbit

from official_ext.checkpoints import folder, restoring, writing
from official_ext.errors import Stopped, UserError, reason
from official_ext.training import waiting


class Controller(orbit.Controller):
  """Orbit's `Controller`, for runs that may stop and begin inside an epoch.

  Orbit counts the interval between evaluations from where a run begins; here
  they stay where they would have been. A checkpoint is written after the
  evaluation at its step, so that a killed run repeats what it has not reported.
  A run that is asked to stop saves and raises `Stopped`.
  """

  def train(self, steps: int, checkpoint_at_completion: bool = True) -> None:
    """Trains until the global step is `steps`, and saves.

    Raises:
      Stopped: If the trainer's stop was requested.
    """
    del checkpoint_at_completion
    self._run_to(steps, steps)

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

    Raises:
      Stopped: If the trainer's stop was requested.
    """
    return self._run_to(train_steps, eval_interval or train_steps, eval_steps)

  def evaluate_continuously(
    self,
    steps: int = -1,
    timeout: float | None = None,
    timeout_fn: Callable[[], bool] | None = None,
  ) -> Any:
    """Evaluates the checkpoints that another process writes, to the last one.

    Orbit would ask only after a while of waiting whether there is none to come,
    and then wait on if there is.

    Args:
      steps: Steps of an evaluation; -1 for all of the data.
      timeout: Seconds to wait for each checkpoint; None to wait for ever.
      timeout_fn: Whether the checkpoint that was restored is the last one.

    Returns:
      The logs of the last evaluation.

    Raises:
      RunError: If no checkpoint comes in time.
    """
    output = None
    model_dir = self.checkpoint_manager.directory
    for path in waiting.as_they_come(model_dir, timeout):
      if not self._restores(path):
        continue
      output = self.evaluate(steps)
      if timeout_fn and timeout_fn():
        break
    return output

  def _restores(self, path: str) -> bool:
    """Restores a checkpoint, or says why not, as where it is gone by now."""
    manager = self.checkpoint_manager
    try:
      with self.strategy.scope():
        restoring.restore_file(manager.checkpoint, path, manager.directory)
    except UserError:
      raise
    except folder.DAMAGE as error:
      print(
        f'warning: {path} is passed over: {reason(error)}.', file=sys.stderr
      )
      return False
    return True

  def restore_checkpoint(self, checkpoint_path: str | None = None) -> Any:
    """Restores a checkpoint as Orbit does.

    Without one, Orbit restores the newest. Here a session has done so before,
    and weights are yet to be initialised where it found none.
    """
    if checkpoint_path is not None:
      return super().restore_checkpoint(checkpoint_path)
    if self.trainer is not None and not self.global_step.numpy():
      with self.strategy.scope():
        self.trainer.initialize()
    return None

  def _run_to(
    self, last: int, interval: int, eval_steps: int | None = None
  ) -> Any:
    """Trains to step `last`; evaluates unless `eval_steps` is None."""
    output = None
    while (before := self.global_step.numpy()) < last:
      loop = self.steps_per_loop
      self._train_n_steps(
        min(loop - before % loop, interval - before % interval, last - before)
      )
      step = self.global_step.numpy()
      if step == before:  # As where a signal came while the step was compiled.
        raise self._stopped(last)
      ends = step % interval == 0 or step == last
      if ends and eval_steps is not None:
        output = super().evaluate(eval_steps)
      stops = (
        self.trainer.stop.agree()
      )  # Garden's loop does not ask; nor an evaluation.
      self._maybe_save_checkpoint(check_interval=step < last and not stops)
      if stops and step < last:
        raise self._stopped(last)
    self._settle()
    return output

  def _stopped(self, last: int) -> Stopped:
    """Returns what ends a run before its last step, with all of it saved."""
    self._settle()
    step = self.global_step.numpy()
    return Stopped(
      f'Stopped after step {step:,} of {last:,}.', self.trainer.stop.signal
    )

  def evaluate(self, steps: int = -1) -> Any:
    """Evaluates as Orbit does; a best checkpoint is then there."""
    output = super().evaluate(steps)
    exporter = self._exporter
    best = exporter.take_due() if exporter else None
    manager = self.checkpoint_manager
    newest = str(manager.latest_checkpoint) if manager else ''
    is_saved = best and newest.endswith(f'-{best.step}')
    if best and not (is_saved and exporter.link(best, newest)):
      exporter.write(best, manager.checkpoint)
    self._settle()
    return output

  def _maybe_save_checkpoint(self, check_interval: bool = True) -> bool:
    """Saves where that is due, and exports the best checkpoint with it."""
    self._settle()
    self.trainer.checkpoint.progress.hold()
    exporter, manager = self._exporter, self.checkpoint_manager
    best = exporter.take_due() if exporter else None
    then = [functools.partial(exporter.link, best)] if best else []
    beside = self._enable_async_checkpoint_saving
    self._checkpoint_options = writing.options(beside, then)
    with writing.writing(manager.directory):
      saved = super()._maybe_save_checkpoint(check_interval)
    if best and not saved:
      exporter.write(best, manager.checkpoint)
    return saved

  def _settle(self) -> None:
    """Waits for a checkpoint that is being written."""
    if self.checkpoint_manager:
      with writing.writing(self.checkpoint_manager.directory):
        writing.settle(self.checkpoint_manager.checkpoint)

  @property
  def _exporter(self) -> Any:
    return (self.trainer or self.evaluator).checkpoint_exporter
