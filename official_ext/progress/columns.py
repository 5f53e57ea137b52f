"""How a row of the table looks on the screen."""

from collections.abc import Iterable, Mapping
from typing import Any

from official_ext.ops import views

# Title, width and decimals of each column, in the order of the table that
# `dawn.py` of cifar10-fast prints.
_COLUMNS = {
  'epoch': ('epoch', 5, 0),
  'learning_rate': ('lr', 8, 4),
  'train_loss': ('train loss', 11, 4),
  'train_accuracy': ('train acc', 10, 4),
  'test_loss': ('test loss', 10, 4),
  'test_accuracy': ('test acc', 9, 4),
  'test_balanced_accuracy': ('balanced', 9, 4),
  'test_mean_iou': ('test IoU', 9, 4),
  'test_box_ap': ('box AP', 8, 4),
  'test_mask_ap': ('mask AP', 8, 4),
  'train_seconds': ('seconds', 8, 1),
  'total_train_seconds': ('total', 8, 1),
}


# What the column of an accuracy over a view is called, before its name.
_OF_VIEW = f'test_{views.metric_name("")}'


def of_view_metrics(names: Iterable[str]) -> dict[str, str]:
  """Returns the columns of accuracies over views, by the names of metrics."""
  return {
    f'test_{name}': name
    for name in names
    if name.startswith(views.metric_name(''))
  }


def of_views(row: Iterable[str]) -> dict[str, str]:
  """Returns the columns of accuracies over views, and the views' names."""
  return {
    key: key.removeprefix(_OF_VIEW) for key in row if key.startswith(_OF_VIEW)
  }


def _columns(keys: Iterable[str]) -> dict[str, tuple[str, int, int]]:
  """Returns the columns, those of views behind the plain accuracy."""
  over_views = {
    key: (name, max(8, len(name)), 4) for key, name in of_views(keys).items()
  }
  before = list(_COLUMNS).index('test_accuracy') + 1
  items = list(_COLUMNS.items())
  return dict([*items[:before], *over_views.items(), *items[before:]])


def head(keys: Iterable[str]) -> str:
  """Returns the titles of those of the keys that are columns."""
  keys = list(keys)
  known = _columns(keys)
  return line({k: known[k][0] for k in keys if k in known})


def line(row: Mapping[str, Any]) -> str:
  """Returns a row in columns; what it lacks has none."""
  cells = []
  for key, (_, width, decimals) in _columns(row).items():
    if key not in row:
      continue
    value = row[key]
    if key == 'epoch' and isinstance(value, float):
      decimals = 0 if value.is_integer() else 1
    if isinstance(value, float):
      value = f'{value:.{decimals}f}'
    cells.append(f'{"-" if value is None else value:>{width}}')
  return ' '.join(cells)
