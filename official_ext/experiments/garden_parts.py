"""What the experiments on Garden's own tasks are made of, one as the other."""

import dataclasses

from official.core import config_definitions as cfg
from official.modeling import hyperparams
from official.vision.configs import decoders

from official_ext.configs import backbones, common, optimization
from official_ext.configs.image_classification import (
  CIFAR10_MEAN_RGB,
  CIFAR10_STDDEV_RGB,
  NormActivation,
)
from official_ext.errors import UserError
from official_ext.modeling.backbones import resnet9
from official_ext.schema import fields, parts
from official_ext.schema.fields import Tie

parts.part('fpn')(decoders.FPN)


@parts.part('records')
@dataclasses.dataclass
class Records(hyperparams.Config):
  """TFRecord files of `tf.Example`, and in what batches they are read.

  Attributes:
    train_path: Pattern of the files to train on.
    test_path: Pattern of the files to evaluate on.
    batch_size: Images of a training step, over all replicas.
    eval_batch_size: Images of an evaluation step, over all replicas.
  """

  train_path: str = ''
  test_path: str = ''
  batch_size: int = fields.field(16, fields.AT_LEAST_1)
  eval_batch_size: int = fields.field(8, fields.AT_LEAST_1)

  def fill(self, task: cfg.TaskConfig) -> None:
    """Lets a task read them."""
    for data, path, size, is_training in (
      (task.train_data, self.train_path, self.batch_size, True),
      (task.validation_data, self.test_path, self.eval_batch_size, False),
    ):
      data.input_path = path
      data.global_batch_size = size
      data.is_training = data.drop_remainder = is_training


@parts.part('parser')
@dataclasses.dataclass
class Parser(hyperparams.Config):
  """How training images are changed whose boxes or masks change with them.

  Attributes:
    aug_rand_hflip: Whether to mirror half of them.
    aug_scale_min: Least scale.
    aug_scale_max: Greatest scale.
  """

  aug_rand_hflip: bool = True
  aug_scale_min: float = fields.field(0.8, fields.ABOVE_0)
  aug_scale_max: float = fields.field(1.2, fields.ABOVE_0)


@parts.part('normalization')
@dataclasses.dataclass
class Normalization(hyperparams.Config):
  """How pixels become the network's input: less the mean, by the deviation.

  The defaults are those of `small_images`, so that its checkpoints fit.

  Attributes:
    mean_rgb: Mean of each channel, in 0 to 255.
    stddev_rgb: Standard deviation of each channel, in 0 to 255.
  """

  mean_rgb: list[float] = fields.field(
    list(CIFAR10_MEAN_RGB), fields.THREE, tied_to=Tie.WEIGHTS
  )
  stddev_rgb: list[float] = fields.field(
    list(CIFAR10_STDDEV_RGB), fields.THREE_ABOVE_0, tied_to=Tie.WEIGHTS
  )


@dataclasses.dataclass
class NormalizedTask(hyperparams.Config):
  """What the config of a task with `InputNormalization` inherits from.

  Attributes:
    normalization: How pixels become the network's input.
  """

  normalization: Normalization = fields.field(Normalization)


@parts.part('backbone')
@dataclasses.dataclass
class Trunk(hyperparams.Config):
  """The network that the task's own layers stand on.

  Attributes:
    network: Any backbone; None for `@resnet9()`.
    norm_activation: Batch norm and activation of all layers; None for
      `@norm_activation()`.
    init_checkpoint: Run or checkpoint that the network begins with; empty for
      random weights.
    freeze_backbone: Whether it keeps its weights.
  """

  network: hyperparams.Config | None = None
  norm_activation: NormActivation | None = None
  init_checkpoint: str = ''
  freeze_backbone: bool = False

  def fill(self, task: cfg.TaskConfig) -> None:
    """Puts it under a task's model.

    Raises:
      UserError: If `network` is no backbone.
    """
    task.model.backbone = backbones.Backbone.choose(
      self.network or parts.make(resnet9.ResNet9Config),
      'gin: backbone.network: ',
    )
    task.model.norm_activation = self.norm_activation or parts.make(
      NormActivation
    )
    task.init_checkpoint = self.init_checkpoint or None
    task.init_checkpoint_modules = 'backbone'
    task.freeze_backbone = self.freeze_backbone


