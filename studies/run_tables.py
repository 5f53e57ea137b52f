"""Tables of repeated runs."""

from collections.abc import Sequence

from official_ext.repeats import records, run_figures, summary
from studies import markdown, run_cells


def runs(
  folder: str,
  deviation: float | None = None,
  only: str | None = None,
  target: float | None = None,
) -> str:
  """Returns the table of means and intervals.

  Args:
    folder: That of the records.
    deviation: From run to run, of accuracies of 0 to 1, known from elsewhere,
      for the intervals; None to take that of the runs.
    only: The one variant to show; None for all.
    target: An accuracy of 0 to 1; how many runs reach it has a column.

  Raises:
    UserError: If there is no such variant.
  """
  by_variant = records.read_all(folder)
  if only is not None:
    run_cells.check_variant(by_variant, only, folder)
    by_variant = {only: by_variant[only]}
  table = markdown.table(
    summary.head(target), summary.rows(by_variant, deviation, target)
  )
  if deviation is None:
    return table
  found = map(run_figures.accuracies, by_variant.values())
  _, told = run_cells.accuracy_deviation(found, deviation)
  return table + run_cells.below(told)


def steps(folder: str, deviation: float | None = None) -> str:
  """Returns what each variant, by name, adds to the one before it.

  The deviation from run to run is taken to be the same for all. With and
  without a view are two figures of the same runs: their differences
  are compared run by run, and have a deviation of their own.

  Args:
    folder: That of the records.
    deviation: As in `runs`.
  """
  by_variant = records.read_all(folder)
  figures = [run_figures.accuracies(found) for found in by_variant.values()]
  taken, told = run_cells.accuracy_deviation(figures, deviation)
  rows, before = [], None
  for variant in sorted(by_variant):
    found = by_variant[variant]
    accuracies = run_figures.accuracies(found)
    points = run_cells.points(accuracies, before, taken) if before else ''
    rows.append((variant, *summary.count_and_mean(accuracies), points))
    for view, seen in run_figures.accuracies_over_views(found).items():
      gains = [a - b for a, b in zip(seen, accuracies, strict=True)]
      name, mean = (
        summary.over_view(variant, view),
        summary.count_and_mean(seen),
      )
      rows.append((name, *mean, _mean_points(gains)))
    before = accuracies
  points_head = 'points over the step before, 95% interval'
  table = markdown.table(('step', *run_cells.MEAN_HEAD, points_head), rows)
  return table + run_cells.below(told)


def _mean_points(differences: Sequence[float]) -> str:
  """Returns the mean of differences, with its interval where there is one."""
  result = run_figures.summarize(differences)
  return run_cells.with_interval(result.mean, result.half_width, 2, scale=100)
