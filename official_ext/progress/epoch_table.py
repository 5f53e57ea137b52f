"""A line an epoch, on the screen and in the run's folder."""

import contextlib
import fcntl
import json
import pathlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tf_keras
from official.core import base_trainer

from official_ext.checkpoints.writing import writing
from official_ext.configs.common import steps_per_epoch
from official_ext.errors import UserError
from official_ext.files import whole
from official_ext.progress import columns
from official_ext.progress.bar import Progress
from official_ext.tasks import balanced_accuracy

FILE_NAME = 'epochs.jsonl'

# Columns that every task has.
_COMMON = ('epoch', 'train_seconds', 'total_train_seconds')

# Columns and the names that Garden's trainer logs them under.
_TRAIN_KEYS = {
  'learning_rate': 'learning_rate',
  'train_loss': 'training_loss',
}
_TEST_KEYS = {'test_loss': 'validation_loss'}
# A column only where the task has the metric.
_OPTIONAL_TRAIN_KEYS = {'train_accuracy': 'accuracy'}
_OPTIONAL_TEST_KEYS = {'test_accuracy': 'accuracy'}
# Behind the accuracies over views, which the plain one is to stand beside.
_LAST_TEST_KEYS = {'test_balanced_accuracy': balanced_accuracy.NAME}
# Where a task without accuracy reports one of these.
_OTHER_TEST_KEYS = {
  'test_mean_iou': 'mean_iou',
  'test_box_ap': 'AP',
  'test_mask_ap': 'mask_AP',
}


# Without them a run cannot be gone on with.
_NUMBERS_OF_A_ROW = {'epoch', 'step', 'total_train_seconds'}


class EpochTable:
  """Orbit actions that turn the logs of an epoch into a row.

  A row holds the epoch, the step, the learning rate of the epoch's last step,
  mean loss and accuracy (0 to 1) in training (with augmentation and any label
  smoothing, while the weights change) and on the test set (without),
  and seconds. The total counts training only, as in cifar10-fast;
  `wall_seconds` count all that commands took up to the row, from where they
  began. Where the
  task evaluates over views too, such as mirror images, the accuracies over them
  stand beside the plain one; where test classes are of unequal size, the mean
  of their accuracies does. A task without accuracy has its loss and the
  measure it goes by in the table, and every number that it reports in the rows'
  `test_metrics`. Rows are appended to `epochs.jsonl`; an evaluation of the last
  one's step goes into it.
  """

  def __init__(
    self,
    model_dir: str | None,
    trainer: base_trainer.Trainer,
    progress: Progress,
    evaluates: bool,
    begun: float,
  ):
    """Takes what the rows are made of.

    Args:
      model_dir: The run's folder; None to write no file.
      trainer: Its global step, metrics and config are read.
      progress: Keeps the time.
      evaluates: Whether an evaluation ends an epoch; else a training loop does.
      begun: When the command was, in seconds since the epoch.
    """
    self._path = pathlib.Path(model_dir) / FILE_NAME if model_dir else None
    self._trainer = trainer
    self._progress = progress
    self._evaluates = evaluates
    self._begun = begun
    self._wall_seconds_before = 0.0
    self._out = sys.stdout
    train_metrics = getattr(trainer, 'train_metrics', None)
    test_metrics = trainer.validation_metrics if evaluates else []
    self._train_keys = _TRAIN_KEYS | _existing(
      _OPTIONAL_TRAIN_KEYS,
      test_metrics if train_metrics is None else train_metrics,
    )
    tested = test_metrics or train_metrics or []
    self._test_keys = {
      **_TEST_KEYS,
      **_existing(_OPTIONAL_TEST_KEYS, tested),
      **columns.of_view_metrics(metric.name for metric in tested),
      **_existing(_LAST_TEST_KEYS, tested),
    }
    self._has_accuracy = 'test_accuracy' in self._test_keys
    self._head_said = False
    self._train_logs: Mapping[str, Any] = {}
    self.rows: list[dict[str, Any]] = []

  def begin(self) -> None:
    """Prints the head and the rows so far, those up to the current step.

    A run that was killed may have written a row whose checkpoint it had not.
    The table of a run whose checkpoints are gone is set aside.
    """
    step = self._step()
    if self._path and self._path.exists():
      self._take_up(self._path, step)
    if self.rows and self.rows[-1]['step'] == step:
      # The row was written after the checkpoint, and has its seconds.
      self._progress.take_seconds('train')
    if self.rows:
      self._wall_seconds_before = self.rows[-1].get('wall_seconds', 0.0)
    if self._has_accuracy:
      self._say_head((*_COMMON, *self._train_keys, *self._test_keys))
    for row in self.rows:
      self._say_row(row)

  def _take_up(self, path: pathlib.Path, step: int) -> None:
    with _alone(path):
      rows = read(path)
      if rows and not step:
        aside = whole.set_aside(path)
        self._say(f'{path} is of an earlier run; it is now {aside}.')
      else:
        self.rows = [row for row in rows if row['step'] <= step]
        _write(path, self.rows)

  def train_action(self, logs: Mapping[str, Any]) -> None:
    """Keeps what the trainer has logged since the epoch's start."""
    self._train_logs = logs
    if not self._evaluates and self._epoch_ends():
      self._add_row({})

  def eval_action(self, logs: Mapping[str, Any]) -> None:
    """Adds the epoch's row."""
    self._add_row(logs)

  def _step(self) -> int:
    return int(self._trainer.global_step.numpy())

  def _epoch_ends(self) -> bool:
    step = self._step()
    config = self._trainer.config.trainer
    return step == config.train_steps or step % config.validation_interval == 0

  def _add_row(self, logs: Mapping[str, Any]) -> None:
    step = self._step()
    if self.rows and self.rows[-1]['step'] == step:
      self._add_evaluation(logs)
      return
    seconds = self._progress.take_seconds('train')
    total = self.rows[-1]['total_train_seconds'] if self.rows else 0
    row = {
      'epoch': step / steps_per_epoch(self._trainer.config.trainer),
      'step': step,
      **_numbers(self._train_logs, self._train_keys),
      **_numbers(logs, self._test_keys),
      **self._other_numbers(logs),
      'train_seconds': seconds,
      'total_train_seconds': total + seconds,
      'test_seconds': self._progress.take_seconds('test'),
      'compile_seconds': self._progress.take_seconds('compile'),
      'wall_seconds': self._wall_seconds_before + time.time() - self._begun,
    }
    self.rows.append(row)
    if self._path:
      self._append(self._path, row)
    self._say_row(row)

  def _append(self, path: pathlib.Path, row: Mapping[str, Any]) -> None:
    with writing(str(path.parent)), _alone(path), path.open('a') as file:
      file.write(_json_line(row))

  def _add_evaluation(self, logs: Mapping[str, Any]) -> None:
    """Puts an evaluation in the row of its step, in place of one before."""
    self.rows[-1] |= {
      **_numbers(logs, self._test_keys),
      **self._other_numbers(logs),
      'test_seconds': self._progress.take_seconds('test'),
    }
    if self._path:
      self._replace(self._path, self.rows[-1])
    self._say_row(self.rows[-1])

  def _replace(self, path: pathlib.Path, row: Mapping[str, Any]) -> None:
    """Puts a row in the place of the one of its step."""
    with writing(str(path.parent)), _alone(path):
      others = [each for each in read(path) if each['step'] != row['step']]
      _write(path, sorted([*others, row], key=lambda each: each['step']))

  def _other_numbers(self, logs: Mapping[str, Any]) -> dict[str, Any]:
    """Takes what a task without accuracy reports; images are left out."""
    if self._has_accuracy or not logs:
      return {}
    found = {key: n for key, n in _OTHER_TEST_KEYS.items() if n in logs}
    numbers = {
      name: float(value)
      for name, value in logs.items()
      if np.ndim(value) == 0 and name != 'validation_loss'
    }
    return {**_numbers(logs, found), 'test_metrics': numbers}

  def _say_row(self, row: Mapping[str, Any]) -> None:
    if not self._head_said:  # Only the logs tell what the task measures.
      self._say_head(row)
    self._say(columns.line(row))

  def _say_head(self, keys: Iterable[str]) -> None:
    self._head_said = True
    self._say(columns.head(keys))

  def _say(self, line: str) -> None:
    print(line, file=self._out, flush=True)


