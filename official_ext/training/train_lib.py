"""Runs an experiment from its config, through Garden's runner."""

import contextlib
import functools
import hashlib
import io
import os
import pathlib
import sys
import tempfile
from typing import Any

import tensorflow as tf
from official.core import config_definitions as cfg
from official.core import task_factory, train_lib, train_utils

from official_ext.checkpoints import checkpoints, transfer
from official_ext.configs import image_classification, validation
from official_ext.dataloaders import in_memory
from official_ext.errors import Stopped, UserError
from official_ext.machine import devices, exchange, workers
from official_ext.machine.stopping import StopRequest
from official_ext.machine.workers import Cluster
from official_ext.modeling.optimization import sgd
from official_ext.progress import epoch_table
from official_ext.progress.bar import Progress
from official_ext.runs import run_dir
from official_ext.training.controller import Controller
from official_ext.training.trainer import Trainer

# Those of Garden's modes that its open-source runner has too.
MODES = (
  'train_and_eval',
  'train',
  'train_and_post_eval',
  'eval',
  'continuous_eval',
)


def run(params: cfg.ExperimentConfig, mode: str, model_dir: str) -> None:
  """Trains or evaluates, and prints what a person wants to know.

  Of several workers, the chief alone does so. Since all of them take part where
  a checkpoint is written, the others work in temporary folders, and in silence.

  Args:
    params: A config that `experiment.parse` returned.
    mode: One of Garden's modes.
    model_dir: The run's folder; read and written by the chief alone.

  Raises:
    UserError: If the folder or the data do not fit the experiment, or another
      process trains in the folder.
    RunError: If training began and cannot go on, or another worker is lost.
    Stopped: If a signal asked for it. All is saved.
  """
  if mode not in MODES:
    raise UserError(f'--mode={mode} does not run here; use {", ".join(MODES)}.')
  if 'train' in mode:
    validation.check_complete(params)
  validation.check_files(params, mode)
  cluster = workers.configure(params.runtime)
  if mode == 'continuous_eval' and cluster.several:
    raise UserError(f'--mode={mode} runs in one process; leave the others out.')
  settings = _digest(params, mode) if cluster.several else ''
  strategy = devices.set_up(params.runtime, settings)
  _say_devices(params, strategy, cluster)
  with exchange.watched(cluster):
    if cluster.is_chief:
      _run_in(model_dir, params, mode, strategy, cluster)
      return
    with (
      tempfile.TemporaryDirectory(prefix='official_ext-') as own_dir,
      contextlib.redirect_stdout(io.StringIO()),
    ):
      _run_in(own_dir, params, mode, strategy, cluster)
  print(f'{cluster.name(cluster.index)} is done.')


def _digest(params: cfg.ExperimentConfig, mode: str) -> str:
  """Returns what is the same on all workers of a run, and on no others."""
  settings = params.as_dict()
  runtime = settings.pop('runtime')
  for data in ('train_data', 'validation_data'):
    settings['task'][data].pop('tfds_data_dir', None)
  same = mode, runtime['seed'], runtime['mixed_precision_dtype'], settings
  return hashlib.sha256(repr(same).encode()).hexdigest()


def _run_in(
  model_dir: str,
  params: cfg.ExperimentConfig,
  mode: str,
  strategy: tf.distribute.Strategy,
  cluster: Cluster,
) -> None:
  """Does what `run` does, as one of the workers, in a folder of its own."""
  trains = 'train' in mode
  _check_not_best(params, mode, model_dir)
  progress = Progress(params, quiet=not cluster.is_chief)
  stop = StopRequest(exchange.asker(strategy, cluster))
  with contextlib.ExitStack() as stack:
    with run_dir.created(model_dir) if trains else contextlib.nullcontext():
      if trains:
        stack.enter_context(run_dir.held(model_dir))
      if cluster.several:
        _take_from_chief(model_dir, strategy, cluster)
      if checkpoints.are_in(model_dir) or not trains:
        run_dir.check_same_network(params, model_dir)
      trainer = _build_trainer(
        params, mode, model_dir, strategy, progress, stop
      )
      if trains:
        validation.check_patterns_find(
          params.trainer.optimizer_config.optimizer,
          [sgd.plain_name(v) for v in trainer.model.trainable_variables],
        )
      step = checkpoints.restore(trainer.checkpoint, model_dir, repair=trains)
      if trains and step:
        _check_goes_on(params, trainer, step, model_dir)
      if trains and not step:
        transfer.check(params.task, trainer.model)
      if mode == 'eval' and not step:
        raise UserError(
          f'--model_dir={model_dir} holds no checkpoint to evaluate; name the '
          'folder of a run.'
        )
      if trains:
        if cluster.is_chief:
          _warn(params.runtime)
        if step < params.trainer.train_steps:
          with checkpoints.writing(model_dir):
            run_dir.describe_run(params, model_dir, _class_names(params))
        stack.enter_context(stop.on_signals())
    _say_data(params)
    _say_where(step, params, model_dir, trains)
    table = epoch_table.EpochTable(
      model_dir if trains else None,
      trainer,
      progress,
      evaluates='eval' in mode,
    )
    try:
      _run(params, mode, model_dir, strategy, trainer, table)
    except Stopped as stopped:
      text = f'{stopped} {_how_to_go_on(stop, cluster, model_dir)}'
      raise Stopped(text, stopped.signal) from None
  _say_metrics(table.rows)
  if trains:
    best_subdir = params.trainer.best_checkpoint_export_subdir
    _say_result(table.rows, model_dir, best_subdir)


