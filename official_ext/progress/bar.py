"""A bar that moves while a loop runs, and the seconds that loops take."""

import json
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tqdm
from official.core import config_definitions as cfg

from official_ext.configs.common import steps_per_epoch

_TICK_SECONDS = 5
# What seconds are kept apart by.
_KINDS = ('compile', 'train', 'test')


class Progress:
  """Observes a `Trainer`: draws a bar on standard error and keeps time."""

  def __init__(self, params: cfg.ExperimentConfig, quiet: bool = False):
    """Takes the measures of the run from its config, and whether to draw."""
    self._quiet = quiet
    trainer = params.trainer
    self._batch_size = params.task.train_data.global_batch_size
    self._steps_per_epoch = steps_per_epoch(trainer)
    self._train_steps = trainer.train_steps
    self._seconds = dict.fromkeys(_KINDS, 0.0)

  def loop_begins(self, name: str, start: int) -> None:
    """Shows a bar: of the whole run in training, else without an end.

    Its clock runs on while a step does not end.

    Args:
      name: 'compile', 'train' or 'test'.
      start: The global step.
    """
    self._name, self._start_time = name, time.monotonic()
    trains = name == 'train'
    self._unit = self._batch_size if trains else 1
    epochs = -(-self._train_steps // self._steps_per_epoch)
    self._bar = tqdm.tqdm(
      desc=f'epoch {start // self._steps_per_epoch + 1}/{epochs}'
      if trains
      else {'test': 'test', 'compile': 'compiling'}[name],
      initial=start * self._batch_size,
      total=self._train_steps * self._batch_size if trains else None,
      unit=' images' if trains else ' batches',
      unit_scale=trains,
      bar_format='{desc} [{elapsed}]' if name == 'compile' else None,
      disable=self._quiet,
      # In a log file, what comes next begins on a line of its own.
      leave=not sys.stderr.isatty(),
      dynamic_ncols=True,
      # A log file needs fewer lines than a terminal, but not a silence.
      mininterval=0.2 if sys.stderr.isatty() else 5,
    )
    self._ended = threading.Event()
    self._clock = threading.Thread(target=self._tick, daemon=True)
    self._clock.start()

  def steps_end(self, count: int) -> None:
    """Moves the bar."""
    self._bar.update(count * self._unit)

  def loop_ends(self) -> None:
    """Removes the bar."""
    self._ended.set()
    self._clock.join()
    self._bar.close()
    self._seconds[self._name] += time.monotonic() - self._start_time

  def _tick(self) -> None:
    while not self._ended.wait(_TICK_SECONDS):
      self._bar.refresh()

  def seconds(self) -> dict[str, float]:
    """Returns the seconds of each kind since they were last taken."""
    return dict(self._seconds)

  def set_seconds(self, seconds: Mapping[str, float]) -> None:
    """Takes what `seconds` returned; a kind that is missing has none."""
    self._seconds = dict.fromkeys(_KINDS, 0.0) | dict(seconds)

  def take_seconds(self, name: str) -> float:
    """Returns the seconds of all loops of that name since it was last asked."""
    seconds, self._seconds[name] = self._seconds[name], 0.0
    return seconds


class HeldProgress(tf.train.experimental.PythonState):
  """The seconds of a `Progress`, as a part of a checkpoint.

  An epoch that is gone on with then counts all of its own. They are those of
  the moment at which the checkpoint was asked for, whenever a thread writes it.

  Attributes:
    progress: Whose seconds they are.
  """

  def __init__(self, progress: Progress):
    """Holds the seconds of now."""
    self.progress = progress
    self.hold()

  def hold(self) -> None:
    """Holds the seconds of now for the next checkpoint."""
    self._held = json.dumps(self.progress.seconds())

  def serialize(self) -> str:
    """Returns what a checkpoint keeps."""
    return self._held

  def deserialize(self, string_value: bytes) -> None:
    """Takes what `serialize` returned."""
    self.progress.set_seconds(json.loads(string_value))

  def _copy_trackable_to_cpu(self, object_map: Any) -> None:
    """Copies nothing for the thread that writes: it is held already."""
