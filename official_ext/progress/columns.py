"""How a row of the table looks on the screen."""

from collections.abc import Iterable, Mapping
from typing import Any

# Title, width and decimals of each column, in the order of the table that
# `dawn.py` of cifar10-fast prints.
_COLUMNS = {
  'epoch': ('epoch', 5, 0),
  'learning_rate': ('lr', 8, 4),
  'train_loss': ('train loss', 11, 4),
  'train_accuracy': ('train acc', 10, 4),
  'test_loss': ('test loss', 10, 4),
  'test_accuracy': ('test acc', 9, 4),
  'test_accuracy_mirror': ('mirror', 8, 4),
  'test_mean_iou': ('test IoU', 9, 4),
  'test_box_ap': ('box AP', 8, 4),
  'test_mask_ap': ('mask AP', 8, 4),
  'train_seconds': ('seconds', 8, 1),
  'total_train_seconds': ('total', 8, 1),
}


def head(keys: Iterable[str]) -> str:
  """Returns the titles of those of the keys that are columns."""
  return line({k: _COLUMNS[k][0] for k in keys if k in _COLUMNS})


def line(row: Mapping[str, Any]) -> str:
  """Returns a row in columns; what it lacks has none."""
  cells = []
  for key, (_, width, decimals) in _COLUMNS.items():
    if key not in row:
      continue
    value = row[key]
    if key == 'epoch' and isinstance(value, float):
      decimals = 0 if value.is_integer() else 1
    if isinstance(value, float):
      value = f'{value:.{decimals}f}'
    cells.append(f'{"-" if value is None else value:>{width}}')
  return ' '.join(cells)
