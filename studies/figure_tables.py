"""Tables of the figures of single commands: speed and exported models."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from official_ext.repeats import run_figures
from studies import markdown

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

_MEAN_HEAD = 'mean, 95% interval'

_STEP_TIMES_HEAD = (
  'recipe',
  'images/s',
  'time of a step ÷ first, median',
  _MEAN_HEAD,
  'of training ÷ first',
)


def step_times(folder: str) -> str:
  """Returns the times of steps and trainings beside those of a recipe."""
  rows = []
  for path in sorted(pathlib.Path(folder).glob('*.json')):
    variants = json.loads(path.read_text())['variants']
    first = next(iter(variants.values()))['rounds']
    for name, figures in variants.items():
      pairs = zip(first, figures['rounds'], strict=True)
      ratios = [before / speed for before, speed in pairs]
      rows.append(
        (
          name,
          f'{figures["images_per_second"]:,.0f}',
          f'{figures["step_time_over_recipe"]:.2f}',
          _mean(ratios, 2) if figures['rounds'] is not first else '',
          f'{figures["training_time_over_recipe"]:.2f}',
        )
      )
  return markdown.table(_STEP_TIMES_HEAD, rows)


def profile(folder: str) -> str:
  """Returns the shares of a step's time by kind of operation, in each file."""
  files = sorted(pathlib.Path(folder).glob('*.json'))
  shares = [json.loads(path.read_text())['setup']['profile'] for path in files]
  rows = [[f'{share:.0%}' for share in of_file.values()] for of_file in shares]
  return markdown.table(list(shares[0]), rows)


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
  return markdown.table((*head, 'MiB'), rows)


def benchmark(folder: str) -> str:
  """Returns the figures of each benchmark in a folder, beside their targets."""
  return '\n'.join(
    _benchmark(json.loads(path.read_text()))
    for path in sorted(pathlib.Path(folder).glob('*.json'))
  )


def _benchmark(figures: dict[str, Any]) -> str:
  setup = figures['setup']
  where = (
    f'{setup["cores"]} cores, {setup["precision"]}, batch {setup["batch_size"]}'
  )
  rows = [
    (title, *_spread(figures, key, unit, digits), target)
    for title, key, unit, digits, target in _TARGETS
    if figures.get(key) is not None
  ]
  head = (where, 'median', 'range', _MEAN_HEAD, 'target')
  return markdown.table(head, rows)


def _spread(
  figures: dict[str, Any], key: str, unit: int, digits: int
) -> tuple[str, str, str]:
  spread = figures['spread'][key]
  median, least, most = (
    f'{value / unit:,.{digits}f}'
    for value in (figures[key], spread['min'], spread['max'])
  )
  rounds = [value / unit for value in spread['rounds']]
  spans = f'{least} to {most}' if len(rounds) > 1 else ''
  return median, spans, _mean(rounds, digits)


def _mean(values: Sequence[float], digits: int) -> str:
  """Returns the mean of rounds and half its interval; nothing of one round."""
  result = run_figures.summarize(values)
  if result.half_width is None:
    return ''
  return f'{result.mean:,.{digits}f} ± {result.half_width:,.{digits}f}'
