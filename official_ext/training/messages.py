"""What a session says."""

import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from official_ext.configs.common import RuntimeConfig
from official_ext.errors import Stopped
from official_ext.machine import compile_cache, devices, gpu_kernels, gpus
from official_ext.ops import views
from official_ext.progress import columns, epoch_table
from official_ext.training.request import Request
from official_ext.training.start import Start
from official_ext.training.team import Team


def say_devices(team: Team) -> None:
  """Says what computes, and its share of a step where it is one of several."""
  params, cluster = team.request.params, team.cluster
  replicas = team.strategy.num_replicas_in_sync
  line = devices.describe(params.runtime, replicas)
  batch_size = params.task.train_data.global_batch_size
  if replicas > 1:
    line += f', {batch_size / replicas:g} of the {batch_size} images of a step'
    line += ' on each'
  print(line)
  _warn_of_new_gpus(params.runtime)
  cache = compile_cache.in_use()
  if params.runtime.num_gpus and params.runtime.enable_xla and cache:
    print(
      f'What is compiled is kept in {cache} (--nocompile_cache: it is not).'
    )
  if cluster.several:
    print(
      f'This is {cluster.name(cluster.index)} of {len(cluster.hosts)}: '
      f'{", ".join(cluster.hosts)}. The chief reports and saves.'
    )
  sys.stdout.flush()


def _warn_of_new_gpus(runtime: RuntimeConfig) -> None:
  """Says which GPUs are newer than TensorFlow, before it stops at them.

  By its own word, compiling its kernels "could take 30 minutes or longer". With
  XLA, and a TensorFlow built with CUDA 12.5 as the wheels of 2.20 and 2.21 are,
  a GPU of capability 12.0 ends the process:
  https://github.com/openxla/xla/pull/47978
  """
  used = tf.config.list_physical_devices('GPU')[: max(runtime.num_gpus, 0)]
  for name, capability in gpu_kernels.missing(used).items():
    print(
      f'warning: TensorFlow {tf.__version__} has no kernels for {name} '
      f'(compute capability {capability}); to compile them when they are first '
      'used takes up to half an hour, and may fail; use a TensorFlow that is '
      'built for it, or runtime.num_gpus=0.',
      file=sys.stderr,
    )


def say_done(team: Team) -> None:
  """Says so on a worker that has said nothing else."""
  cluster = team.cluster
  if not cluster.is_chief:
    print(f'{cluster.name(cluster.index)} is done.')


def warn_of_cpu(team: Team) -> None:
  """Says where a training takes long."""
  runtime = team.request.params.runtime
  no_gpu = runtime.num_gpus == 0 and runtime.distribution_strategy != 'tpu'
  if no_gpu and team.cluster.is_chief:
    print(f'warning: {_why_no_gpu()}, so this takes a while.', file=sys.stderr)


def _why_no_gpu() -> str:
  kinds = gpus.kinds()
  if not kinds or tf.config.list_physical_devices('GPU'):
    return 'no GPU is used'
  return (
    f'this machine has a GPU ({", ".join(kinds)}) that TensorFlow cannot use '
    "(pip install 'official_ext[cuda]' brings the libraries; "
    'TF_CPP_MIN_LOG_LEVEL=0 shows what it misses)'
  )


def say_data(request: Request) -> None:
  """Says how many images there are, and how many of them are used."""
  if request.data is None:
    return
  train, test = request.data.train.info, request.data.test.info
  batch_size = request.params.task.train_data.global_batch_size
  steps = request.params.trainer.steps_per_epoch
  height, width, channels = train.image_shape
  print(
    f'{train.name}: {train.num_examples:,} training images ({steps} steps of '
    f'{batch_size} an epoch), {test.num_examples:,} test images, '
    f'{train.num_classes} classes, {height}×{width}×{channels}'
  )


