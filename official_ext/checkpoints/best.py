"""The best checkpoint of a run."""

import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from official.core import config_definitions as cfg
from official.core import train_utils

from official_ext.checkpoints.folder import Checkpoints
from official_ext.checkpoints.writing import writing
from official_ext.files import whole


def exporter(
  trainer: cfg.TrainerConfig, model_dir: str
) -> 'BestCheckpointExporter | None':
  """Returns what keeps the best checkpoint, if the config asks for one.

  A best checkpoint of a run whose own checkpoints are gone is set aside: what a
  new run is compared with is that run alone.
  """
  folder = trainer.best_checkpoint_export_subdir
  if not folder or not trainer.best_checkpoint_eval_metric:
    return None
  old = pathlib.Path(model_dir) / folder
  if old.exists() and any(old.iterdir()) and not Checkpoints(model_dir):
    print(f'{old} is of an earlier run; it is now {whole.set_aside(old)}.')
  return BestCheckpointExporter(
    os.path.join(model_dir, folder),
    trainer.best_checkpoint_eval_metric,
    trainer.best_checkpoint_metric_comp,
  )


class BestCheckpointExporter(train_utils.BestCheckpointExporter):
  """Garden's exporter, whose record never runs ahead of its checkpoint."""

  def maybe_export_checkpoint(
    self,
    checkpoint: tf.train.Checkpoint,
    eval_logs: Mapping[str, Any],
    global_step: int,
    write_logs: bool = True,
  ) -> bool:
    """Saves the checkpoint if it is the best so far, then the record of it.

    Garden writes the record first: a run killed between the two would take the
    same result, when it comes again, for no better.
    """
    with writing(os.path.dirname(self._export_dir)):
      exported = super().maybe_export_checkpoint(
        checkpoint, eval_logs, global_step, write_logs=False
      )
      if exported and write_logs:
        self.export_best_eval_metric(eval_logs, global_step)
    return exported

  def _maybe_load_best_eval_metric(self) -> Any:
    reason = 'is damaged'
    try:
      record = super()._maybe_load_best_eval_metric()
      if not isinstance(record, dict) or '|'.join(self._metric_name) in record:
        return record
      reason = f'has no {"|".join(self._metric_name)}'
    except ValueError:
      pass
    print(
      f'warning: {self.best_ckpt_logs_path} {reason}; the best checkpoint is '
      'chosen anew.',
      file=sys.stderr,
    )
    return None
