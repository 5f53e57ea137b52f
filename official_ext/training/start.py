"""A trainer at the step that it goes on from."""

import dataclasses
import functools

import tensorflow as tf
from official.core import train_utils

from official_ext.checkpoints import average, best, restoring, transfer
from official_ext.checkpoints.folder import Checkpoints
from official_ext.checkpoints.writing import writing
from official_ext.errors import UserError
from official_ext.machine.stopping import StopRequest
from official_ext.ops import placement
from official_ext.progress.bar import Progress
from official_ext.runs import description
from official_ext.training.team import Team
from official_ext.training.trainer import Trainer


@dataclasses.dataclass(frozen=True)
class Start:
  """All that a loop needs.

  Attributes:
    team: Who trains or evaluates, on what, and what is asked of them.
    trainer: At the step of the newest good checkpoint.
    progress: Observes the trainer.
    stop: Asks the trainer to stop.
    step: That of the trainer; 0 where a run begins.
  """

  team: Team
  trainer: Trainer
  progress: Progress
  stop: StopRequest
  step: int


def at_its_step(team: Team, there: Checkpoints) -> Start:
  """Builds a trainer and brings it to its step.

  Args:
    team: Who trains or evaluates.
    there: The checkpoints in its folder.

  Raises:
    UserError: If the checkpoint is another model's, none is good, there is none
      to evaluate, or what a new run begins with does not fit.
  """
  request = team.request
  progress = Progress(request.params, quiet=not team.cluster.is_chief)
  stop = team.stop_request()
  with team.strategy.scope():
    trainer = _build(team, progress, stop)
    step = 0
    if not request.waits:  # Where another trains, the loop restores each.
      step = restoring.restore(trainer.checkpoint, there, repair=request.trains)
  if request.mode == 'eval' and not step:
    raise UserError(
      f'--model_dir={request.model_dir} holds no checkpoint to evaluate; name '
      'the folder of a run.'
    )
  if request.trains and not step:
    names = request.data.train.info.class_names if request.data else []
    transfer.check(request.params.task, trainer.model, names)
  return Start(team, trainer, progress, stop, step)


def make_ready(start: Start) -> None:
  """Waits for the images, of which the description of the run tells.

  What is compiled before the loop, is compiled meanwhile.

  Args:
    start: Of a run that trains.

  Raises:
    UserError: If the images are damaged, or do not fit.
    RunError: If the folder cannot be written to.
  """
  request = start.team.request
  if start.step >= request.last_step:
    return
  with start.team.strategy.scope():
    start.trainer.await_images()
  with writing(request.model_dir):
    description.write(
      request.params, request.model_dir, request.data, request.arguments
    )


def _build(team: Team, progress: Progress, stop: StopRequest) -> Trainer:
  request = team.request
  params, model_dir = request.params, request.model_dir
  task = request.experiment.build_task(logging_dir=model_dir)
  if hasattr(task, 'compute_on'):
    task.compute_on(team.strategy)
  exporter = None
  if request.records:
    exporter = best.exporter(params.trainer, model_dir, team.saves_beside)
  trainer = train_utils.create_trainer(
    params,
    task,
    train=request.trains,
    evaluate=request.evaluates,
    checkpoint_exporter=exporter,
    trainer_cls=functools.partial(
      Trainer,
      observer=progress,
      stop=stop,
      # Several workers step together, and some may have read theirs. On a CPU
      # the step that is compiled would take the cores that decode.
      compiles_ahead=not (team.cluster.several or placement.on_cpu()),
    ),
  )
  if not request.trains:
    trainer._checkpoint = _of_weights(team, trainer)
    return trainer
  _check_variables(trainer)
  return team.shared.trainer(trainer)


def _check_variables(trainer: Trainer) -> None:
  """Raises where the optimizer is told of variables that there are not."""
  optimizer = trainer.config.trainer.optimizer_config.optimizer
  config = optimizer.get()
  if hasattr(config, 'check_variables'):
    config.check_variables(
      trainer.model.trainable_variables,
      f'trainer.optimizer_config.optimizer.{optimizer.type}.',
    )


def _of_weights(team: Team, trainer: Trainer) -> tf.train.Checkpoint:
  """Returns what an evaluation restores, and keeps of the best.

  Whatever the optimizer keeps is then not put into memory; its average is.
  """
  parts = {'model': trainer.model, 'global_step': trainer.global_step}
  if average.is_beside(team.request.model_dir, team.request.average):
    parts['optimizer'] = trainer.optimizer
  weights = tf.train.Checkpoint(**parts)
  # A variable made while it is restored would wait for a file that is gone.
  weights.save_counter.assign(0)
  return weights
