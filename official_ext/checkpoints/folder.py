"""The checkpoints in a folder, and which of them are good."""

import hashlib
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import tensorflow as tf

from official_ext.errors import UserError, reason
from official_ext.machine import exchange

_T = TypeVar('_T')

# What reading raises where a checkpoint is not whole: TensorFlow's operations
# the first, its reader any. Parts carry checksums, which both look at.
DAMAGE = (tf.errors.OpError, OSError, ValueError, LookupError, RuntimeError)
_STEP = 'global_step/.ATTRIBUTES/VARIABLE_VALUE'


class Checkpoints:
  """The checkpoints in a folder, newest first.

  One that is damaged or not there is named once and passed over, and so is a
  list of checkpoints that is damaged or lost.

  Attributes:
    model_dir: The folder.
  """

  def __init__(self, model_dir: str):
    """Looks at the names alone.

    Args:
      model_dir: A run's folder, or one of best checkpoints.
    """
    self.model_dir = model_dir
    self._paths = _newest_first(model_dir)
    self._damaged: set[str] = set()
    self._checked: set[str] = set()

  def __bool__(self) -> bool:
    """Whether there is one, good or not."""
    return bool(self._paths)

  def first_good(self, read: Callable[[str], _T]) -> _T | None:
    """Returns what is read of the newest one that can be read.

    Args:
      read: Takes the path of a checkpoint.

    Returns:
      What it returned; None if there is no checkpoint.

    Raises:
      UserError: If none is good.
    """
    for path in self._paths:
      if path in self._damaged:
        continue
      try:
        return read(path)
      except (UserError, *exchange.LOST):
        raise
      except DAMAGE as error:
        self._damaged.add(path)
        print(
          f'warning: {path} is damaged and not used: {reason(error)}.',
          file=sys.stderr,
        )
    if self._paths:
      raise UserError(
        f'--model_dir={self.model_dir} holds no whole checkpoint; name another '
        'folder to train anew.'
      )
    return None

  def check(self, path: str) -> str:
    """Reads all of a checkpoint, once, and returns its path."""
    if path not in self._checked:
      read_all(path)
      self._checked.add(path)
    return path

  def finished_at(self, last_step: int) -> int | None:
    """Returns the step of the newest good one if it is at the end of a run.

    Its step alone is read where it is not.

    Args:
      last_step: Of the run.

    Raises:
      UserError: If there are checkpoints, and none is good.
    """

    def read(path: str) -> tuple[int, str]:
      reader = tf.train.load_checkpoint(path)
      step = int(reader.get_tensor(_STEP)) if reader.has_tensor(_STEP) else 0
      return step, self.check(path) if step >= last_step else path

    step, path = self.first_good(read) or (0, '')
    if step < last_step:
      return None
    self.go_on_from(path)
    return step

  def go_on_from(self, path: str) -> None:
    """Makes TensorFlow's list end with a checkpoint.

    TensorFlow restores the newest on the list, and deletes what is too many on
    it. What a killed process had not finished writing is removed.
    """
    for unfinished in pathlib.Path(self.model_dir).glob('ckpt-*_temp'):
      shutil.rmtree(unfinished)
    if listed(self.model_dir)[-1:] != [path]:
      list_up_to(path, self._paths, self.model_dir)


def read_all(path: str, names: Iterable[str] | None = None) -> None:
  """Reads of a checkpoint what has these names, or all there is.

  Raises:
    Exception: Of several types, if it is damaged.
  """
  reader = tf.train.load_checkpoint(path)
  for name in reader.get_variable_to_shape_map() if names is None else names:
    reader.get_tensor(name)


def digests(model_dir: str) -> dict[str, str]:
  """Returns a digest of each tensor of the newest checkpoint, by its name.

  What only counts saves is left out. Without a checkpoint there are none.
  """
  path = tf.train.latest_checkpoint(model_dir)
  if path is None:
    return {}
  reader = tf.train.load_checkpoint(path)
  return {
    name: _digest(reader.get_tensor(name))
    for name in reader.get_variable_to_shape_map()
    if name.endswith('VARIABLE_VALUE') and 'save_counter' not in name
  }


def _digest(value: np.ndarray) -> str:
  return hashlib.sha256(np.asarray(value).tobytes()).hexdigest()


def listed(model_dir: str) -> list[str]:
  """Returns the checkpoints on TensorFlow's list, oldest first."""
  try:
    state = tf.train.get_checkpoint_state(model_dir)
  except ValueError:  # Of undecodable bytes, or of an empty file.
    return []
  return list(state.all_model_checkpoint_paths) if state else []


def _newest_first(model_dir: str) -> list[str]:
  """Returns the last one on the list, then all others from the newest on.

  A killed process leaves one that is newer than the list, and may be torn.
  Garden calls those in a folder of best ones `best_ckpt`.
  """
  on_list = listed(model_dir)
  found = (
    os.path.join(model_dir, file.stem)
    for file in pathlib.Path(model_dir).glob('*ckpt-*.index')
  )
  others = {*on_list, *found} - set(on_list[-1:])
  return on_list[-1:] + sorted(others, key=_number, reverse=True)


def list_up_to(last: str, paths: Sequence[str], model_dir: str) -> None:
  """Writes TensorFlow's list of checkpoints anew.

  Args:
    last: The one that it ends with.
    paths: All that may stand on it, if they are there and not newer.
    model_dir: Their folder.
  """
  there = [path for path in paths if os.path.exists(f'{path}.index')]
  kept = sorted((p for p in there if _number(p) <= _number(last)), key=_number)
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


def _number(path: str) -> int:
  digits = re.search(r'-(\d+)$', path)
  return int(digits[1]) if digits else -1
