"""Tables of repeated runs, for a terminal and for Markdown."""

from collections.abc import Sequence

from official_ext.repeats import records
from official_ext.studies import markdown, run_cells, run_statistics

_SUMMARY_HEAD = (
  'recipe',
  'runs',
  'mean, %',
  'deviation',
  '95% interval',
  'best, %',
  'seconds',
)


def summary(by_variant: records.ByVariant) -> str:
  """Returns a table for the terminal: a line for each variant."""
  rows = [_SUMMARY_HEAD, *_summary_rows(by_variant, None)]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return '\n'.join(
    '  '.join(map(str.rjust, row, widths)).rstrip() for row in rows
  )


def runs(
  folder: str, deviation: float | None = None, only: str | None = None
) -> str:
  """Returns the same table in Markdown.

  Args:
    folder: That of the records.
    deviation: From run to run, of accuracies of 0 to 1, known from elsewhere,
      for the intervals; None to take that of the runs.
    only: The one variant to show; None for all.

  Raises:
    UserError: If there is no such variant.
  """
  by_variant = records.read_all(folder)
  if only is not None:
    by_variant = {only: records.of_variant(by_variant, only, folder)}
  table = markdown.table(_SUMMARY_HEAD, _summary_rows(by_variant, deviation))
  if deviation is None:
    return table
  found = map(run_cells.accuracies, by_variant.values())
  _, told = run_cells.accuracy_deviation(found, deviation)
  return table + run_cells.below(told)


def steps(folder: str, deviation: float | None = None) -> str:
  """Returns what each variant, by name, adds to the one before it.

  The deviation from run to run is taken to be the same for all. With and
  without the mirror image are two figures of the same runs: their differences
  are compared run by run, and have a deviation of their own.

  Args:
    folder: That of the records.
    deviation: As in `runs`.
  """
  by_variant = records.read_all(folder)
  figures = [run_cells.accuracies(found) for found in by_variant.values()]
  taken, told = run_cells.accuracy_deviation(figures, deviation)
  rows, before = [], None
  for variant in sorted(by_variant):
    found = by_variant[variant]
    accuracies = run_cells.accuracies(found)
    points = run_cells.points(accuracies, before, taken) if before else ''
    rows.append((variant, *run_cells.count_and_mean(accuracies), points))
    mirror = run_cells.mirror_accuracies(found)
    if mirror:
      gains = [a - b for a, b in zip(mirror, accuracies, strict=True)]
      mean = run_cells.count_and_mean(mirror)
      rows.append((variant + run_cells.WITH_MIRROR, *mean, _mean_points(gains)))
    before = accuracies
  points_head = 'points over the step before, 95% interval'
  table = markdown.table(('step', *run_cells.MEAN_HEAD, points_head), rows)
  return table + run_cells.below(told)


def _mean_points(differences: Sequence[float]) -> str:
  """Returns the mean of differences, with its interval where there is one."""
  result = run_statistics.summarize(differences)
  return run_cells.with_interval(result.mean, result.half_width, 2, scale=100)


def _summary_rows(
  by_variant: records.ByVariant, deviation: float | None
) -> list[tuple[str, ...]]:
  """Returns the lines of the variants, in the order of their names.

  What was evaluated with the mirror image too has a line for that.
  """
  rows = []
  for variant in sorted(by_variant):
    found = by_variant[variant]
    seconds = _range([record['train_seconds'] for record in found])
    accuracies = run_cells.accuracies(found)
    rows.append((variant, *_summary_cells(accuracies, deviation), seconds))
    mirror = run_cells.mirror_accuracies(found)
    if mirror:
      name = variant + run_cells.WITH_MIRROR
      rows.append((name, *_summary_cells(mirror, deviation), seconds))
  return rows


def _summary_cells(
  accuracies: Sequence[float], known_deviation: float | None
) -> tuple[str, ...]:
  result = run_statistics.summarize(accuracies, known_deviation)
  deviation, interval = '', ''
  if result.deviation is not None:
    deviation = f'{100 * result.deviation:.2f}'
  if result.half_width is not None:
    low, high = result.mean - result.half_width, result.mean + result.half_width
    interval = f'{100 * low:.2f} to {100 * high:.2f}'
  count, mean = run_cells.count_and_mean(accuracies)
  return count, mean, deviation, interval, f'{100 * result.best:.2f}'


def _range(seconds: Sequence[float]) -> str:
  """Returns the least and the most; a mean over machines would be of none."""
  least, most = f'{min(seconds):,.0f}', f'{max(seconds):,.0f}'
  return least if least == most else f'{least} to {most}'
