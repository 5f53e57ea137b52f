"""Trainings in processes of their own: started, killed and compared."""

import os
import pathlib
import random
import signal
import threading
import time

import numpy as np
import psutil
import tensorflow as tf
from helpers import tiny
from helpers.commands import CONTEXT

from official_ext.progress import epoch_table

_TIMES = {
  'compile_seconds',
  'train_seconds',
  'total_train_seconds',
  'test_seconds',
  'wall_seconds',
}


def quiet_run(log, *arguments):
  """Runs `tiny.run` in a process of its own, whose output goes to `log`."""
  with open(log, 'a') as file:
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
  tiny.run(*arguments)


def start(log, *arguments):
  process = CONTEXT.Process(target=quiet_run, args=(str(log), *arguments))
  process.start()
  return process


def rows(model_dir):
  """The table without the columns that count seconds."""
  return [
    {key: value for key, value in row.items() if key not in _TIMES}
    for row in epoch_table.read(pathlib.Path(model_dir) / 'epochs.jsonl')
  ]


def variables(model_dir):
  """All that the newest checkpoint holds of the training, by name."""
  return {
    name: tf.train.load_variable(str(model_dir), name)
    for name, _ in tf.train.list_variables(str(model_dir))
    if name.endswith('VARIABLE_VALUE') and 'save_counter' not in name
  }


def assert_same_run(one, other):
  ours, theirs = variables(one), variables(other)
  assert ours.keys() == theirs.keys()
  for name, value in ours.items():
    np.testing.assert_array_equal(theirs[name], value, err_msg=name)
  assert rows(one) == rows(other)


def wait_for(condition, process, seconds=120):
  end = time.monotonic() + seconds
  while not condition():
    assert psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE
    assert time.monotonic() < end
    time.sleep(0.01)


def run_with_kills(shapes_dir, model_dir, bindings, kills, seed):
  """Kills a run at random moments, then lets it end.

  Every second time it has trained on, else it may not even have begun to.
  """
  choose = random.Random(seed)
  log = model_dir.with_suffix('.log')
  for number in range(kills):
    before = last_step(model_dir)
    with _ONE_AT_A_TIME:
      process = start(log, shapes_dir, model_dir, bindings)
    if number % 2:
      wait_for(lambda before=before: last_step(model_dir) > before, process)
      time.sleep(choose.uniform(0, 0.3))
    else:
      time.sleep(choose.uniform(0, 3))
    process.kill()
    assert exit_code(process) == -signal.SIGKILL, log.read_text()
  with _ONE_AT_A_TIME:
    last = start(log, shapes_dir, model_dir, bindings)
  assert exit_code(last) == 0, log.read_text()


# A start asks after all processes; of two threads that ask after one, the
# second hears that its fork server is gone.
_ONE_AT_A_TIME = threading.Lock()


def exit_code(process):
  """Waits for the end of a process."""
  while True:
    with _ONE_AT_A_TIME:
      process.join(0.05)
      if process.exitcode is not None:
        return process.exitcode
    time.sleep(0.05)


def last_step(model_dir):
  """The step of the newest checkpoint."""
  path = tf.train.latest_checkpoint(model_dir)
  return int(path.rpartition('-')[2]) if path else 0