@parts.part('sgd_cosine')
@dataclasses.dataclass
class SGDCosine(hyperparams.Config):
  """SGD with momentum, at a rate that rises and falls to 0 along a cosine.

  Attributes:
    train_steps: Length of the training.
    validation_interval: Steps from one evaluation and checkpoint to the next.
    learning_rate: Highest rate.
    warmup_steps: Steps in which the rate rises linearly to it from 0.
    momentum: Share of the old gradients.
    l2_weight_decay: Of kernels, as a term of the loss.
  """

  train_steps: int = fields.field(20_000, fields.AT_LEAST_1)
  validation_interval: int = fields.field(500, fields.AT_LEAST_1)
  learning_rate: float = fields.field(0.02, fields.AT_LEAST_0)
  warmup_steps: int = fields.field(500, fields.AT_LEAST_0)
  momentum: float = fields.field(0.9, fields.SHARE)
  l2_weight_decay: float = fields.field(1e-4, fields.AT_LEAST_0)

  def trainer(self, best_metric: str) -> cfg.TrainerConfig:
    """Returns Garden's trainer config.

    Args:
      best_metric: Of the evaluation, by which the best checkpoint is kept; the
        higher the better.

    Raises:
      UserError: If the rate would not reach its height within the training.
    """
    if self.warmup_steps >= self.train_steps:
      raise UserError(
        f'gin: sgd_cosine.warmup_steps={self.warmup_steps} must be less than '
        f'train_steps={self.train_steps}.'
      )
    interval = min(self.validation_interval, self.train_steps)
    return cfg.TrainerConfig(
      train_steps=self.train_steps,
      steps_per_loop=interval,
      summary_interval=interval,
      checkpoint_interval=interval,
      validation_interval=interval,
      max_to_keep=2,
      best_checkpoint_export_subdir='best',
      best_checkpoint_eval_metric=best_metric,
      optimizer_config=self._optimization(),
    )

  def _optimization(self) -> optimization.OptimizationConfig:
    warmup = {'warmup_steps': self.warmup_steps, 'warmup_learning_rate': 0.0}
    cosine = {
      'initial_learning_rate': self.learning_rate,
      'decay_steps': self.train_steps - self.warmup_steps,
      'offset': self.warmup_steps,
    }
    return optimization.OptimizationConfig(
      {
        'optimizer': {'type': 'sgd', 'sgd': {'momentum': self.momentum}},
        'learning_rate': {'type': 'cosine', 'cosine': cosine},
        'warmup': {'type': 'linear', 'linear': warmup}
        if self.warmup_steps
        else {},
      }
    )


def experiment(
  task: cfg.TaskConfig,
  best_metric: str,
  records: Records | None,
  backbone: Trunk | None,
  training: SGDCosine | None,
  runtime: common.RuntimeConfig | None,
) -> cfg.ExperimentConfig:
  """Returns an experiment on a task, with what all of them are made of.

  Args:
    task: Complete but for what the parts say; changed.
    best_metric: Of the evaluation, by which the best checkpoint is kept; the
      higher the better.
    records: None for `@records()`.
    backbone: None for `@backbone()`.
    training: None for `@sgd_cosine()`.
    runtime: None for `@runtime()`.

  Raises:
    UserError: If the values of a part cannot work together.
  """
  training = training or parts.make(SGDCosine)
  task.losses.l2_weight_decay = training.l2_weight_decay
  (records or parts.make(Records)).fill(task)
  (backbone or parts.make(Trunk)).fill(task)
  return cfg.ExperimentConfig(
    task=task,
    trainer=training.trainer(best_metric),
    runtime=runtime or parts.make(common.RuntimeConfig),
    restrictions=[
      'task.train_data.is_training != None',
      'task.validation_data.is_training != None',
    ],
  )
