"""The best checkpoint of a run."""

import dataclasses
import glob
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from official.core import config_definitions as cfg
from official.core import train_utils

from official_ext.checkpoints import folder, writing
from official_ext.checkpoints.folder import Checkpoints
from official_ext.configs import optimization
from official_ext.files import whole


def exporter(
  trainer: cfg.TrainerConfig, model_dir: str, beside: bool = True
) -> 'BestCheckpointExporter | None':
  """Returns what keeps the best checkpoint, if the config asks for one.

  A best checkpoint of a run whose own checkpoints are gone is set aside: what a
  new run is compared with is that run alone.

  Args:
    trainer: The config.
    model_dir: The run's folder.
    beside: Whether a thread writes; see `writing.options`.
  """
  subdir = trainer.best_checkpoint_export_subdir
  if not subdir or not trainer.best_checkpoint_eval_metric:
    return None
  old = pathlib.Path(model_dir) / subdir
  if old.exists() and any(old.iterdir()) and not Checkpoints(model_dir):
    print(f'{old} is of an earlier run; it is now {whole.set_aside(old)}.')
  return BestCheckpointExporter(
    os.path.join(model_dir, subdir),
    trainer.best_checkpoint_eval_metric,
    trainer.best_checkpoint_metric_comp,
    of_average=bool(optimization.shadow(trainer.optimizer_config)),
    beside=beside,
  )


@dataclasses.dataclass(frozen=True)
class Best:
  """A result that is the best so far.

  Attributes:
    step: Of the training.
    logs: What was evaluated.
  """

  step: int
  logs: Mapping[str, Any]


class BestCheckpointExporter(train_utils.BestCheckpointExporter):
  """Garden's exporter, which writes no bytes twice, and none to wait for.

  A best checkpoint is the one that the run saves at the same step, under
  another name; only where the run evaluates an average, which then is the
  weights, or does not save at that step, it is written. The record of it never
  runs ahead of it: a run killed between the two would take the same result,
  when it comes again, for no better.
  """

  def __init__(self, *args: Any, of_average: bool = False, beside: bool = True):
    """Takes Garden's arguments.

    Args:
      *args: Folder, metric, and whether 'higher' or 'lower' is better.
      of_average: Whether weights are averages while they are evaluated.
      beside: Whether a thread writes; see `writing.options`.
    """
    super().__init__(*args)
    self._of_average = of_average
    self._beside = beside
    self._due: Best | None = None

  def maybe_export_checkpoint(
    self,
    checkpoint: tf.train.Checkpoint,
    eval_logs: Mapping[str, Any],
    global_step: int,
    write_logs: bool = True,
  ) -> bool:
    """Says whether it is the best so far, and keeps it in mind if so."""
    del write_logs
    before = self.best_ckpt_logs
    if before is not None and not self._new_metric_is_better(before, eval_logs):
      return False
    self._best_ckpt_logs = eval_logs
    best = Best(global_step, eval_logs)
    if self._of_average:
      self.write(best, checkpoint)
    else:
      self._due = best
    return True

  def take_due(self) -> Best | None:
    """Returns what is yet to be exported, for who sees to it."""
    due, self._due = self._due, None
    return due

  def write(self, best: Best, checkpoint: tf.train.Checkpoint) -> None:
    """Writes a best checkpoint.

    Args:
      best: What is written.
      checkpoint: The run's objects, as they were evaluated.
    """
    with writing.writing(os.path.dirname(self._export_dir)):
      then = [lambda _: self._record(best)]
      checkpoint.write(self._path(best), writing.options(self._beside, then))

  def link(self, best: Best, saved: str) -> bool:
    """Makes a saved checkpoint the best one.

    Args:
      best: What it is.
      saved: Path of a whole checkpoint of the same step.

    Returns:
      Whether it was there to the end: where another process trains, that may
      remove it meanwhile.
    """
    # The index comes last: where that is there, all is.
    for file in sorted(glob.glob(f'{glob.escape(saved)}.*')):
      # TensorFlow puts new data in place of old, but writes an index over.
      put = whole.copy if file.endswith('.index') else whole.link
      try:
        put(file, self._path(best) + file.removeprefix(saved))
      except FileNotFoundError:
        return False
    if not os.path.exists(f'{self._path(best)}.index'):
      return False
    self._record(best)
    return True

  def _path(self, best: Best) -> str:
    name = f'{train_utils.BEST_CHECKPOINT_NAME}-{best.step}'
    return os.path.join(self._export_dir, name)

  def _record(self, best: Best) -> None:
    """Puts a best checkpoint in the place of the one before."""
    path = pathlib.Path(self._path(best))
    folder.list_up_to(str(path), [str(path)], self._export_dir)
    self.export_best_eval_metric(best.logs, best.step)
    for file in path.parent.glob(f'{train_utils.BEST_CHECKPOINT_NAME}-*'):
      if not file.name.startswith(f'{path.name}.'):
        whole.remove(file)

  def _maybe_load_best_eval_metric(self) -> Any:
    place, reason = self.best_ckpt_logs_path, 'is damaged'
    try:
      record = super()._maybe_load_best_eval_metric()
      if record is None:
        return None
      if '|'.join(self._metric_name) not in record:
        reason = f'has no {"|".join(self._metric_name)}'
      else:
        place = str(self.best_ckpt_path or self._export_dir)
        folder.read_all(place)
        return record
    except (*folder.DAMAGE, TypeError):
      pass
    print(
      f'warning: {place} {reason}; the best checkpoint is chosen anew.',
      file=sys.stderr,
    )
    return None
