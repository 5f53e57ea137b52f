"""Tables of records, for a terminal and for Markdown."""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from official_ext.studies import records, statistics

_Records = dict[str, list[dict[str, Any]]]


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

  The recipe, which the others are compared with, is the variant with the most
  runs.
  """
  by_variant = records.read_all(folder)
  if not by_variant:
    return ''
  recipe = max(by_variant, key=lambda variant: len(by_variant[variant]))
  reference = _accuracies(by_variant.pop(recipe))
  rows = [(recipe, str(len(reference)), _points(reference), '')]
  if len(reference) > 1:
    above = {
      variant: statistics.difference(_accuracies(found), reference)
      for variant, found in by_variant.items()
    }
    for variant in sorted(above, key=lambda variant: above[variant][0]):
      accuracies = _accuracies(by_variant[variant])
      points, half_width = above[variant]
      rows.append(
        (
          variant,
          str(len(accuracies)),
          _points(accuracies),
          f'{100 * points:+.2f} ± {100 * half_width:.2f}',
        )
      )
  head = ('change', 'runs', 'mean test accuracy, %', 'points, 95% interval')
  return _markdown(head, rows)


def benchmark(folder: str) -> str:
  """Returns the figures of each benchmark in a folder, beside their targets."""
  return '\n'.join(
    _benchmark(json.loads(path.read_text()))
    for path in sorted(pathlib.Path(folder).glob('*.json'))
  )


KINDS: dict[str, Callable[[str], str]] = {
  'runs': runs,
  'costs': costs,
  'benchmark': benchmark,
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


def _summary_rows(by_variant: _Records) -> list[tuple[str, ...]]:
  return [_summary_row(variant, found) for variant, found in by_variant.items()]


def _summary_row(
  variant: str, found: Sequence[dict[str, Any]]
) -> tuple[str, ...]:
  result = statistics.summarize(_accuracies(found))
  seconds = [record['train_seconds'] for record in found]
  deviation, interval = '', ''
  if result.deviation is not None and result.half_width is not None:
    deviation = f'{100 * result.deviation:.2f}'
    low, high = result.mean - result.half_width, result.mean + result.half_width
    interval = f'{100 * low:.2f} to {100 * high:.2f}'
  return (
    variant,
    str(result.runs),
    f'{100 * result.mean:.2f}',
    deviation,
    interval,
    f'{100 * result.best:.2f}',
    f'{statistics.summarize(seconds).mean:,.0f}',
  )


def _accuracies(found: Sequence[dict[str, Any]]) -> list[float]:
  return [record['test_accuracy'] for record in found]


def _points(values: Sequence[float]) -> str:
  return f'{100 * statistics.summarize(values).mean:.2f}'


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [head, ['---'] * len(head), *rows]
  return ''.join(f'| {" | ".join(line)} |\n' for line in lines)
