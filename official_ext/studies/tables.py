"""Tables of records, for a terminal and for Markdown."""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from official_ext.core.errors import UserError
from official_ext.studies import records, statistics

_Records = dict[str, list[dict[str, Any]]]

_MIRROR = 'test_accuracy_mirror'
_WITH_MIRROR = ', with the mirror image'


def summary(by_variant: _Records) -> str:
  """Returns a table for the terminal: a line for each variant."""
  rows = [_SUMMARY_HEAD, *_summary_rows(by_variant)]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return '\n'.join(
    '  '.join(map(str.rjust, row, widths)).rstrip() for row in rows
  )


def runs(folder: str) -> str:
  """Returns the same table in Markdown."""
  return _markdown(_SUMMARY_HEAD, _summary_rows(records.read_all(folder)))


def costs(folder: str) -> str:
  """Returns what each change costs, the dearest first.

  The deviation from run to run is taken to be the same with every change, since
  most are tried once, and stands below the table. The training accuracy of the
  last epoch tells a change that trains worse from one that is evaluated worse.

  Raises:
    UserError: If they are changes to several recipes, or to one without a
      record.
  """
  by_variant = records.read_all(folder)
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
  figures = {name: _accuracies(found) for name, found in by_variant.items()}
  deviation = statistics.pooled_deviation(figures.values())
  reference = figures.pop(recipe)
  means = {name: statistics.summarize(figures[name]).mean for name in figures}
  rows = [(recipe, *_mean(reference), '', _training(by_variant[recipe]))]
  for name in sorted(means, key=lambda name: means[name]):
    points = _points(figures[name], reference, deviation)
    row = name, *_mean(figures[name]), points, _training(by_variant[name])
    rows.append(row)
  points_head = 'points above the recipe, 95% interval'
  head = 'change', *_MEAN_HEAD, points_head, 'mean training accuracy, %'
  return _markdown(head, rows) + _common(deviation)


def steps(folder: str) -> str:
  """Returns what each variant, by name, adds to the one before it.

  The deviation from run to run is taken to be the same for all, as in `costs`;
  with and without the mirror image are two figures of the same runs, and
  compared run by run.
  """
  by_variant = records.read_all(folder)
  deviation = statistics.pooled_deviation(map(_accuracies, by_variant.values()))
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
  head = 'step', *_MEAN_HEAD, 'points over the line above, 95% interval'
  return _markdown(head, rows) + _common(deviation)


def step_times(folder: str) -> str:
  """Returns the times of steps and trainings beside those of a recipe."""
  rows = []
  for path in sorted(pathlib.Path(folder).glob('*.json')):
    variants = json.loads(path.read_text())['variants']
    rows += [
      (
        name,
        f'{figures["images_per_second"]:,.0f}',
        f'{figures["step_time_over_recipe"]:.2f}',
        f'{figures["training_time_over_recipe"]:.2f}',
      )
      for name, figures in variants.items()
    ]
  return _markdown(
    ('recipe', 'images/s', 'time of a step ÷ first', 'of training ÷ first'),
    rows,
  )


def profile(folder: str) -> str:
  """Returns the shares of a step's time by kind of operation, in each file."""
  files = sorted(pathlib.Path(folder).glob('*.json'))
  shares = [json.loads(path.read_text())['setup']['profile'] for path in files]
  rows = [[f'{share:.0%}' for share in of_file.values()] for of_file in shares]
  return _markdown(list(shares[0]), rows)


def exports(folder: str) -> str:
  """Returns how exported models do beside the trained ones, by run."""
  rows = [
    (
      path.stem,
      row['name'],
      f'{row["accuracy"]:.2%}',
      f'{row["agreement"]:.2%}',
      f'{row["max_difference"]:.0e}',
      f'{row["num_bytes"] / 2**20:.1f}',
    )
    for path in sorted(pathlib.Path(folder).glob('*.json'))
    for row in json.loads(path.read_text())
  ]
  head = ('run', 'model', 'test accuracy', 'same class', 'probabilities within')
  return _markdown((*head, 'MiB'), rows)


