"""Differences and deviations, as tables have them."""

import math
from collections.abc import Iterable, Sequence

from official_ext.errors import UserError
from official_ext.repeats import records
from studies import run_statistics

MEAN_HEAD = ('runs', 'mean test accuracy, %')


def check_variant(
  by_variant: records.ByVariant, variant: str, folder: str
) -> None:
  """Raises where a variant has no record.

  Raises:
    UserError: If it has none; it names the folder and what is there.
  """
  if variant not in by_variant:
    raise UserError(
      f'{folder} has no record of {variant}, but of {", ".join(by_variant)}; '
      'name one of these.'
    )


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


def chance(value: float | None) -> str:
  """Returns a p-value, to two digits; nothing where there is none."""
  if value is None:
    return ''
  return '< 0.01' if value < 0.005 else f'{value:.2f}'


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