def say_where(request: Request, step: int) -> None:
  """Says where a run begins, and what was found in its folder."""
  folder, last = request.model_dir, request.last_step
  if request.waits:
    print(f'Evaluating checkpoints as they come in {folder}, to step {last:,}.')
  elif not request.trains:
    print(f'Evaluating {folder} at step {step:,}.')
  elif step >= last:
    print(
      f'The run in {folder} is finished, at step {step:,} of {last:,}. Name '
      'another --model_dir to train again.'
    )
  elif step:
    print(f'Going on in {folder} from step {step:,} of {last:,}.')
  else:
    print(f'Training to step {last:,} in {folder}.')
  if request.trains and step and request.begins_with:
    print(
      f'task.init_checkpoint={request.begins_with} is not read: the run has a '
      'checkpoint of its own.'
    )


def with_how_to_go_on(stopped: Stopped, start: Start) -> Stopped:
  """Returns the same with the command that goes on with the run."""
  cluster, worker = start.team.cluster, start.stop.worker
  command = _resume_command(start.team.request)
  if not cluster.several:
    how = f'Go on with: {command}'
  elif cluster.is_chief:
    how = (
      f'{cluster.name(worker)} was told to. Go on with all workers again, the '
      f'chief with: {command}'
    )
  else:
    how = (
      f'{cluster.name(worker)} was told to. To go on, start all workers again.'
    )
  return Stopped(f'{stopped} {how}', stopped.signal)


def _resume_command(request: Request) -> str:
  arguments = [a for a in request.arguments if not a.startswith('--model_dir=')]
  if '--model_dir' in arguments:
    at = arguments.index('--model_dir')
    del arguments[at : at + 2]
  arguments += ['--model_dir', request.model_dir]
  return f'python -m official_ext.train {shlex.join(arguments)}'


def say_result(
  request: Request, rows: Sequence[Mapping[str, Any]], start: int | None
) -> None:
  """Says what came out, where everything lies, and what to do next.

  Args:
    request: What was asked for.
    rows: Of the table.
    start: Step at which this command began to train; None if it did not.
  """
  if not rows:
    return
  _say_metrics(rows[-1])
  if request.trains:
    _say_accuracy(rows[-1])
    if start is not None:
      _say_time(request, [row for row in rows if row['step'] > start])
    _say_files(request)


def _say_metrics(row: Mapping[str, Any]) -> None:
  """Says all that a task without accuracy reports."""
  metrics = row.get('test_metrics') or {}
  if metrics:
    print(f'At step {row["step"]:,}, of the test data:')
  for name, value in metrics.items():
    print(f'  {name} {value:.4f}')


def _say_accuracy(row: Mapping[str, Any]) -> None:
  if row.get('test_accuracy') is None:
    return
  seen = [f'{row["test_accuracy"]:.2%}']
  seen += [
    f'{row[key]:.2%} {views.words(name)},'
    for key, name in columns.of_views(row).items()
  ]
  print(
    f'Test accuracy {", ".join(seen)} after '
    f'{row["total_train_seconds"]:.1f} s of training.'
  )


def _say_time(request: Request, rows: Sequence[Mapping[str, Any]]) -> None:
  """Says what a user has waited for besides of training."""
  compiling = sum(row.get('compile_seconds', 0) for row in rows)
  since = time.time() - request.begun
  print(f'Compiling took {compiling:.1f} s; {since:.0f} s from start to end.')


def _say_files(request: Request) -> None:
  folder = request.model_dir
  subdir = request.params.trainer.best_checkpoint_export_subdir
  best = os.path.join(folder, subdir)
  has_best = subdir and os.path.isdir(best) and os.listdir(best)
  there = f', the best checkpoint in {best}' if has_best else ''
  print(
    f'Checkpoints, params.yaml and {epoch_table.FILE_NAME} are in {folder}'
    f'{there}.'
  )
  print(f'Curves: tensorboard --logdir {shlex.quote(folder)}')
