"""What a few runs say about all that could have been made."""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence

from scipy import stats

_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Summary:
  """Runs that differ by their seed.

  Attributes:
    runs: How many.
    mean: Of their figures.
    deviation: From run to run, that of a sample; None of one run.
    half_width: Of the 95% interval of the mean; None where no deviation is.
    best: The largest figure.
  """

  runs: int
  mean: float
  deviation: float | None
  half_width: float | None
  best: float


def summarize(
  values: Sequence[float], known_deviation: float | None = None
) -> Summary:
  """Returns the summary of at least one figure.

  Args:
    values: The figures.
    known_deviation: From run to run, for the interval; None for an interval by
      Student's t from the figures' own.
  """
  count = len(values)
  deviation = statistics.stdev(values) if count > 1 else None
  half_width = None
  if known_deviation is not None:
    half_width = _t(math.inf) * known_deviation / math.sqrt(count)
  elif deviation is not None:
    half_width = _t(count - 1) * deviation / math.sqrt(count)
  mean, best = statistics.fmean(values), max(values)
  return Summary(count, mean, deviation, half_width, best)


@dataclasses.dataclass(frozen=True)
class Deviation:
  """How far apart runs are that differ by their seed alone.

  Attributes:
    value: That of a sample.
    degrees_of_freedom: Runs less the means taken of them; infinitely many if
      the value is taken as known.
  """

  value: float
  degrees_of_freedom: float


def pooled_deviation(groups: Iterable[Sequence[float]]) -> Deviation | None:
  """Returns the deviation within groups, taken to be the same in all of them.

  Args:
    groups: Figures of runs that differ by their seed.

  Returns:
    The deviation; None where no group has two runs.
  """
  several = [group for group in groups if len(group) > 1]
  degrees = sum(len(group) - 1 for group in several)
  if not degrees:
    return None
  squares = sum(statistics.variance(g) * (len(g) - 1) for g in several)
  return Deviation(math.sqrt(squares / degrees), degrees)


def difference(
  values: Sequence[float],
  reference: Sequence[float],
  deviation: Deviation | None,
) -> tuple[float, float | None]:
  """Returns how far one mean is above another, and half its 95% interval.

  Args:
    values: Figures of the change; one will do.
    reference: Figures without it.
    deviation: From run to run, of both; None if unknown, and then there is no
      interval.
  """
  above = statistics.fmean(values) - statistics.fmean(reference)
  if deviation is None:
    return above, None
  error = deviation.value * math.sqrt(1 / len(values) + 1 / len(reference))
  return above, _t(deviation.degrees_of_freedom) * error


def _t(degrees_of_freedom: float) -> float:
  return float(stats.t.ppf((1 + _CONFIDENCE) / 2, degrees_of_freedom))
