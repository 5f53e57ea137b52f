"""All of the measurements, in the order in which they do not disturb another.

Runs in processes of their own come first, while nothing is loaded here. Then
the input pipelines take turns, and after them all that computes.
"""

import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf
import tf_keras
from official.core import config_definitions as cfg

from official_ext.benchmarks import (
  input_pipelines,
  report,
  timing,
  train_process,
)
from official_ext.benchmarks.report import Results, Rival
from official_ext.benchmarks.trainer_loop import TrainerLoop
from official_ext.configuration.experiment import Experiment
from official_ext.errors import UserError
from official_ext.machine import description as machine
from official_ext.machine import devices
from official_ext.profiling import (
  bare_step,
  matrix_peak,
  model_work,
  profile_process,
  step_profile,
)

# Starts vary less than speeds, and each takes ten seconds.
_MAX_STARTS = 3

# One product takes a fraction of a step, and there are several.
_PRODUCT_SHARE = 0.1

_Parts = dict[str, Callable[[], float]]


@dataclasses.dataclass(frozen=True)
class _Plan:
  """What to measure, where, how often and for how long."""

  experiment: Experiment
  strategy: tf.distribute.Strategy
  rounds: int
  seconds: float

  @property
  def params(self) -> cfg.ExperimentConfig:
    return self.experiment.params

  @property
  def batch_size(self) -> int:
    return self.params.task.train_data.global_batch_size

  @property
  def replicas(self) -> int:
    return self.strategy.num_replicas_in_sync


def run(
  experiment: Experiment,
  arguments: Sequence[str],
  rounds: int,
  seconds: float,
  rivals: Mapping[str, Rival] | None = None,
) -> Results:
  """Measures everything, saying what it is at.

  Args:
    experiment: What `experiment.parse` returned.
    arguments: The flags that it was parsed from.
    rounds: How often each speed is measured.
    seconds: About how long each time.
    rivals: What the step is compared with, by the name that keys have of it.

  Raises:
    UserError: If the devices are parts of one CPU.
    RunError: If a training process fails.
  """
  runtime = experiment.params.runtime
  if runtime.num_logical_cpus > 1:
    raise UserError(
      f'runtime.num_logical_cpus={runtime.num_logical_cpus} divides '
      'the cores among devices, of which one is measured; leave it out.'
    )
  results = Results(rivals or {})
  _measure_process(results, arguments, min(rounds, _MAX_STARTS))
  _say('Profiling the training step in a process of its own')
  profile = profile_process.run(arguments, rounds)
  plan = _Plan(experiment, devices.set_up(runtime), rounds, seconds)
  _measure_input(results, plan)
  _measure_compute(results, plan)
  _add_profile(results, profile, plan)
  results.add_ratios()
  _describe(results, plan)
  return results


def _measure_process(
  results: Results, arguments: Sequence[str], starts: int
) -> None:
  _say('Starting training in processes of its own')
  whole = train_process.run(arguments, to_end=True)
  others = [
    train_process.run(arguments, to_end=False) for _ in range(starts - 1)
  ]
  results.figures['startup_seconds'] = [
    run.first_step_seconds for run in [whole, *others]
  ]
  results.figures['peak_memory_bytes'] = [whole.peak_memory_bytes]


def _measure_input(results: Results, plan: _Plan) -> None:
  _say('Measuring the input pipeline')
  pulls = {'input': input_pipelines.ours(plan.experiment, plan.strategy)}
  reason = input_pipelines.why_not_stock(plan.experiment)
  if reason:
    results.left_out['stock_images_per_second'] = reason
  else:
    pulls['stock'] = input_pipelines.stock(plan.params, plan.strategy)
  parts = {
    name: timing.repeated(pull, plan.batch_size, plan.seconds / 2, drain=True)
    for name, pull in pulls.items()
  }
  _keep(results, timing.interleave(parts, plan.rounds))


