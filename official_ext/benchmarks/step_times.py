"""The steps of a recipe and of changes to it, measured in turns."""

import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any

from official.core import config_definitions as cfg

from official_ext.benchmarks import report, timing
from official_ext.configuration.experiment import Experiment
from official_ext.errors import UserError
from official_ext.machine import devices
from official_ext.profiling import bare_step


@dataclasses.dataclass(frozen=True)
class StepTimes:
  """What was measured, the recipe first.

  Attributes:
    images_per_second: Speeds of the bare step by variant, one a round.
    train_images: How many images a whole training of a variant goes through.
    setup: What was measured, and on what.
  """

  images_per_second: Mapping[str, list[float]]
  train_images: Mapping[str, int]
  setup: dict[str, Any]

  def step_ratios(self, variant: str) -> list[float]:
    """Returns the time of a step over the recipe's, round by round."""
    recipe = next(iter(self.images_per_second))
    return [
      theirs / speed
      for theirs, speed in zip(
        self.images_per_second[recipe],
        self.images_per_second[variant],
        strict=True,
      )
    ]

  def as_dict(self) -> dict[str, Any]:
    """Returns speeds, medians of ratios, and seconds of all of the steps."""
    recipe_images = next(iter(self.train_images.values()))
    variants = {}
    for name, speeds in self.images_per_second.items():
      ratio = statistics.median(self.step_ratios(name))
      images = self.train_images[name]
      variants[name] = {
        'images_per_second': statistics.median(speeds),
        'step_time_over_recipe': ratio,
        'training_seconds': images / statistics.median(speeds),
        'training_time_over_recipe': ratio * images / recipe_images,
        'rounds': speeds,
      }
    return {'variants': variants, 'setup': self.setup}

  def table(self) -> str:
    """Returns the medians, a line for each variant."""
    lines = [
      report.machine_line(self.setup),
      f'{"":24} {"images/s":>9} {"step / first":>13} {"training, s":>12} '
      f'{"training / first":>17}',
    ]
    for name, row in self.as_dict()['variants'].items():
      lines.append(
        f'{name:24} {row["images_per_second"]:9,.0f} '
        f'{row["step_time_over_recipe"]:13.3f} '
        f'{row["training_seconds"]:12,.0f} '
        f'{row["training_time_over_recipe"]:17.3f}'
      )
    return '\n'.join(lines)


def measure(
  variants: Mapping[str, Experiment],
  rounds: int,
  seconds: float,
) -> StepTimes:
  """Measures the bare step of each variant, once a round.

  Args:
    variants: What `experiment.parse` returned, by name; the recipe
      that the others are compared with comes first.
    rounds: How often each step is measured.
    seconds: About how long each time.

  Raises:
    UserError: If devices can be set up but once in a process.
  """
  parts, precisions = {}, {}
  for name, experiment in variants.items():
    params, runtime = experiment.params, experiment.params.runtime
    if devices.has_to_set_up_first(runtime):
      raise UserError(
        'steps are compared on one machine and its own devices; leave out '
        f'runtime.distribution_strategy={runtime.distribution_strategy}, '
        f'runtime.num_logical_cpus={runtime.num_logical_cpus}.'
      )
    print(f'Building {name}', flush=True)
    strategy = devices.set_up(runtime)
    step = bare_step.build(experiment, strategy.num_replicas_in_sync)
    batch_size = params.task.train_data.global_batch_size
    parts[name] = timing.repeated(step.run, batch_size, seconds)
    precisions[name] = runtime.mixed_precision_dtype
  print('Measuring them in turns', flush=True)
  return StepTimes(
    timing.interleave(parts, rounds),
    {name: _train_images(each.params) for name, each in variants.items()},
    {'precision': precisions, **report.machine_setup(rounds, seconds)},
  )


def _train_images(params: cfg.ExperimentConfig) -> int:
  return params.trainer.train_steps * params.task.train_data.global_batch_size
