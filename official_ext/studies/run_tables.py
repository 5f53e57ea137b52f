"""Tables of repeated runs, for a terminal and for Markdown."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from official_ext.core.errors import UserError
from official_ext.studies import markdown, records, run_statistics, settings

_MIRROR = 'test_accuracy_mirror'
_WITH_MIRROR = ', with the mirror image'

_SUMMARY_HEAD = (
  'recipe',
  'runs',
  'mean, %',
  'deviation',
  '95% interval',
  'best, %',
  'seconds',
)

_MEAN_HEAD = ('runs', 'mean test accuracy, %')
_TRAINING_HEAD = 'mean training accuracy, %'

# What ends farther from the recipe may vary more than it from run to run.
_NEAR = 0.02


def summary(by_variant: records.ByVariant) -> str:
  """Returns a table for the terminal: a line for each variant."""
  rows = [_SUMMARY_HEAD, *_summary_rows(by_variant)]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return '\n'.join(
    '  '.join(map(str.rjust, row, widths)).rstrip() for row in rows
  )


def runs(folder: str) -> str:
  """Returns the same table in Markdown."""
  return markdown.table(_SUMMARY_HEAD, _summary_rows(records.read_all(folder)))


def costs(folder: str, published: float | None = None) -> str:
  """Returns what each change sets and costs, the dearest first.

  The deviation from run to run is taken to be the same with every change, since
  most are tried once or twice: that of the recipe's runs and of those that end
  near them, which stands below the table. The training accuracy of the last
  epoch tells a change that trains worse from one that is evaluated worse.

  Args:
    folder: That of the records.
    published: The deviation, known from elsewhere, of accuracies of 0 to 1;
      None to take that of the runs.

  Raises:
    UserError: If they are changes to several recipes, even of one name, or to
      one without a record.
  """
  by_variant = records.read_all(folder)
  recipe = _recipe(folder, by_variant)
  base = by_variant.pop(recipe)
  changes = sorted(by_variant.values(), key=_mean_accuracy)
  alike = [
    _accuracies(found)
    for found in (base, *changes)
    if abs(_mean_accuracy(found) - _mean_accuracy(base)) <= _NEAR
  ]
  deviation, below = _deviation(alike, published)
  first = recipe, '', *_mean(_accuracies(base)), '', _training(base)
  rows = [_cost(folder, found, base, deviation) for found in changes]
  points_head = 'points against the recipe, 95% interval'
  head = 'change', 'sets', *_MEAN_HEAD, points_head, _TRAINING_HEAD
  return markdown.table(head, [first, *rows]) + below


def steps(folder: str, published: float | None = None) -> str:
  """Returns what each variant, by name, adds to the one before it.

  The deviation from run to run is taken to be the same for all. With and
  without the mirror image are two figures of the same runs: their differences
  are compared run by run, and have a deviation of their own.

  Args:
    folder: That of the records.
    published: The deviation, known from elsewhere, of accuracies of 0 to 1;
      None to take that of the runs.
  """
  by_variant = records.read_all(folder)
  figures = [_accuracies(found) for found in by_variant.values()]
  deviation, below = _deviation(figures, published)
  rows, before = [], None
  for variant in sorted(by_variant):
    accuracies = _accuracies(by_variant[variant])
    points = _points(accuracies, before, deviation) if before else ''
    rows.append((variant, *_mean(accuracies), points))
    mirror = _mirror_accuracies(by_variant[variant])
    if mirror:
      gains = [a - b for a, b in zip(mirror, accuracies, strict=True)]
      rows.append((variant + _WITH_MIRROR, *_mean(mirror), _mean_points(gains)))
    before = accuracies
  head = 'step', *_MEAN_HEAD, 'points over the step before, 95% interval'
  return markdown.table(head, rows) + below


def _recipe(folder: str, by_variant: records.ByVariant) -> str:
  """Returns the name of what the others are changes to."""
  recipes = {
    record['recipe'] for found in by_variant.values() for record in found
  }
  if len(recipes) > 1:
    raise UserError(
      f'{folder} has records of changes to {", ".join(sorted(recipes))}; give '
      'each of these a folder of its own.'
    )
  (recipe,) = recipes
  if recipe not in by_variant:
    raise UserError(
      f'{folder} has no record of {recipe}, which the others are changes to; '
      'train it first.'
    )
  return recipe


def _cost(
  folder: str,
  found: list[dict[str, Any]],
  base: list[dict[str, Any]],
  deviation: run_statistics.Deviation | None,
) -> tuple[str, ...]:
  """Returns the line of a change, of which these are the records."""
  name, gin, base_gin = found[0]['variant'], found[0]['gin'], base[0]['gin']
  lacked = settings.lacked(gin, base_gin)
  if lacked:
    raise UserError(
      f'{folder}: {name} is no change to {base[0]["variant"]} as it is there, '
      f'for it does not have {lacked[0]!r}; train it anew in another folder.'
    )
  sets = ', '.join(f'`{line}`' for line in settings.brought(gin, base_gin))
  points = _points(_accuracies(found), _accuracies(base), deviation)
  return name, sets, *_mean(_accuracies(found)), points, _training(found)


def _lines(
  by_variant: records.ByVariant,
) -> list[tuple[str, list[float], list[float]]]:
  """Returns names, accuracies and seconds of training, in the order of names.

  What was evaluated with the mirror image too has a line for that.
  """
  lines = []
  for variant in sorted(by_variant):
    found = by_variant[variant]
    seconds = [record['train_seconds'] for record in found]
    lines.append((variant, _accuracies(found), seconds))
    mirror = _mirror_accuracies(found)
    if mirror:
      lines.append((variant + _WITH_MIRROR, mirror, seconds))
  return lines


def _summary_rows(by_variant: records.ByVariant) -> list[tuple[str, ...]]:
  return [_summary_row(*line) for line in _lines(by_variant)]


def _summary_row(
  name: str, accuracies: Sequence[float], seconds: Sequence[float]
) -> tuple[str, ...]:
  result = run_statistics.summarize(accuracies)
  deviation, interval = '', ''
  if result.deviation is not None and result.half_width is not None:
    deviation = f'{100 * result.deviation:.2f}'
    low, high = result.mean - result.half_width, result.mean + result.half_width
    interval = f'{100 * low:.2f} to {100 * high:.2f}'
  return (
    name,
    str(result.runs),
    f'{100 * result.mean:.2f}',
    deviation,
    interval,
    f'{100 * result.best:.2f}',
    _range(seconds),
  )


def _range(seconds: Sequence[float]) -> str:
  """Returns the least and the most; a mean over machines would be of none."""
  least, most = f'{min(seconds):,.0f}', f'{max(seconds):,.0f}'
  return least if least == most else f'{least} to {most}'


def _accuracies(found: Sequence[dict[str, Any]]) -> list[float]:
  return [record['test_accuracy'] for record in found]


def _mean_accuracy(found: Sequence[dict[str, Any]]) -> float:
  return statistics.fmean(_accuracies(found))


def _mirror_accuracies(found: Sequence[dict[str, Any]]) -> list[float]:
  """Returns the accuracies with the mirror image; none where not evaluated.

  Raises:
    UserError: If some of the runs have one.
  """
  last = [record['epochs'][-1] for record in found]
  accuracies = [row[_MIRROR] for row in last if _MIRROR in row]
  if accuracies and len(accuracies) < len(found):
    raise UserError(
      f'{len(accuracies)} of the {len(found)} records of '
      f'{found[0]["variant"]} have {_MIRROR}; train all of them alike.'
    )
  return accuracies


def _training(found: Sequence[dict[str, Any]]) -> str:
  """Returns the mean training accuracy of the last epoch."""
  return _mean([r['epochs'][-1]['train_accuracy'] for r in found])[1]


def _mean(values: Sequence[float]) -> tuple[str, str]:
  return str(len(values)), f'{100 * statistics.fmean(values):.2f}'


def _points(
  values: Sequence[float],
  reference: Sequence[float],
  deviation: run_statistics.Deviation | None,
) -> str:
  """Returns a difference, with its interval where there is one."""
  points, half_width = run_statistics.difference(values, reference, deviation)
  interval = '' if half_width is None else f' ± {100 * half_width:.2f}'
  return f'{100 * points:+.2f}{interval}'


def _deviation(
  groups: Iterable[Sequence[float]], published: float | None
) -> tuple[run_statistics.Deviation | None, str]:
  """Returns the deviation that intervals rest on, and a line that tells it.

  Args:
    groups: Accuracies of runs that differ by their seed.
    published: A deviation to take instead of theirs.
  """
  ours = run_statistics.pooled_deviation(groups)
  told = ours and (
    f'{100 * ours.value:.2f} points, with {ours.degrees_of_freedom} '
    f'{"degree" if ours.degrees_of_freedom == 1 else "degrees"} of freedom'
  )
  head = '\nDeviation from run to run behind the intervals: '
  if published is not None:
    here = f' (in these runs: {told})' if told else ''
    text = f'{head}{100 * published:.2f} points, as published{here}.\n'
    return run_statistics.Deviation(published, math.inf), text
  return ours, f'{head}{told}.\n' if told else ''


def _mean_points(differences: Sequence[float]) -> str:
  """Returns the mean of differences, with its interval where there is one."""
  result = run_statistics.summarize(differences)
  points = f'{100 * result.mean:+.2f}'
  if result.half_width is None:
    return points
  return f'{points} ± {100 * result.half_width:.2f}'