def benchmark(folder: str) -> str:
  """Returns the figures of each benchmark in a folder, beside their targets."""
  return '\n'.join(
    _benchmark(json.loads(path.read_text()))
    for path in sorted(pathlib.Path(folder).glob('*.json'))
  )


KINDS: dict[str, Callable[[str], str]] = {
  'runs': runs,
  'costs': costs,
  'steps': steps,
  'step_times': step_times,
  'benchmark': benchmark,
  'exports': exports,
  'profile': profile,
}

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

# Title, key, unit and digits of a figure, and what it should reach on two
# cores with matrix instructions for bfloat16.
_TARGETS = (
  ('input pipeline, images/s', 'input_images_per_second', 1, 0, '≥ 80,000'),
  ("input pipeline ÷ Garden's stock one", 'input_over_stock', 1, 1, '≥ 10'),
  ('bare step, images/s', 'step_images_per_second', 1, 0, ''),
  ("bare step ÷ PyTorch's", 'step_over_pytorch', 1, 2, '≥ 1.9'),
  ('bare step ÷ best matrix product', 'step_over_matmul_peak', 1, 2, '≥ 0.9'),
  ('share of convolutions in the step', 'convolution_share', 1, 2, ''),
  (
    'convolutions ÷ best matrix product',
    'convolutions_over_matmul_peak',
    1,
    2,
    '',
  ),
  ('training loop ÷ bare step', 'loop_over_step', 1, 2, '≥ 0.97'),
  ('evaluation ÷ training loop', 'evaluation_over_training', 1, 2, '≥ 3'),
  ('start to the end of step 1, s', 'startup_seconds', 1, 1, '≤ 15'),
  ('peak memory, GiB', 'peak_memory_bytes', 2**30, 2, '≤ 4'),
)


def _benchmark(figures: dict[str, Any]) -> str:
  setup = figures['setup']
  where = (
    f'{setup["cores"]} cores, {setup["precision"]}, batch {setup["batch_size"]}'
  )
  rows = [
    (title, *_spread(figures, key, unit, digits), target)
    for title, key, unit, digits, target in _TARGETS
    if figures[key] is not None
  ]
  return _markdown((where, 'median', 'range', 'target'), rows)


def _spread(
  figures: dict[str, Any], key: str, unit: int, digits: int
) -> tuple[str, str]:
  spread = figures['spread'][key]
  median, least, most = (
    f'{value / unit:,.{digits}f}'
    for value in (figures[key], spread['min'], spread['max'])
  )
  return median, f'{least} to {most}' if len(spread['rounds']) > 1 else ''


def _lines(
  by_variant: _Records,
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


def _summary_rows(by_variant: _Records) -> list[tuple[str, ...]]:
  return [_summary_row(*line) for line in _lines(by_variant)]


def _summary_row(
  name: str, accuracies: Sequence[float], seconds: Sequence[float]
) -> tuple[str, ...]:
  result = statistics.summarize(accuracies)
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
  return str(len(values)), f'{100 * statistics.summarize(values).mean:.2f}'


def _points(
  values: Sequence[float],
  reference: Sequence[float],
  deviation: statistics.Deviation | None,
) -> str:
  """Returns a difference, with its interval where there is one."""
  points, half_width = statistics.difference(values, reference, deviation)
  interval = '' if half_width is None else f' ± {100 * half_width:.2f}'
  return f'{100 * points:+.2f}{interval}'


def _common(deviation: statistics.Deviation | None) -> str:
  """Returns a line for below a table whose intervals rest on one deviation."""
  if deviation is None:
    return ''
  degrees = deviation.degrees_of_freedom
  return (
    f'\nDeviation from run to run, taken for all lines: '
    f'{100 * deviation.value:.2f} points, with {degrees} '
    f'{"degree" if degrees == 1 else "degrees"} of freedom.\n'
  )


def _mean_points(differences: Sequence[float]) -> str:
  """Returns the mean of differences, with its interval where there is one."""
  result = statistics.summarize(differences)
  points = f'{100 * result.mean:+.2f}'
  if result.half_width is None:
    return points
  return f'{points} ± {100 * result.half_width:.2f}'


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [head, ['---'] * len(head), *rows]
  return ''.join(f'| {" | ".join(line)} |\n' for line in lines)
