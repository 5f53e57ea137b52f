"""Trains for many epochs and watches memory and open files from outside.

Usage, in the checkout; three minutes on two cores::

  python tests/soak.py [EPOCHS]

An epoch is three steps of a narrow network on pictures drawn by code, an
evaluation and a checkpoint. The exit status is 1 if at the end memory is more
than 5% above that at epoch 20, or if more files are open than there were.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import conftest  # noqa: F401  It quiets TensorFlow.
import psutil
from helpers import tiny

_SETTLED = 20
_MAX_GROWTH = 1.05


def watch(folder, epochs):
  """Returns (resident bytes, open files) by epoch of a training."""
  bindings = [*tiny.BINDINGS, f'run.epochs = {epochs}']
  command = [sys.executable, '-m', 'official_ext.train']
  command += [f'--gin_params={binding}' for binding in bindings]
  command += [f"--gin_params=data.data_dir = '{folder}/tfds'"]
  command += [f'--model_dir={folder}/run']
  rows = pathlib.Path(folder) / 'run' / 'epochs.jsonl'
  seen = {}
  log = pathlib.Path(folder) / 'log'
  with (
    log.open('w') as file,
    subprocess.Popen(command, stdout=file, stderr=file) as training,
  ):
    process = psutil.Process(training.pid)
    while training.poll() is None:
      done = rows.read_text().count('\n') if rows.exists() else 0
      if done and done not in seen:
        try:
          seen[done] = process.memory_info().rss, process.num_fds()
        except psutil.Error:  # It has just ended.
          break
      time.sleep(0.05)
  if training.returncode:
    raise SystemExit(log.read_text())
  return seen


def main(epochs):
  """Prints a line for some epochs, and the growth."""
  with tempfile.TemporaryDirectory() as folder:
    seen = watch(folder, epochs)
  shown = [*range(_SETTLED, epochs, max(1, epochs // 8)), max(seen)]
  for epoch in shown:
    if epoch in seen:
      memory, files = seen[epoch]
      print(f'epoch {epoch:4}: {memory / 2**20:8.1f} MiB, {files} open files')
  settled = min(epoch for epoch in seen if epoch >= min(_SETTLED, max(seen)))
  (memory, files), (last_memory, last_files) = seen[settled], seen[max(seen)]
  growth = last_memory / memory
  print(json.dumps({'epochs': max(seen), 'growth': growth}))
  return int(growth > _MAX_GROWTH or last_files > files)


if __name__ == '__main__':
  sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
