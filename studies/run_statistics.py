"""How far variants of a recipe are apart, beside what a seed does."""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import stats

from official_ext.repeats import run_figures


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
  return above, run_figures.t(deviation.degrees_of_freedom) * error


def dunnett(
  groups: Sequence[Sequence[float]], control: Sequence[float]
) -> list[float]:
  """Returns how likely each group's difference is by chance alone.

  Of as many comparisons with one control, Dunnett's test counts how likely the
  largest of all is (https://doi.org/10.1080/01621459.1955.10501294).

  Args:
    groups: Figures of each change; one will do.
    control: Figures without any; two at least, of one deviation with all.
  """
  # Its integral is taken at random points, always the same ones.
  result = stats.dunnett(*groups, control=control, rng=0)
  return [float(p) for p in np.atleast_1d(result.pvalue)]


def holm(chances: Sequence[float]) -> list[float]:
  """Returns chances of single tests, corrected for how many tests there are.

  By Holm's method (https://www.jstor.org/stable/4615733).
  """
  corrected, largest = [0.0] * len(chances), 0.0
  ranked = sorted(range(len(chances)), key=lambda index: chances[index])
  for rank, index in enumerate(ranked):
    largest = max(largest, chances[index] * (len(chances) - rank))
    corrected[index] = min(1.0, largest)
  return corrected


@dataclasses.dataclass(frozen=True)
class SeedFit:
  """Figures as sums of what a variant, a seed and chance add to them.

  Attributes:
    coefficients: By least squares: what each variant adds with the first of the
      seeds, then how much more each further seed adds.
    covariance: Of the coefficients, for a deviation of 1.
    deviation: Of chance; None where the sums leave none of it.
  """

  coefficients: np.ndarray
  covariance: np.ndarray
  deviation: Deviation | None

  def difference(self, variant: int) -> tuple[float, float | None]:
    """Returns how far a variant is above the first, as `difference` does."""
    above, error = self._contrast(variant)
    if self.deviation is None:
      return above, None
    return above, run_figures.t(self.deviation.degrees_of_freedom) * error

  def chance(self, variant: int) -> float:
    """Returns how likely that difference is by chance alone.

    Raises:
      ValueError: If the sums leave nothing to chance.
    """
    above, error = self._contrast(variant)
    if self.deviation is None:
      raise ValueError('no deviation of chance is known.')
    degrees = self.deviation.degrees_of_freedom
    return float(2 * stats.t.sf(abs(above) / error, degrees))

  def _contrast(self, variant: int) -> tuple[float, float]:
    """Returns a difference from the first, and its standard error."""
    contrast = np.zeros_like(self.coefficients)
    contrast[variant], contrast[0] = 1, -1
    deviation = self.deviation.value if self.deviation else 0.0
    error = deviation * math.sqrt(contrast @ self.covariance @ contrast)
    return float(contrast @ self.coefficients), error


def fit_by_seed(variants: Sequence[Mapping[int, float]]) -> SeedFit:
  """Returns the sums that are nearest to figures.

  Args:
    variants: For each variant, its figures by seed; each has a seed of the
      first, or else what the seed adds cannot be told from the variant.
  """
  _, *further = sorted({seed for figures in variants for seed in figures})
  design = np.array(
    [
      [
        *(n == number for n in range(len(variants))),
        *(s == seed for s in further),
      ]
      for number, figures in enumerate(variants)
      for seed in figures
    ],
    float,
  )
  figures = np.array([value for each in variants for value in each.values()])
  covariance = np.linalg.pinv(design.T @ design)
  coefficients = covariance @ design.T @ figures
  degrees = len(figures) - int(np.linalg.matrix_rank(design))
  if not degrees:
    return SeedFit(coefficients, covariance, None)
  squares = float(np.sum((figures - design @ coefficients) ** 2))
  deviation = Deviation(math.sqrt(squares / degrees), degrees)
  return SeedFit(coefficients, covariance, deviation)
