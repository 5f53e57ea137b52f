"""Figures, as a table to read and as JSON."""

import dataclasses
import json
import os
import pathlib
import shlex
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from official_ext.errors import RunError, UserError

# Title, units of one unit of the table, and decimals of each figure.
ROWS = {
  'startup_seconds': ('start to the end of step 1, s', 1, 1),
  'peak_memory_bytes': ('peak memory, GiB', 2**30, 2),
  'input_images_per_second': ('input pipeline, images/s', 1, 0),
  'stock_images_per_second': ("Garden's stock pipeline, images/s", 1, 0),
  'input_over_stock': ("input / Garden's stock", 1, 2),
  'step_images_per_second': ('bare step, images/s', 1, 0),
  'step_flops_per_second': ('bare step, TFLOP/s', 1e12, 3),
  'matmul_peak_flops_per_second': ('best matrix product, TFLOP/s', 1e12, 3),
  'step_over_matmul_peak': ('step / best matrix product', 1, 3),
  'convolution_share': ('share of convolutions in the step', 1, 3),
  'convolution_flops_per_second': ('convolutions alone, TFLOP/s', 1e12, 3),
  'convolutions_over_matmul_peak': ('convolutions / best product', 1, 3),
  'pytorch_images_per_second': ("PyTorch's step, images/s", 1, 0),
  'step_over_pytorch': ("step / PyTorch's", 1, 3),
  'loop_images_per_second': ('training loop, images/s', 1, 0),
  'loop_over_step': ('loop / step', 1, 3),
  'evaluation_images_per_second': ('evaluation, images/s', 1, 0),
  'evaluation_over_training': ('evaluation / loop', 1, 2),
}

# What is divided by what, within each round.
RATIOS = {
  'input_over_stock': ('input_images_per_second', 'stock_images_per_second'),
  'step_over_matmul_peak': (
    'step_flops_per_second',
    'matmul_peak_flops_per_second',
  ),
  'convolutions_over_matmul_peak': (
    'convolution_flops_per_second',
    'matmul_peak_flops_per_second',
  ),
  'step_over_pytorch': ('step_images_per_second', 'pytorch_images_per_second'),
  'loop_over_step': ('loop_images_per_second', 'step_images_per_second'),
  'evaluation_over_training': (
    'evaluation_images_per_second',
    'loop_images_per_second',
  ),
}


@dataclasses.dataclass(frozen=True)
class Results:
  """What was measured.

  Attributes:
    figures: One value a round, by key.
    left_out: Why a figure was not measured, by key.
    setup: What was measured, and on what.
  """

  figures: dict[str, list[float]] = dataclasses.field(default_factory=dict)
  left_out: dict[str, str] = dataclasses.field(default_factory=dict)
  setup: dict[str, Any] = dataclasses.field(default_factory=dict)

  def add_ratios(self) -> None:
    """Divides round by round; leaves out what lacks a figure."""
    for key, (over, under) in RATIOS.items():
      reason = self.left_out.get(over) or self.left_out.get(under)
      if reason:
        self.left_out[key] = reason
      else:
        pairs = zip(self.figures[over], self.figures[under], strict=True)
        self.figures[key] = [a / b for a, b in pairs]

  def table(self) -> str:
    """Returns the medians and the spreads, a line each."""
    setup = self.setup
    macs = setup['macs_per_image']
    work = '' if macs is None else f', {macs / 1e6:,.2f} M-MACs an image'
    lines = [
      f'{setup["model"]} on {setup["data"]}: batch {setup["batch_size"]}, '
      f'{setup["precision"]}{work}',
      f'{setup["cpu"]}, {setup["cores"]} cores, TensorFlow '
      f'{setup["versions"]["tensorflow"]}, PyTorch '
      f'{setup["versions"]["torch"]}; {setup["rounds"]} rounds',
      f'{"":34} {"median":>10} {"min":>10} {"max":>10}',
    ]
    for key, (title, unit, decimals) in ROWS.items():
      if key in self.left_out:
        lines.append(f'{title:34} left out: {self.left_out[key]}')
      else:
        cells = (
          f'{value / unit:10,.{decimals}f}'
          for value in _summary(self.figures[key])
        )
        lines.append(f'{title:34} {" ".join(cells)}')
    lines.append(f'The best matrix product is {setup["best_matmul"]}.')
    if setup['profile']:
      shares = ', '.join(
        f'{name} {share:.0%}' for name, share in setup['profile'].items()
      )
      lines.append(f'The time of a step: {shares}.')
    return '\n'.join(lines)

  def as_dict(self) -> dict[str, Any]:
    """Returns medians by key (None if left out), spreads, reasons and setup."""
    medians = {
      key: _summary(self.figures[key])[0] if key in self.figures else None
      for key in ROWS
    }
    spreads = {
      key: dict(zip(('min', 'max'), _summary(values)[1:], strict=True))
      | {'rounds': values}
      for key, values in self.figures.items()
    }
    return medians | {
      'spread': spreads,
      'left_out': self.left_out,
      'setup': self.setup,
    }


def command(arguments: Sequence[str]) -> str:
  """Returns a command line for a record, without where that was written.

  Args:
    arguments: Those of this command.
  """
  kept, skip = [], False
  for argument in arguments:
    flag, equals, _ = argument.partition('=')
    if not skip and flag not in ('--json', '-json'):
      kept.append(argument)
    skip = not skip and flag in ('--json', '-json') and not equals
  return f'python -m official_ext.benchmark {shlex.join(kept)}'


def write(path: str, figures: Mapping[str, Any]) -> None:
  """Writes figures as JSON to a file that does not exist yet.

  Raises:
    RunError: If it cannot be written, or exists by now.
  """
  try:
    with open(os.path.expanduser(path), 'x') as file:
      json.dump(figures, file, indent=2)
      file.write('\n')
  except OSError as error:
    raise RunError(
      f'--json={path} cannot be written ({error.strerror}); the figures are '
      'above.'
    ) from error


def check_new(path: str) -> None:
  """Raises where `write` would, before minutes are spent.

  Raises:
    UserError: If the file exists or its folder cannot be written to.
  """
  file = pathlib.Path(path).expanduser()
  if file.exists():
    raise UserError(
      f'--json={path} exists and is not overwritten; name another file.'
    )
  if not os.access(file.parent, os.W_OK | os.X_OK):
    raise UserError(
      f'--json={path} cannot be written: {file.parent} is no folder that can '
      'be written to; name another file.'
    )


def _summary(values: list[float]) -> tuple[float, float, float]:
  return statistics.median(values), min(values), max(values)
