"""The table of repeated runs: a line for each variant."""

import statistics
from collections.abc import Sequence

from official_ext.ops import views
from official_ext.repeats import records, run_figures

_HEAD = (
  'recipe',
  'runs',
  'mean, %',
  'deviation',
  '95% interval',
  'least, %',
  'best, %',
  'seconds',
)


def table(by_variant: records.ByVariant) -> str:
  """Returns it for a terminal."""
  lines = [head(), *rows(by_variant)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return '\n'.join(
    '  '.join(map(str.rjust, line, widths)).rstrip() for line in lines
  )


def head(target: float | None = None) -> tuple[str, ...]:
  """Returns the titles of the columns; see `rows`."""
  if target is None:
    return _HEAD
  return (*_HEAD[:-1], f'≥ {100 * target:g}%', _HEAD[-1])


def rows(
  by_variant: records.ByVariant,
  deviation: float | None = None,
  target: float | None = None,
) -> list[tuple[str, ...]]:
  """Returns the lines of the variants, in the order of their names.

  What was evaluated over a view too has a line for that.

  Args:
    by_variant: The records.
    deviation: From run to run, of accuracies of 0 to 1, known from elsewhere,
      for the intervals; None to take that of the runs.
    target: An accuracy of 0 to 1; how many runs reach it has a column of its
      own then.
  """
  lines = []
  for variant in sorted(by_variant):
    found = by_variant[variant]
    over_views = run_figures.accuracies_over_views(found)
    figures = {
      variant: run_figures.accuracies(found),
      **{over_view(variant, view): seen for view, seen in over_views.items()},
    }
    seconds = _range([record['train_seconds'] for record in found])
    for name, accuracies in figures.items():
      cells = _cells(accuracies, deviation)
      if target is not None:
        cells += (str(sum(value >= target for value in accuracies)),)
      lines.append((name, *cells, seconds))
  return lines


def over_view(variant: str, view: str) -> str:
  """Returns what the accuracy of a variant over a view is called."""
  return f'{variant}, {views.words(view)}'


def count_and_mean(values: Sequence[float]) -> tuple[str, str]:
  """Returns how many accuracies of 0 to 1 there are, and their mean in %."""
  return str(len(values)), f'{100 * statistics.fmean(values):.2f}'


def _cells(
  accuracies: Sequence[float], known_deviation: float | None
) -> tuple[str, ...]:
  result = run_figures.summarize(accuracies, known_deviation)
  deviation, interval = '', ''
  if result.deviation is not None:
    deviation = f'{100 * result.deviation:.2f}'
  if result.half_width is not None:
    low, high = result.mean - result.half_width, result.mean + result.half_width
    interval = f'{100 * low:.2f} to {100 * high:.2f}'
  ends = (f'{100 * end:.2f}' for end in (min(accuracies), result.best))
  return (*count_and_mean(accuracies), deviation, interval, *ends)


def _range(seconds: Sequence[float]) -> str:
  """Returns the least and the most; a mean over machines would be of none."""
  least, most = f'{min(seconds):,.0f}', f'{max(seconds):,.0f}'
  return least if least == most else f'{least} to {most}'
