"""What the experiments on Garden's own tasks have in common."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from official.core import config_definitions as cfg
from official.modeling import hyperparams
from official.vision.configs import common as garden_common

from official_ext.configs import backbones, common, optimization
from official_ext.configs.image_classification import (
  CIFAR10_MEAN_RGB,
  CIFAR10_STDDEV_RGB,
)
from official_ext.errors import UserError

RESTRICTIONS = (
  'task.train_data.is_training != None',
  'task.validation_data.is_training != None',
)


@dataclasses.dataclass
class Normalization(hyperparams.Config):
  """How pixels become the network's input: less the mean, by the deviation.

  The defaults are those of `resnet9_cifar10`, so that its checkpoints fit.

  Attributes:
    mean_rgb: Mean of each channel, in 0 to 255.
    stddev_rgb: Standard deviation of each channel, in 0 to 255, more than 0.
  """

  mean_rgb: list[float] = dataclasses.field(
    default_factory=lambda: list(CIFAR10_MEAN_RGB)
  )
  stddev_rgb: list[float] = dataclasses.field(
    default_factory=lambda: list(CIFAR10_STDDEV_RGB)
  )


def backbone(channels: Sequence[int]) -> backbones.Backbone:
  """Returns a ResNet9 with these filters of prep and layers 1 to 3."""
  resnet9 = backbones.ResNet9(channels=list(channels))
  return backbones.Backbone(type='resnet9', resnet9=resnet9)


def norm_activation() -> garden_common.NormActivation:
  """Returns the batch norm and activation of `resnet9_cifar10`."""
  return garden_common.NormActivation(
    activation='relu', use_sync_bn=False, norm_momentum=0.9, norm_epsilon=1e-5
  )


def trainer(
  train_steps: int,
  validation_interval: int,
  learning_rate: float,
  warmup_steps: int,
  best_metric: str,
) -> cfg.TrainerConfig:
  """Returns SGD of momentum 0.9 whose rate falls to 0 along a cosine.

  Args:
    train_steps: Length of the training.
    validation_interval: Steps from one evaluation and checkpoint to the next.
    learning_rate: Highest rate.
    warmup_steps: Steps in which the rate rises linearly to it from 0.
    best_metric: Of the evaluation, by which the best checkpoint is kept; the
      higher the better.

  Raises:
    UserError: If the rate would not reach its height within the training.
  """
  if not 0 <= warmup_steps < train_steps:
    raise UserError(
      f'gin: warmup_steps={warmup_steps} must be at least 0 and less than '
      f'train_steps={train_steps}.'
    )
  interval = min(validation_interval, train_steps)
  schedule: dict[str, Any] = {
    'optimizer': {'type': 'sgd', 'sgd': {'momentum': 0.9}},
    'learning_rate': {
      'type': 'cosine',
      'cosine': {
        'initial_learning_rate': learning_rate,
        'decay_steps': train_steps - warmup_steps,
        'offset': warmup_steps,
      },
    },
  }
  if warmup_steps:
    schedule['warmup'] = {
      'type': 'linear',
      'linear': {'warmup_steps': warmup_steps, 'warmup_learning_rate': 0.0},
    }
  return cfg.TrainerConfig(
    train_steps=train_steps,
    steps_per_loop=interval,
    summary_interval=interval,
    checkpoint_interval=interval,
    validation_interval=interval,
    max_to_keep=2,
    best_checkpoint_export_subdir='best',
    best_checkpoint_eval_metric=best_metric,
    optimizer_config=optimization.OptimizationConfig(schedule),
  )


def runtime(precision: str, seed: int) -> common.RuntimeConfig:
  """Returns the machine's own devices, at a precision or 'auto'."""
  return common.RuntimeConfig(
    mixed_precision_dtype=None if precision == 'auto' else precision, seed=seed
  )
