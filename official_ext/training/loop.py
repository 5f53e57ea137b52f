"""Runs a trainer through Garden's runner."""

import contextlib
import functools
import io
from typing import Any

import orbit
import tensorflow as tf
from official.core import actions, train_lib

from official_ext.checkpoints import writing
from official_ext.progress.epoch_table import EpochTable, EvaluationTable
from official_ext.runs import right_images
from official_ext.training.controller import Controller
from official_ext.training.start import Start


def run(start: Start) -> list[dict[str, Any]]:
  """Does what is asked for, printing a row an epoch.

  Returns:
    All rows of the table.

  Raises:
    RunError: If training cannot go on.
    Stopped: If a signal asked for it. All is saved.
  """
  request = start.team.request
  table = (EvaluationTable if request.waits else EpochTable)(
    request.model_dir if request.records else None,
    start.trainer,
    start.progress,
    evaluates=request.evaluates,
    begun=request.begun,
  )
  # Orbit prints what it also logs; the table says it in a line.
  with contextlib.redirect_stdout(io.StringIO()):
    runner = _Runner(
      distribution_strategy=start.team.strategy,
      task=start.trainer.task,
      mode=request.mode,
      params=request.params,
      model_dir=request.model_dir,
      trainer=start.trainer,
      controller_cls=Controller,
      train_actions=[table.train_action],
      eval_actions=[
        table.eval_action,
        functools.partial(_write_right_images, start),
      ],
      enable_async_checkpointing=start.team.saves_beside,
    )
    table.begin()
    try:
      runner.run()
    finally:
      with writing.writing(request.model_dir):
        writing.finish(start.trainer.checkpoint)
  return table.rows


def _write_right_images(start: Start, logs: Any) -> None:
  """Writes which test images are right, where this process knows all."""
  del logs
  request, right = start.team.request, getattr(start.trainer.task, 'right', {})
  if not (right and request.records and request.data):
    return
  count = request.data.test.info.num_examples
  if all(len(found) == count for found in right.values()):
    step = int(start.trainer.global_step.numpy())
    with writing.writing(request.model_dir):
      right_images.write(request.model_dir, step, right)


class _Runner(train_lib.OrbitExperimentRunner):
  """Garden's runner, for a trainer that is at its step already."""

  def _maybe_build_checkpoint_manager(
    self,
  ) -> tf.train.CheckpointManager | None:
    """Returns what saves; nothing where all is restored and none is saved.

    Garden's makes a temporary folder on workers besides the chief, which have
    one of their own.
    """
    if self._mode == 'eval':
      return None
    return tf.train.CheckpointManager(
      self.trainer.checkpoint,
      directory=self.model_dir,
      max_to_keep=self.params.trainer.max_to_keep,
      step_counter=self.trainer.global_step,
      checkpoint_interval=self.params.trainer.checkpoint_interval,
      last_checkpoint_step=int(self.trainer.global_step.numpy()),
    )

  def _build_controller(self, *args: Any, **kwargs: Any) -> orbit.Controller:
    """Returns Garden's controller, without a third write of an average.

    Garden writes it to `ema_checkpoints` after each evaluation. It is in each
    checkpoint, beside the weights, and in the best one as the weights.
    """
    controller = super()._build_controller(*args, **kwargs)
    controller.eval_actions = [
      action
      for action in controller.eval_actions
      if not isinstance(action, actions.EMACheckpointing)
    ]
    return controller

  def run(self) -> None:
    """Runs Garden's controller in a mode.

    Garden would go on to count the model's FLOPs, which takes seconds and is
    only logged.
    """
    controller, last = self.controller, self.params.trainer.train_steps
    eval_steps = self.params.trainer.validation_steps
    with self.strategy.scope():
      if self._mode == 'train_and_eval':
        interval = self.params.trainer.validation_interval
        controller.train_and_evaluate(last, eval_steps, interval)
      elif self._mode == 'continuous_eval':
        controller.evaluate_continuously(
          eval_steps,
          timeout=self.params.trainer.continuous_eval_timeout,
          timeout_fn=lambda: self.trainer.global_step >= last,
        )
      else:
        if self._mode.startswith('train'):
          controller.train(last)
        if self._mode.endswith('eval'):
          controller.evaluate(eval_steps)
