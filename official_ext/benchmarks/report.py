"""Figures, as a table to read and as a dict to keep."""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from official.core import config_definitions as cfg

from official_ext.machine import description as machine

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
  'loop_over_step': ('loop_images_per_second', 'step_images_per_second'),
  'evaluation_over_training': (
    'evaluation_images_per_second',
    'loop_images_per_second',
  ),
}


@dataclasses.dataclass(frozen=True)
class Rival:
  """The same training step, written in something else.

  Attributes:
    title: What to call it.
    package: What is installed of it, whose version is told.
    why_not: Returns why it cannot make an experiment's step; None if it can.
    build: Returns a function that trains once, for an experiment and a number
      of threads.
  """

  title: str
  package: str
  why_not: Callable[[cfg.ExperimentConfig], str | None]
  build: Callable[[cfg.ExperimentConfig, int], Callable[[], Any]]


@dataclasses.dataclass(frozen=True)
class Results:
  """What was measured.

  Attributes:
    rivals: What the step was compared with, by the name that keys have of it.
    figures: One value a round, by key.
    left_out: Why a figure was not measured, by key.
    setup: What was measured, and on what.
  """

  rivals: Mapping[str, Rival] = dataclasses.field(default_factory=dict)
  figures: dict[str, list[float]] = dataclasses.field(default_factory=dict)
  left_out: dict[str, str] = dataclasses.field(default_factory=dict)
  setup: dict[str, Any] = dataclasses.field(default_factory=dict)

  def rows(self) -> dict[str, tuple[str, float, int]]:
    """Returns title, unit and decimals of each figure, by key."""
    rows: dict[str, tuple[str, float, int]] = dict(ROWS)
    for name, rival in self.rivals.items():
      title = f"{rival.title}'s"
      rows[f'{name}_images_per_second'] = (f'{title} step, images/s', 1, 0)
      rows[f'step_over_{name}'] = (f'step / {title}', 1, 3)
    return rows

  def add_ratios(self) -> None:
    """Divides round by round; leaves out what lacks a figure."""
    ratios = dict(RATIOS)
    for name in self.rivals:
      over_and_under = 'step_images_per_second', f'{name}_images_per_second'
      ratios[f'step_over_{name}'] = over_and_under
    for key, (over, under) in ratios.items():
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
      machine_line(setup, self.rivals.values()),
      f'{"":34} {"median":>10} {"min":>10} {"max":>10}',
    ]
    for key, (title, unit, decimals) in self.rows().items():
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
      for key in self.rows()
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


def machine_setup(
  rounds: int, seconds: float, rivals: Iterable[Rival] = ()
) -> dict[str, Any]:
  """Returns how long was measured, on what, and with which versions."""
  return {
    'rounds': rounds,
    'seconds': seconds,
    'cpu': machine.cpu_name(),
    'cores': machine.cores(),
    'versions': machine.versions(*(rival.package for rival in rivals)),
  }


def machine_line(setup: Mapping[str, Any], rivals: Iterable[Rival] = ()) -> str:
  """Returns the same as a line to read."""
  versions = setup['versions']
  used = [
    f'TensorFlow {versions["tensorflow"]}',
    *(f'{rival.title} {versions[rival.package]}' for rival in rivals),
  ]
  return (
    f'{setup["cpu"]}, {setup["cores"]} cores, {", ".join(used)}; '
    f'{setup["rounds"]} rounds'
  )


def _summary(values: list[float]) -> tuple[float, float, float]:
  return statistics.median(values), min(values), max(values)