def _check_goes_on(
  params: cfg.ExperimentConfig, trainer: Trainer, step: int, model_dir: str
) -> None:
  """Raises where a checkpoint would change what the run is asked for.

  Raises:
    UserError: If the optimizer counts other steps than the run, or what it was
      made with is part of the checkpoint or of the count of epochs.
  """
  run_dir.check_same(params, model_dir)
  counted = int(trainer.optimizer.iterations.numpy())
  if counted != step:
    raise UserError(
      f'--model_dir={model_dir} is at step {step:,}, but its optimizer, which '
      f'is another one than here, at {counted:,}; give the options that it was '
      'trained with, or name another folder.'
    )


def _check_not_best(
  params: cfg.ExperimentConfig, mode: str, model_dir: str
) -> None:
  """Raises where a best checkpoint would be lost, or be taken for another.

  A run saves its own checkpoints in its folder, and removes what was there. And
  where it averages, the best checkpoint has the average for weights.
  """
  averages = getattr(params.trainer.optimizer_config, 'ema', None)
  if checkpoints.is_best(model_dir) and ('train' in mode or averages):
    run = pathlib.Path(model_dir).resolve().parent
    raise UserError(
      f'--model_dir={model_dir} holds the best checkpoint of the run in {run}; '
      'name that, or begin another run with this as task.init_checkpoint.'
    )


def _run(
  params: cfg.ExperimentConfig,
  mode: str,
  model_dir: str,
  strategy: tf.distribute.Strategy,
  trainer: Trainer,
  table: epoch_table.EpochTable,
) -> None:
  """Runs the trainer through Garden's runner."""
  # Orbit prints what it also logs; the table says it in a line.
  with contextlib.redirect_stdout(io.StringIO()):
    runner = _Runner(
      distribution_strategy=strategy,
      task=trainer.task,
      mode=mode,
      params=params,
      model_dir=model_dir,
      trainer=trainer,
      controller_cls=Controller,
      train_actions=[table.train_action],
      eval_actions=[table.eval_action],
    )
    table.begin()
    _execute(runner, mode)


class _Runner(train_lib.OrbitExperimentRunner):
  """Garden's runner, whose checkpoints are those of the folder it is given."""

  def _maybe_build_checkpoint_manager(
    self,
  ) -> tf.train.CheckpointManager | None:
    """Returns what saves; nothing where all is restored and none is saved.

    Garden's makes a temporary folder on workers besides the chief, where what
    the chief has restored is not to be found.
    """
    if self._mode == 'eval':
      return None
    return tf.train.CheckpointManager(
      self.trainer.checkpoint,
      directory=self.model_dir,
      max_to_keep=self.params.trainer.max_to_keep,
      step_counter=self.trainer.global_step,
      checkpoint_interval=self.params.trainer.checkpoint_interval,
      init_fn=self.trainer.initialize,
    )


def _take_from_chief(
  model_dir: str, strategy: tf.distribute.Strategy, cluster: Cluster
) -> None:
  """Gives every worker what the chief goes on from; no disk need be shared."""
  own = checkpoints.files_to_share(model_dir) if cluster.is_chief else {}
  files = exchange.share(strategy, cluster, own)
  if cluster.is_chief:
    return
  for name, content in files.items():
    path = pathlib.Path(model_dir) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _how_to_go_on(stop: StopRequest, cluster: Cluster, model_dir: str) -> str:
  if not cluster.several:
    return f'Go on with: {run_dir.resume_command(model_dir)}'
  asked = f'{cluster.name(stop.worker)} was told to.'
  if not cluster.is_chief:
    return f'{asked} To go on, start all workers again.'
  command = run_dir.resume_command(model_dir)
  return f'{asked} Go on with all workers again, the chief with: {command}'


def _say_devices(
  params: cfg.ExperimentConfig,
  strategy: tf.distribute.Strategy,
  cluster: Cluster,
) -> None:
  """Says what computes, and its share of a step where it is one of several."""
  replicas = strategy.num_replicas_in_sync
  line = devices.describe(params.runtime, replicas)
  batch_size = params.task.train_data.global_batch_size
  if replicas > 1:
    line += f', {batch_size / replicas:g} of the {batch_size} images of a step'
    line += ' on each'
  print(line)
  if cluster.several:
    print(
      f'This is {cluster.name(cluster.index)} of {len(cluster.hosts)}: '
      f'{", ".join(cluster.hosts)}. The chief reports and saves.'
    )
  sys.stdout.flush()


