"""Names of classes whose labels are numbers."""

import os
import pathlib
from collections.abc import Mapping

import numpy as np

from official_ext.errors import UserError


def of(
  labels: Mapping[str, np.ndarray], classes: str | None, place: str
) -> tuple[tuple[str, ...], np.ndarray, tuple[str, ...]]:
  """Names the classes of some labels.

  Args:
    labels: Integers `[n]` from 0, by split.
    classes: The names in the order of the labels, separated by commas, or a
      file with one a line; None to name each class by its label.
    place: Where the labels come from.

  Returns:
    The names; the label of each, ascending; and what is to be told of them.

  Raises:
    UserError: If there are fewer than two classes, or the names do not fit.
  """
  found = np.unique(np.concatenate(list(labels.values())))
  if len(found) < 2:
    raise UserError(
      f'{place} has the label {found[0]} alone; there must be two classes.'
    )
  if classes is None:
    return tuple(map(str, found)), found, ()
  names = _names(classes)
  first = int(found[-1] == len(names) and found[0] > 0)
  if found[-1] >= first + len(names):
    raise UserError(
      f'--classes={classes} has {len(names)} names, but labels of {place} go '
      f'from {found[0]} to {found[-1]}; name {found[-1] + 1}.'
    )
  notes = (f"Labels begin with 1: it is {names[0]}'s.",) if first else ()
  return names, np.arange(first, first + len(names)), notes


def _names(classes: str) -> tuple[str, ...]:
  path = pathlib.Path(os.path.expanduser(classes))
  try:
    text = path.read_text('utf-8') if path.is_file() else ''
  except (OSError, UnicodeError) as error:
    raise UserError(f'--classes={path} cannot be read: {error}.') from error
  parts = text.splitlines() if text else classes.split(',')
  names = tuple(filter(None, map(str.strip, parts)))
  twice = {name for name in names if names.count(name) > 1}
  if len(names) < 2 or twice or not all(map(str.isprintable, names)):
    reason = f'{min(twice)} is there twice' if twice else 'no list of names'
    raise UserError(
      f'--classes={classes}: {reason}; give at least two names, separated by '
      'commas, or a file with one a line.'
    )
  return names
