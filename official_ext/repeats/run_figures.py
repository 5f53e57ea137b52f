"""Figures of repeated runs, and what a few say about all that could be made."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from official_ext.errors import UserError
from official_ext.progress import columns
from official_ext.runs import right_images

_CONFIDENCE = 0.95

# The records of one variant.
Records = Sequence[dict[str, Any]]


def of_last_epoch(found: Records, key: str) -> list[float]:
  """Returns a figure of each run's last epoch."""
  return [record['epochs'][-1][key] for record in found]


def accuracies(found: Records) -> list[float]:
  """Returns the test accuracy of each run, 0 to 1."""
  return of_last_epoch(found, 'test_accuracy')


def accuracies_over_views(found: Records) -> dict[str, list[float]]:
  """Returns the accuracies over views such as 'mirror', by the views' names.

  Raises:
    UserError: If some of the runs have one, and others do not.
  """
  rows = [record['epochs'][-1] for record in found]
  keys = dict.fromkeys(itertools.chain(*map(columns.of_views, rows)))
  for key in keys:
    having = sum(key in row for row in rows)
    if having < len(rows):
      raise UserError(
        f'{having} of the {len(found)} records of {found[0]["variant"]} '
        f'have {key}; train all of them alike.'
      )
  names = columns.of_views(keys)
  return {name: of_last_epoch(found, key) for key, name in names.items()}


def right(found: Records) -> np.ndarray:
  """Returns which test images are right: bool `[runs, images]`.

  Args:
    found: Records that tell, all of as many test images.
  """
  return np.array(
    [
      right_images.unpack(
        record['right_images']['accuracy'],
        record['data']['test']['num_examples'],
      )
      for record in found
    ]
  )


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
    half_width = t(math.inf) * known_deviation / math.sqrt(count)
  elif deviation is not None:
    half_width = t(count - 1) * deviation / math.sqrt(count)
  mean, best = statistics.fmean(values), max(values)
  return Summary(count, mean, deviation, half_width, best)


def t(degrees_of_freedom: float) -> float:
  """Returns half of the 95% interval of Student's t."""
  return float(stats.t.ppf((1 + _CONFIDENCE) / 2, degrees_of_freedom))
