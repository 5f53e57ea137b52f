"""Checkpoints that survive crashes: which one is good, and the best one."""

import contextlib
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
from official.core import config_definitions as cfg
from official.core import train_utils

from official_ext.errors import RunError, UserError
from official_ext.machine import exchange

# Of Garden's `BestCheckpointExporter`.
_BEST_RECORD = 'info.json'
# Of Keras' `LossScaleOptimizer`.
_LOSS_SCALE = 'current_loss_scale'


def restore(
  checkpoint: tf.train.Checkpoint, model_dir: str, repair: bool
) -> int:
  """Restores the newest good checkpoint in the folder.

  One that is damaged or not there is named and passed over, and so is a list of
  checkpoints that is damaged or lost.

  Args:
    checkpoint: The trainer's.
    model_dir: The run's folder.
    repair: Whether to make the list of checkpoints end with the one restored,
      and to remove what a killed process had not finished writing. For the
      process that trains in the folder.

  Returns:
    The step of the checkpoint; 0 if there is none.

  Raises:
    UserError: If it is the checkpoint of another model or of no float16, where
      that is asked for, or none is good.
  """
  if repair:
    for unfinished in pathlib.Path(model_dir).glob('ckpt-*_temp'):
      shutil.rmtree(unfinished)
  paths = _newest_first(model_dir)
  for path in paths:
    if _is_good(path):
      _restore(checkpoint, path, model_dir)
      if repair and _listed(model_dir)[-1:] != [path]:
        _list_up_to(path, paths, model_dir)
      return int(checkpoint.global_step.numpy())
  if paths:
    raise UserError(
      f'--model_dir={model_dir} holds no whole checkpoint; name another '
      'folder to train anew.'
    )
  return 0


@contextlib.contextmanager
def writing(model_dir: str) -> Iterator[None]:
  """Turns an error in writing to the folder into one line.

  Raises:
    RunError: If something cannot be written.
  """
  try:
    yield
  except exchange.LOST:  # Several workers save together.
    raise
  except (OSError, tf.errors.OpError) as error:
    last = tf.train.latest_checkpoint(model_dir)
    reason = getattr(error, 'strerror', None) or _reason(error)
    there = 'there is no checkpoint yet'
    if last:
      there = f'the last good checkpoint is {os.path.basename(last)}'
    raise RunError(
      f'--model_dir={model_dir} cannot be written to ({reason}); {there}. Make '
      'room, then run the same command with this folder.'
    ) from error


def best_exporter(
  params: cfg.ExperimentConfig, model_dir: str
) -> 'BestCheckpointExporter | None':
  """Returns what keeps the best checkpoint, if the config asks for one.

  A best checkpoint of a run whose own checkpoints are gone is set aside: what a
  new run is compared with is that run alone.
  """
  config = params.trainer
  folder = config.best_checkpoint_export_subdir
  if not folder or not config.best_checkpoint_eval_metric:
    return None
  old = pathlib.Path(model_dir) / folder
  if old.exists() and any(old.iterdir()) and not _newest_first(model_dir):
    number = 1
    while (aside := old.with_name(f'{folder}.{number}')).exists():
      number += 1
    old.rename(aside)
    print(f'{old} is of an earlier run; it is now {aside}.')
  return BestCheckpointExporter(
    os.path.join(model_dir, folder),
    config.best_checkpoint_eval_metric,
    config.best_checkpoint_metric_comp,
  )


def are_in(folder: str) -> bool:
  """Whether there is a checkpoint, good or not."""
  return bool(_newest_first(folder))


def is_best(folder: str) -> bool:
  """Whether it is a folder in which Garden's exporter keeps the best."""
  return (pathlib.Path(folder) / _BEST_RECORD).exists()


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


def files_to_share(model_dir: str) -> dict[str, bytes]:
  """Returns the files that other workers need to go on with the chief's run.

  Args:
    model_dir: The chief's folder.

  Returns:
    The newest good checkpoint and the records of best ones, by their names in
    the folder; nothing if there is no checkpoint.
  """
  folder = pathlib.Path(model_dir)
  for path in filter(_is_good, _newest_first(model_dir)):
    files = [*folder.glob(f'{os.path.basename(path)}.*')]
    files += folder.glob(f'*/{_BEST_RECORD}')
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}
  return {}


def _newest_first(model_dir: str) -> list[str]:
  """Returns the last one on the list, then all others from the newest on.

  A killed process leaves one that is newer than the list, and may be torn.
  Garden calls those in a folder of best ones `best_ckpt`.
  """
  listed = _listed(model_dir)
  found = (
    os.path.join(model_dir, file.stem)
    for file in pathlib.Path(model_dir).glob('*ckpt-*.index')
  )
  others = {*listed, *found} - set(listed[-1:])
  return listed[-1:] + sorted(others, key=_step, reverse=True)


def _listed(model_dir: str) -> list[str]:
  """Returns the checkpoints on TensorFlow's list, oldest first."""
  try:
    state = tf.train.get_checkpoint_state(model_dir)
  except ValueError:  # Of undecodable bytes, or of an empty file.
    return []
  return list(state.all_model_checkpoint_paths) if state else []


def _list_up_to(last: str, paths: list[str], model_dir: str) -> None:
  """Makes TensorFlow's list one of `paths` up to the step of `last`.

  It restores the newest on the list, and deletes what is too many on it.
  """
  there = [path for path in paths if os.path.exists(f'{path}.index')]
  kept = sorted((p for p in there if _step(p) <= _step(last)), key=_step)
  # Names alone, in an absolute folder, so that the run can be moved.
  names = [os.path.basename(path) for path in kept]
  tf.compat.v1.train.update_checkpoint_state(
    os.path.abspath(model_dir),
    names[-1],
    names,
    # Without them, TensorFlow would never delete one of these.
    all_model_checkpoint_timestamps=[
      os.path.getmtime(f'{path}.index') for path in kept
    ],
  )


def _step(path: str) -> int:
  digits = re.search(r'-(\d+)$', path)
  return int(digits[1]) if digits else -1


def _is_good(path: str) -> bool:
  """Reads all of a checkpoint, whose parts carry checksums."""
  try:
    reader = tf.train.load_checkpoint(path)
    for name in reader.get_variable_to_shape_map():
      reader.get_tensor(name)
  except Exception as error:  # Of several types: the reader's and TensorFlow's.
    print(
      f'warning: {path} is damaged and not used: {_reason(error)}.',
      file=sys.stderr,
    )
    return False
  return True


def _restore(
  checkpoint: tf.train.Checkpoint, path: str, model_dir: str
) -> None:
  try:
    status = checkpoint.restore(path).assert_existing_objects_matched()
    status.expect_partial()  # Inference needs the weights alone.
  except (ValueError, AssertionError) as error:
    if _LOSS_SCALE in str(error):
      raise UserError(
        f'--model_dir={model_dir} was not trained in float16, which would go '
        'on from a loss scale; use the runtime.mixed_precision_dtype of before '
        '(gin: resnet9_cifar10.precision).'
      ) from error
    raise UserError(
      f'--model_dir={model_dir} holds a checkpoint of another model '
      f'({_reason(error)}). Name another folder, or give the options that it '
      'was trained with.'
    ) from error


def _reason(error: Exception) -> str:
  """Returns the first line of an error, without operation and long path."""
  text = getattr(error, 'message', str(error))
  text = re.sub(r'\{\{.*?\}\} ?| ?\[Op:.*|\S*tempstate\d+; ', '', text)
  return text.split('\n')[0].rstrip('. ')
