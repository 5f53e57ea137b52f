"""Figures of repeated runs, as the cells of tables have them."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from official_ext.errors import UserError
from official_ext.studies import run_statistics

MEAN_HEAD = ('runs', 'mean test accuracy, %')
WITH_MIRROR = ', with the mirror image'

_MIRROR = 'test_accuracy_mirror'

# The records of one variant.
Records = Sequence[dict[str, Any]]


def of_last_epoch(found: Records, key: str) -> list[float]:
  """Returns a figure of each run's last epoch."""
  return [record['epochs'][-1][key] for record in found]


def accuracies(found: Records) -> list[float]:
  """Returns the test accuracy of each run, 0 to 1."""
  return of_last_epoch(found, 'test_accuracy')


def mirror_accuracies(found: Records) -> list[float]:
  """Returns the accuracies with the mirror image; none where not evaluated.

  Raises:
    UserError: If some of the runs have one.
  """
  having = [record for record in found if _MIRROR in record['epochs'][-1]]
  if having and len(having) < len(found):
    raise UserError(
      f'{len(having)} of the {len(found)} records of {found[0]["variant"]} '
      f'have {_MIRROR}; train all of them alike.'
    )
  return of_last_epoch(having, _MIRROR)


def count_and_mean(values: Sequence[float]) -> tuple[str, str]:
  """Returns how many accuracies of 0 to 1 there are, and their mean in %."""
  return str(len(values)), f'{100 * statistics.fmean(values):.2f}'


def points(
  values: Sequence[float],
  reference: Sequence[float],
  deviation: run_statistics.Deviation | None,
) -> str:
  """Returns a difference of accuracies of 0 to 1, in points."""
  above, half_width = run_statistics.difference(values, reference, deviation)
  return with_interval(above, half_width, 2, scale=100)


def with_interval(
  value: float, half_width: float | None, digits: int, scale: float = 1
) -> str:
  """Returns a signed figure, with its interval where there is one.

  Args:
    value: The figure.
    half_width: Half of its interval; None where there is none.
    digits: After the point.
    scale: What both are multiplied by, as 100 for points.
  """
  # What rounds to nothing has no minus.
  text = f'{round(scale * value, digits) + 0.0:+.{digits}f}'
  if half_width is None:
    return text
  return f'{text} ± {scale * half_width:.{digits}f}'


def accuracy_deviation(
  groups: Iterable[Sequence[float]], published: float | None
) -> tuple[run_statistics.Deviation | None, str]:
  """Returns the deviation that intervals rest on, and says which it is.

  Args:
    groups: Accuracies of 0 to 1 of runs that differ by their seed.
    published: A deviation to take instead of theirs.
  """
  ours = run_statistics.pooled_deviation(groups)
  told = in_points(ours)
  if published is None:
    return ours, told
  here = f' (in these runs: {told})' if told else ''
  text = f'{100 * published:.2f} points, as published{here}'
  return run_statistics.Deviation(published, math.inf), text


def in_points(deviation: run_statistics.Deviation | None) -> str:
  """Returns a deviation of accuracies of 0 to 1, in words."""
  if deviation is None:
    return ''
  return f'{100 * deviation.value:.2f} points, {_degrees(deviation)}'


def _degrees(deviation: run_statistics.Deviation) -> str:
  """Returns what a deviation rests on, in words."""
  count = deviation.degrees_of_freedom
  return f'with {count} {"degree" if count == 1 else "degrees"} of freedom'


def below(told: str) -> str:
  """Returns the line below a table whose intervals rest on a deviation."""
  if not told:
    return ''
  return f'\nDeviation from run to run behind the intervals: {told}.\n'
