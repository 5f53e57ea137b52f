"""The table of what was measured on a GPU."""

import json
import pathlib
from typing import Any

from studies import figure_tables, markdown, run_tables

_HEAD = (
  'recipe',
  'compiled programs',
  'compiling, s',
  'training, s',
  'evaluation, s',
  'command to result, s',
  'test accuracy, %',
)


def gpu(folder: str) -> str:
  """Returns what `studies.gpu_check` found, or that nothing is there yet.

  Args:
    folder: That of `check.json`; what was repeated, and the benchmark, are in
      folders beside it.
  """
  path = pathlib.Path(folder) / 'check.json'
  if not path.exists():
    return 'Not measured yet.\n'
  found = json.loads(path.read_text())
  trained = [_row(each) for each in found['trainings'] if each['epochs']]
  setup, twice = found['setup'], found['deterministic']
  bits = 'the same bits' if twice['equal'] else 'other bits'
  text = (
    f'{setup["gpu"]}, {setup["cores"]} cores, TensorFlow '
    f'{setup["tensorflow"]}. '
    f'Trained twice with `deterministic`: {bits} in all {twice["tensors"]} '
    'tensors of the checkpoint.\n\n'
  )
  text += markdown.table(_HEAD, trained)
  beside = pathlib.Path(folder).parent
  for name in ('gpu_10_epochs', 'gpu_24_epochs'):
    if any((beside / name).glob('*.json')):
      text += '\n' + run_tables.runs(str(beside / name))
  if any((beside / 'gpu_benchmark').glob('*.json')):
    text += '\n' + figure_tables.benchmark(str(beside / 'gpu_benchmark'))
  return text


def _row(training: dict[str, Any]) -> tuple[str, ...]:
  seconds = ('compile_seconds', 'train_seconds', 'test_seconds', 'wall_seconds')
  cached = {'cold': 'none at first', 'warm': 'kept from before'}
  return (
    pathlib.Path(training['recipe']).stem.replace('_', ' '),
    cached[training['cached']],
    *(f'{training[key]:.1f}' for key in seconds),
    f'{100 * training["epochs"][-1]["test_accuracy"]:.2f}',
  )