class EvaluationTable(EpochTable):
  """The table of a process that evaluates what another one trains.

  The other writes the row of a step before its checkpoint. What is evaluated
  goes into it; it is only printed where there is no such row.
  """

  def begin(self) -> None:
    """Prints the head."""
    if self._has_accuracy:
      self._say_head((*_COMMON, *self._train_keys, *self._test_keys))

  def eval_action(self, logs: Mapping[str, Any]) -> None:
    """Adds to the row of the step."""
    rows = read(self._path) if self._path else []
    self.rows = [row for row in rows if row['step'] == self._step()]
    super().eval_action(logs)

  def _append(self, path: pathlib.Path, row: Mapping[str, Any]) -> None:
    """Leaves the rows to the other process."""


def say_finished(model_dir: str, step: int) -> list[dict[str, Any]]:
  """Prints the table of a finished run, and returns its rows.

  Args:
    model_dir: The run's folder.
    step: Of its last checkpoint.

  Raises:
    UserError: If a line of the file is not a row.
  """
  rows = read(pathlib.Path(model_dir) / FILE_NAME)
  rows = [row for row in rows if row['step'] <= step]
  for row in rows[:1]:
    print(columns.head(row))
  for row in rows:
    print(columns.line(row))
  return rows


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the rows of an `epochs.jsonl`; none if there is no such file.

  A last line that a full disk cut short is left out.

  Raises:
    UserError: If another line is not a row.
  """
  if not path.exists():
    return []
  *lines, _ = path.read_bytes().split(b'\n')
  return [
    _row(line, f'{path}, line {number}')
    for number, line in enumerate(lines, start=1)
  ]


@contextlib.contextmanager
def _alone(path: pathlib.Path) -> Iterator[None]:
  """Keeps other processes from changing the file, for a moment."""
  with path.with_name(f'.{path.name}.lock').open('a') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield


def _write(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
  """Writes the file anew, whole or not at all."""
  whole.write(path, ''.join(map(_json_line, rows)))


def _row(line: bytes, place: str) -> dict[str, Any]:
  try:
    row = json.loads(line)
    sound = row.keys() >= _NUMBERS_OF_A_ROW and all(
      row[key] >= 0 for key in _NUMBERS_OF_A_ROW
    )
  except (ValueError, TypeError, AttributeError, RecursionError):
    sound = False
  if not sound:
    raise UserError(
      f'{place} is damaged: {line[:40]!r} is no row of the table; delete it.'
    )
  return row


def _json_line(row: Mapping[str, Any]) -> str:
  return json.dumps(row) + '\n'


def _existing(
  keys: Mapping[str, str], metrics: Iterable[tf_keras.metrics.Metric]
) -> dict[str, str]:
  """Returns those of the keys whose metric is there."""
  names = {metric.name for metric in metrics}
  return {key: name for key, name in keys.items() if name in names}


def _numbers(
  logs: Mapping[str, Any], keys: Mapping[str, str]
) -> dict[str, float | None]:
  """Takes the logs that the table has columns for; other tasks lack some."""
  return {
    key: float(logs[name]) if name in logs else None
    for key, name in keys.items()
  }
