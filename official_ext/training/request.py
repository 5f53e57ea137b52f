"""What a session is asked for."""

import dataclasses
import hashlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import psutil
from official.core import config_definitions as cfg

from official_ext.configs import optimization, validation
from official_ext.configs.image_classification import DataConfig
from official_ext.configuration.experiment import Experiment
from official_ext.dataloaders.data_sets import DataSets
from official_ext.errors import UserError

# Those of Garden's modes that its open-source runner has too.
MODES = (
  'train_and_eval',
  'train',
  'train_and_post_eval',
  'eval',
  'continuous_eval',
)


@dataclasses.dataclass(frozen=True)
class Request:
  """What to do, and in which folder.

  Attributes:
    experiment: What is trained or evaluated.
    mode: One of `MODES`.
    model_dir: The run's folder, of this process.
    arguments: Those of `official_ext.train` that ask for the same.
    begun: When it was asked for, in seconds since the epoch.
  """

  experiment: Experiment
  mode: str
  model_dir: str
  arguments: Sequence[str]
  begun: float

  @property
  def params(self) -> cfg.ExperimentConfig:
    """The experiment's locked config."""
    return self.experiment.params

  @property
  def data(self) -> DataSets | None:
    """Its images; None where a task of Garden reads its own."""
    return self.experiment.data

  @property
  def trains(self) -> bool:
    """Whether it may train, and so writes to the folder."""
    return 'train' in self.mode

  @property
  def records(self) -> bool:
    """Whether what it measures goes into the run's table, and the best is kept.

    One that evaluates a single checkpoint prints it alone.
    """
    return self.trains or self.waits

  @property
  def waits(self) -> bool:
    """Whether it evaluates what another process trains."""
    return self.mode == 'continuous_eval'

  @property
  def evaluates(self) -> bool:
    """Whether it evaluates, while it trains or after."""
    return 'eval' in self.mode

  @property
  def last_step(self) -> int:
    """The step that a training ends with."""
    return self.params.trainer.train_steps

  @property
  def average(self) -> Any:
    """The config of what is evaluated instead of the weights, or None."""
    return optimization.shadow(self.params.trainer.optimizer_config)

  @property
  def begins_with(self) -> str:
    """The checkpoint that a new run begins with; '' for none."""
    return getattr(self.params.task, 'init_checkpoint', None) or ''

  @property
  def reads(self) -> list[DataConfig]:
    """Which of the data it reads."""
    task = self.params.task
    train = [task.train_data] if self.trains else []
    return [*train, *([task.validation_data] if self.evaluates else [])]

  def digest(self) -> str:
    """Returns what is the same on all workers of a run, and on no others."""
    settings = self.params.as_dict()
    runtime = settings.pop('runtime')
    for data in ('train_data', 'validation_data'):
      settings['task'][data].pop('tfds_data_dir', None)
    precision = runtime['mixed_precision_dtype']
    same = self.mode, runtime['seed'], precision, settings
    return hashlib.sha256(repr(same).encode()).hexdigest()


def checked(
  experiment: Experiment,
  mode: str,
  model_dir: str,
  arguments: Sequence[str] | None = None,
) -> Request:
  """Returns the request, if it can be met.

  Args:
    experiment: What is trained or evaluated.
    mode: One of `MODES`.
    model_dir: The run's folder.
    arguments: Those of `official_ext.train` that ask for the same; None for
      those of this process, which then was begun for it.

  Raises:
    UserError: If there is no such mode, or the experiment leaves open what the
      mode needs, or names files that are not there.
  """
  if mode not in MODES:
    raise UserError(f'--mode={mode} does not run here; use {", ".join(MODES)}.')
  if arguments is None:
    arguments, begun = sys.argv[1:], psutil.Process().create_time()
  else:
    begun = time.time()
  request = Request(experiment, mode, model_dir, arguments, begun)
  if request.trains:
    validation.check_complete(request.params)
  validation.check_files(request.params, mode)
  return request
