"""What a few runs say about all that could have been made."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

from scipy import stats

_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Summary:
  """Runs that differ by their seed.

  Attributes:
    runs: How many.
    mean: Of their figures.
    deviation: From run to run, that of a sample; None of one run.
    half_width: Of the 95% interval of the mean, by Student's t; None of one.
    best: The largest figure.
  """

  runs: int
  mean: float
  deviation: float | None
  half_width: float | None
  best: float


def summarize(values: Sequence[float]) -> Summary:
  """Returns the summary of at least one figure."""
  count = len(values)
  mean, best = statistics.fmean(values), max(values)
  if count == 1:
    return Summary(1, mean, None, None, best)
  deviation = statistics.stdev(values)
  half_width = _t(count - 1) * deviation / math.sqrt(count)
  return Summary(count, mean, deviation, half_width, best)


def difference(
  values: Sequence[float], reference: Sequence[float]
) -> tuple[float, float]:
  """Returns how far one mean is above another, and half its 95% interval.

  The deviation from run to run is taken to be that of the reference for both,
  since a change may have been tried with one seed alone.

  Args:
    values: Figures of the change.
    reference: Figures without it, at least two.
  """
  error = statistics.stdev(reference) * math.sqrt(
    1 / len(values) + 1 / len(reference)
  )
  above = statistics.fmean(values) - statistics.fmean(reference)
  return above, _t(len(reference) - 1) * error


def _t(degrees_of_freedom: int) -> float:
  return float(stats.t.ppf((1 + _CONFIDENCE) / 2, degrees_of_freedom))
