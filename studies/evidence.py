"""What records say for a claim, or against it.

Each kind of claim is a function: its parameters are what a claim in
`claims.yaml` gives, and it returns a `Finding`. Accuracies are of the last
epoch's weights, in percent; differences in points.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from official_ext.errors import UserError
from official_ext.repeats import records as run_records
from official_ext.repeats import run_figures
from studies import cost_table, run_cells, run_statistics, seed_table

# A chance below this is what the pages call beyond chance.
SIGNIFICANCE = 0.05

# Deviations.
_FAR = 10


@dataclasses.dataclass(frozen=True)
class Finding:
  """What records say.

  Attributes:
    holds: Whether they carry the claim.
    told: What was found, in a line.
    figures: For the claim's sentence, by name.
  """

  holds: bool
  told: str
  figures: dict[str, str]


def beyond_chance(
  records: str,
  variant: str,
  runs: int,
  base_runs: int,
  comparisons: int,
  by: str = 'dunnett',
  sign: int = -1,
) -> Finding:
  """Whether a change differs from its recipe beyond chance.

  Args:
    records: The folder; all changes in it are compared.
    variant: The change.
    runs: How many it has; fixed, as the two below.
    base_runs: How many its recipe has.
    comparisons: How many changes are compared by chance.
    by: 'dunnett', against the recipe's runs; or 'seeds', with what a seed adds
      taken out and Holm's correction.
    sign: 1 if it is to be above the recipe, -1 if below.
  """
  above, chance = _compared(records, variant, runs, base_runs, comparisons, by)
  return Finding(
    chance < SIGNIFICANCE and sign * above > 0,
    f'{above:+.2f} points, p {run_cells.chance(chance)} ({by})',
    {'points': f'{abs(above):.1f}', 'p': run_cells.chance(chance)},
  )


def within_chance(
  records: str,
  variant: str,
  runs: int,
  base_runs: int,
  comparisons: int,
  by: str = 'dunnett',
) -> Finding:
  """Whether no difference of a change from its recipe shows.

  That none shows is not that there is none, and the sentence may not say so.

  Args:
    records: As of `beyond_chance`.
    variant: Likewise.
    runs: Likewise.
    base_runs: Likewise.
    comparisons: Likewise.
    by: Likewise.
  """
  above, chance = _compared(records, variant, runs, base_runs, comparisons, by)
  return Finding(
    chance >= SIGNIFICANCE,
    f'{above:+.2f} points, p {run_cells.chance(chance)} ({by})',
    {'points': f'{above:+.1f}', 'p': run_cells.chance(chance)},
  )


def far_below(
  records: str, variant: str, runs: int, base_runs: int, points: float
) -> Finding:
  """Whether a change costs so much that ten deviations would not explain it.

  Args:
    records: As of `beyond_chance`.
    variant: Likewise.
    runs: Likewise.
    base_runs: Likewise.
    points: What is left of the cost, at least, without ten deviations of runs
      that end near the recipe; those that end far from it may vary more.
  """
  base, changes = cost_table.base_and_changes(records)
  _check_count(base, base_runs, records)
  found = _runs(changes, variant, runs, records)
  near = [each for each in changes.values() if cost_table.is_near(each, base)]
  deviation = run_statistics.pooled_deviation(
    map(run_figures.accuracies, (base, *near))
  )
  below = -_points_above(found, base)
  margin = _FAR * 100 * deviation.value if deviation else math.inf
  return Finding(
    below - margin >= points,
    f'{below:.2f} points below; {_FAR} deviations are {margin:.2f}',
    {'points': f'{below:.1f}'},
  )


def mean_at_least(
  records: str,
  variant: str,
  runs: int,
  percent: float,
  deviation: float | None = None,
  view: str | None = None,
) -> Finding:
  """Whether the 95% interval of a mean lies at or above a bound.

  Args:
    records: The folder.
    variant: What was trained.
    runs: How many, fixed before they were trained.
    percent: The bound.
    deviation: From run to run, in points, as published; None to take that of
      the runs.
    view: The view whose accuracy counts; None for the plain one.
  """
  mean, half, figures = _mean(records, variant, runs, deviation, view)
  told = f'{mean:.2f} ± {half:.2f}%, at least {percent}'
  return Finding(mean - half >= percent, told, figures)


def mean_agrees(
  records: str,
  variant: str,
  runs: int,
  percent: float,
  within: float,
  deviation: float | None = None,
  view: str | None = None,
) -> Finding:
  """Whether a mean is near a published one, as far as its 95% interval tells.

  Args:
    records: As of `mean_at_least`.
    variant: Likewise.
    runs: Likewise.
    percent: What was published.
    within: Points around it that the interval is to lie in.
    deviation: As of `mean_at_least`.
    view: Likewise.
  """
  mean, half, figures = _mean(records, variant, runs, deviation, view)
  told = f'{mean:.2f} ± {half:.2f}%, published {percent}, within {within}'
  return Finding(abs(mean - percent) + half <= within, told, figures)


def gain_over(
  records: str,
  variant: str,
  before: str,
  runs: int,
  before_runs: int,
  deviation: float,
  shows: bool = True,
  less_than: float = math.inf,
) -> Finding:
  """Whether a variant gains over another one, beyond its 95% interval.

  Args:
    records: The folder.
    variant: What was trained.
    before: What it is compared with.
    runs: Of `variant`; fixed, as the next.
    before_runs: Of `before`.
    deviation: From run to run, in points, as published.
    shows: Whether a gain is to show, or none.
    less_than: Points that the interval is to stay below.
  """
  by_variant = run_records.read_all(records)
  found = _runs(by_variant, variant, runs, records)
  others = _runs(by_variant, before, before_runs, records)
  known = run_statistics.Deviation(deviation / 100, math.inf)
  above, half = run_statistics.difference(
    run_figures.accuracies(found), run_figures.accuracies(others), known
  )
  low, high = (100 * (above + sign * (half or 0)) for sign in (-1, 1))
  return Finding(
    (low > 0) == shows and high < less_than,
    f'{100 * above:+.2f} points over {before}, from {low:+.2f} to {high:+.2f}',
    {'points': f'{100 * above:.1f}'},
  )


def gain_of_view(records: str, variant: str, view: str, runs: int) -> Finding:
  """Whether a view gains over the plain accuracy, run by run.

  Args:
    records: The folder.
    variant: What was trained.
    view: Such as 'mirror'.
    runs: How many, fixed before they were trained.
  """
  found = _runs(run_records.read_all(records), variant, runs, records)
  seen = _of_view(found, view, records)
  pairs = zip(seen, run_figures.accuracies(found), strict=True)
  result = run_figures.summarize([100 * (a - b) for a, b in pairs])
  half = math.inf if result.half_width is None else result.half_width
  told = f'{result.mean:+.2f} ± {half:.2f} points'
  return Finding(result.mean - half > 0, told, {'points': f'{result.mean:.1f}'})


def ratio(
  file: str,
  figure: str,
  rounds: int,
  at_least: float = -math.inf,
  at_most: float = math.inf,
) -> Finding:
  """Whether the 95% interval of a benchmark's ratio lies within bounds.

  Args:
    file: A file of figures that `studies.benchmark` wrote.
    figure: The ratio, each round of which was measured in one process.
    rounds: How many, fixed before they were measured.
    at_least: A bound.
    at_most: Likewise.
  """
  values = _rounds(pathlib.Path(file), figure)
  if len(values) != rounds:
    raise UserError(
      f'{file}: {figure} has {len(values)} rounds, not {rounds} as was fixed; '
      'look at what it says with these, then fix that number.'
    )
  result = run_figures.summarize(values)
  half = math.inf if result.half_width is None else result.half_width
  low, high = result.mean - half, result.mean + half
  return Finding(
    at_least <= low and high <= at_most,
    f'{result.mean:.2f}, from {low:.2f} to {high:.2f}',
    {
      'ratio': f'{result.mean:.1f}',
      'low': f'{low:.2f}',
      'high': f'{high:.2f}',
    },
  )


def _rounds(file: pathlib.Path, figure: str) -> list[float]:
  try:
    spread = json.loads(file.read_text())['spread']
  except (OSError, ValueError, LookupError) as error:
    raise UserError(
      f'{file} is no file of figures ({error}); name one that '
      'studies.benchmark wrote.'
    ) from error
  if figure not in spread:
    raise UserError(
      f'{file} has no figure {figure}, but {", ".join(spread)}; name one of '
      'these.'
    )
  return spread[figure]['rounds']


def _compared(
  folder: str,
  variant: str,
  runs: int,
  base_runs: int,
  comparisons: int,
  by: str,
) -> tuple[float, float]:
  """Returns how many points a change is above its recipe, and the chance."""
  base, changes = cost_table.base_and_changes(folder)
  _check_count(base, base_runs, folder)
  found = _runs(changes, variant, runs, folder)
  if by not in ('dunnett', 'seeds'):
    raise UserError(f"by={by!r} is no comparison; give 'dunnett' or 'seeds'.")
  chances = cost_table.chances(base, changes)
  if variant not in chances:
    raise UserError(
      f'{folder}: {variant} is not compared by chance, being too far from '
      f'{base[0]["variant"]}, or that having one run; claim far_below.'
    )
  if len(chances) != comparisons:
    raise UserError(
      f'{folder}: {len(chances)} changes are compared, not {comparisons} as '
      'was fixed; look at what it says with these, then fix that number.'
    )
  if by == 'seeds':
    return seed_table.compared(folder)[variant]
  return _points_above(found, base), chances[variant]


def _points_above(
  found: run_figures.Records, base: run_figures.Records
) -> float:
  values = run_figures.accuracies(found), run_figures.accuracies(base)
  return 100 * run_statistics.difference(*values, None)[0]


def _mean(
  folder: str,
  variant: str,
  runs: int,
  deviation: float | None,
  view: str | None,
) -> tuple[float, float, dict[str, str]]:
  """Returns a mean, half of its interval, and figures for a sentence."""
  found = _runs(run_records.read_all(folder), variant, runs, folder)
  values = (
    _of_view(found, view, folder) if view else run_figures.accuracies(found)
  )
  known = None if deviation is None else deviation / 100
  result = run_figures.summarize(values, known)
  half = math.inf if result.half_width is None else 100 * result.half_width
  mean = 100 * result.mean
  figures = {'mean': f'{mean:.2f}', 'half_width': f'{half:.2f}'}
  return mean, half, figures


def _of_view(
  found: run_figures.Records, view: str, folder: str
) -> Sequence[float]:
  views = run_figures.accuracies_over_views(found)
  if view not in views:
    raise UserError(
      f'{folder}: {found[0]["variant"]} has no view {view!r}; it has '
      f'{", ".join(views) or "none"}.'
    )
  return views[view]


def _runs(
  by_variant: run_records.ByVariant, variant: str, runs: int, folder: str
) -> list[dict[str, Any]]:
  """Returns a variant's records, which are as many as were fixed."""
  run_cells.check_variant(by_variant, variant, folder)
  found = by_variant[variant]
  _check_count(found, runs, folder)
  return list(found)


def _check_count(found: run_figures.Records, runs: int, folder: str) -> None:
  if len(found) != runs:
    raise UserError(
      f'{folder}: {found[0]["variant"]} has {len(found)} runs, not {runs} as '
      'was fixed; look at what it says with these, then fix that number.'
    )


KINDS = {
  each.__name__: each
  for each in (
    beyond_chance,
    within_chance,
    far_below,
    mean_at_least,
    mean_agrees,
    gain_over,
    gain_of_view,
    ratio,
  )
}