def _warn(runtime: cfg.RuntimeConfig) -> None:
  if runtime.num_gpus == 0 and runtime.distribution_strategy != 'tpu':
    print('warning: no GPU is used, so this takes a while.', file=sys.stderr)


def _build_trainer(
  params: cfg.ExperimentConfig,
  mode: str,
  model_dir: str,
  strategy: tf.distribute.Strategy,
  progress: Progress,
  stop: StopRequest,
) -> Trainer:
  trains = 'train' in mode
  exporter = checkpoints.best_exporter(params, model_dir) if trains else None
  with strategy.scope():
    trainer = train_utils.create_trainer(
      params,
      task_factory.get_task(params.task, logging_dir=model_dir),
      train=trains,
      evaluate='eval' in mode,
      checkpoint_exporter=exporter,
      trainer_cls=functools.partial(Trainer, observer=progress, stop=stop),
    )
  if trains:
    trainer.checkpoint.progress = progress
  return trainer


def _execute(runner: train_lib.OrbitExperimentRunner, mode: str) -> None:
  """Runs Garden's controller in a mode.

  `OrbitExperimentRunner.run` would go on to count the model's FLOPs, which
  takes seconds and is only logged.
  """
  controller, config = runner.controller, runner.params.trainer
  with runner.strategy.scope():
    if mode == 'train_and_eval':
      controller.train_and_evaluate(
        config.train_steps, config.validation_steps, config.validation_interval
      )
    elif mode == 'continuous_eval':
      controller.evaluate_continuously(
        config.validation_steps,
        timeout=config.continuous_eval_timeout,
        timeout_fn=lambda: runner.trainer.global_step >= config.train_steps,
      )
    else:
      if mode.startswith('train'):
        controller.train(config.train_steps)
      if mode.endswith('eval'):
        controller.evaluate(config.validation_steps)


def _say_data(params: cfg.ExperimentConfig) -> None:
  """Says how many images there are, and how many of them are used."""
  if not isinstance(params.task, image_classification.ImageClassificationTask):
    return
  batch_size = params.task.train_data.global_batch_size
  train, test = (
    in_memory.describe(data)
    for data in (params.task.train_data, params.task.validation_data)
  )
  steps = image_classification.steps_per_epoch(params)
  height, width, channels = train.image_shape
  print(
    f'{train.name}: {train.num_examples:,} training images ({steps} steps of '
    f'{batch_size} an epoch), {test.num_examples:,} test images, '
    f'{train.num_classes} classes, {height}×{width}×{channels}'
  )


def _class_names(params: cfg.ExperimentConfig) -> list[str]:
  """Returns the names of the classes; none where the data are Garden's."""
  if not isinstance(params.task, image_classification.ImageClassificationTask):
    return []
  return in_memory.describe(params.task.train_data).class_names


def _say_where(
  step: int, params: cfg.ExperimentConfig, model_dir: str, trains: bool
) -> None:
  """Says where a run begins, and what was found in its folder."""
  last = params.trainer.train_steps
  if not trains:
    print(f'Evaluating {model_dir} at step {step:,}.')
  elif step >= last:
    print(
      f'The run in {model_dir} is finished, at step {step:,} of {last:,}. Name '
      'another --model_dir to train again.'
    )
  elif step:
    print(f'Going on in {model_dir} from step {step:,} of {last:,}.')
  else:
    print(f'Training to step {last:,} in {model_dir}.')
  init_checkpoint = getattr(params.task, 'init_checkpoint', None)
  if trains and step and init_checkpoint:
    print(
      f'task.init_checkpoint={init_checkpoint} is not read: the '
      'run has a checkpoint of its own.'
    )


def _say_metrics(rows: list[dict[str, Any]]) -> None:
  """Says all that a task without accuracy reports, at the end."""
  metrics = rows[-1].get('test_metrics') if rows else None
  if not metrics:
    return
  print(f'At step {rows[-1]["step"]:,}, of the test data:')
  for name, value in metrics.items():
    print(f'  {name} {value:.4f}')


def _say_result(
  rows: list[dict[str, Any]], model_dir: str, best_subdir: str
) -> None:
  """Says what came out, where everything lies, and what to do next."""
  if not rows:
    return
  last = rows[-1]
  if last.get('test_accuracy') is not None:
    mirror = last.get('test_accuracy_mirror')
    both = (
      f', {mirror:.2%} with the mirror image,' if mirror is not None else ''
    )
    print(
      f'Test accuracy {last["test_accuracy"]:.2%}{both} after '
      f'{last["total_train_seconds"]:.1f} s of training.'
    )
  best = os.path.join(model_dir, best_subdir)
  has_best = best_subdir and os.path.isdir(best) and os.listdir(best)
  there = f', the best checkpoint in {best}' if has_best else ''
  print(
    f'Checkpoints, params.yaml and {epoch_table.FILE_NAME} are in {model_dir}'
    f'{there}.'
  )
  print(f'Curves: tensorboard --logdir {model_dir}')