def _measure_compute(results: Results, plan: _Plan) -> None:
  _say('Measuring the training step, the loop, and what they compare with')
  step = bare_step.build(plan.experiment, plan.replicas)
  products = _product_parts(step.model, plan)
  with tempfile.TemporaryDirectory() as model_dir:
    parts = _image_parts(results, step, plan, model_dir)
    speeds = timing.interleave(parts | products, plan.rounds)
  peaks = {name: speeds.pop(name) for name in products}
  _keep(results, speeds)
  reason = model_work.why_not(step.model)
  macs = None if reason else model_work.count_macs(step.model)
  if macs is None:
    results.left_out['step_flops_per_second'] = str(reason)
  else:
    results.figures['step_flops_per_second'] = [
      speed * _operations(macs) for speed in speeds['step']
    ]
  results.figures['matmul_peak_flops_per_second'] = [
    max(values) for values in zip(*peaks.values(), strict=True)
  ]
  medians = {name: statistics.median(peaks[name]) for name in peaks}
  results.setup.update(
    macs_per_image=macs,
    best_matmul=max(medians, key=lambda name: medians[name]),
    matmul_flops_per_second=medians,
  )


def _add_profile(
  results: Results, steps: list[dict[str, float]], plan: _Plan
) -> None:
  """Splits the time of a step, and what it computes, by type of operation."""
  seconds = step_profile.medians(steps)
  results.setup.update(
    profile=step_profile.shares(seconds), operation_seconds=seconds
  )
  times = [step_profile.convolution_seconds(times) for times in steps]
  macs = results.setup['macs_per_image']
  if not times or min(times) <= 0:  # All of a step that XLA compiles is one.
    reason = 'no convolutions of a CPU are traced'
    results.setup.update(profile={})
    results.left_out['convolution_share'] = reason
    results.left_out['convolution_flops_per_second'] = reason
    return
  results.figures['convolution_share'] = [
    time / sum(all_times.values())
    for time, all_times in zip(times, steps, strict=True)
  ]
  if macs is None:
    reason = results.left_out['step_flops_per_second']
    results.left_out['convolution_flops_per_second'] = reason
    return
  # They hold nearly all of the multiply-adds.
  images = plan.batch_size // plan.replicas
  operations = _operations(macs) * images
  results.figures['convolution_flops_per_second'] = [
    operations / time for time in times
  ]


def _operations(macs: int) -> int:
  """Returns the floating point operations of training on an image.

  Forward, and the gradients of inputs and of kernels; two each.
  """
  return 3 * 2 * macs


def _image_parts(
  results: Results, step: bare_step.BareStep, plan: _Plan, model_dir: str
) -> _Parts:
  """Returns what goes through images, warmed up."""
  params, seconds = plan.params, plan.seconds
  loop = TrainerLoop(plan.experiment, plan.strategy, model_dir)
  assert plan.experiment.data  # `local_data` lets no other task through.
  test_images = plan.experiment.data.test.info.num_examples
  parts = {
    'step': timing.repeated(step.run, plan.batch_size, seconds),
    'loop': loop.measure_training(seconds),
    'evaluation': timing.repeated(loop.evaluate, test_images, seconds),
  }
  for name, rival in results.rivals.items():
    reason = rival.why_not(params)
    if reason:
      results.left_out[f'{name}_images_per_second'] = reason
    else:
      theirs = rival.build(params, machine.cores())
      parts[name] = timing.repeated(theirs, plan.batch_size, seconds)
  return parts


def _product_parts(model: tf_keras.Model, plan: _Plan) -> _Parts:
  """Returns matrix products: squares, and those of the convolutions."""
  precision = plan.params.runtime.mixed_precision_dtype
  shapes = [*matrix_peak.SQUARES]
  if not model_work.why_not(model):
    images = plan.batch_size // plan.replicas
    shapes += model_work.matrix_products(model, images)
  return {
    '×'.join(map(str, shape)): timing.repeated(
      matrix_peak.build(shape, precision),
      matrix_peak.count_operations(shape) * plan.replicas,
      plan.seconds * _PRODUCT_SHARE,
    )
    for shape in shapes
  }


def _describe(results: Results, plan: _Plan) -> None:
  params = plan.params
  data = params.task.train_data
  results.setup.update(
    model=params.task.model.backbone.type,
    data=f'{data.tfds_name} {data.tfds_split}',
    batch_size=plan.batch_size,
    precision=params.runtime.mixed_precision_dtype,
    replicas=plan.replicas,
    **report.machine_setup(plan.rounds, plan.seconds, results.rivals.values()),
  )


def _keep(results: Results, speeds: Mapping[str, list[float]]) -> None:
  for name, values in speeds.items():
    results.figures[f'{name}_images_per_second'] = values


def _say(text: str) -> None:
  print(text, flush=True)
