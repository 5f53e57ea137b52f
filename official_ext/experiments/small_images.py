"""The experiment `small_images`: a recipe of parts, on data in memory."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import gin
from official.core import config_definitions as cfg
from official.core import exp_factory
from official.modeling import hyperparams

from official_ext.augmentation import crop, cutout, flip
from official_ext.configs import common, optimization
from official_ext.configs.augmentation import Augmentation
from official_ext.configs.backbones import Backbone
from official_ext.configs.image_classification import (
  CIFAR10_MEAN_RGB,
  CIFAR10_STDDEV_RGB,
  DataConfig,
  Evaluation,
  Head,
  ImageClassificationModel,
  ImageClassificationTask,
  Losses,
  NormActivation,
)
from official_ext.configs.progressive_resizing import ProgressiveResizing
from official_ext.errors import UserError
from official_ext.modeling.backbones import resnet9
from official_ext.modeling.optimization import (
  lr_schedule,
  muon,  # noqa: F401  A choice of `optimizer`.
  sgd,
)
from official_ext.schema import fields, parts

# What the default data set is, so that a config is complete before any data is
# read (https://www.cs.toronto.edu/~kriz/cifar.html).
_CIFAR10_TRAIN_EXAMPLES = 50_000
_CIFAR10_CLASSES = 10
_CIFAR10_INPUT_SIZE = (32, 32, 3)


@parts.part('data')
@dataclasses.dataclass
class Data(hyperparams.Config):
  """What is trained on, and in what batches.

  Attributes:
    dataset: TFDS name of the data set, with a version if need be.
    data_dir: Folder of TFDS data sets; empty for TFDS' default.
    train_split: TFDS split, or slice of one, to train on.
    test_split: TFDS split, or slice of one, to evaluate on.
    num_classes: Number of classes; 0 to take it from the data.
    mean_rgb: Mean of each channel, in 0 to 255.
    stddev_rgb: Standard deviation of each channel, in 0 to 255.
    batch_size: Images of a training step, over all replicas.
    eval_batch_size: Images of an evaluation step, over all replicas.
    preprocess_on_device: Whether the images live on the device, and are
      augmented and normalised there; None for doing so on GPUs.
  """

  dataset: str = 'cifar10'
  data_dir: str = ''
  train_split: str = 'train'
  test_split: str = 'test'
  num_classes: int = fields.field(0, fields.AT_LEAST_0)
  mean_rgb: list[float] = fields.field(list(CIFAR10_MEAN_RGB))
  stddev_rgb: list[float] = fields.field(
    list(CIFAR10_STDDEV_RGB), fields.all_of(fields.ABOVE_0)
  )
  batch_size: int = fields.field(512, fields.AT_LEAST_1)
  eval_batch_size: int = fields.field(1000, fields.AT_LEAST_1)
  preprocess_on_device: bool | None = None


@parts.part('run')
@dataclasses.dataclass
class Run(hyperparams.Config):
  """How long a training is, and how it is computed.

  Attributes:
    epochs: Passes over the training data.
    evaluation_interval: Epochs from one evaluation, checkpoint and row of the
      table to the next; the last epoch always has them.
    precision: 'float32', 'bfloat16', 'float16', or 'auto' for the fastest that
      the device computes natively.
    seed: Seed of the weights, the order of the images and their augmentation.
    deterministic: Whether to give the same bits each time.
  """

  epochs: float = fields.field(24, fields.ABOVE_0)
  evaluation_interval: int = fields.field(1, fields.AT_LEAST_1)
  precision: str = fields.field('auto', fields.PRECISION)
  seed: int = fields.field(0, fields.SEED)
  deterministic: bool = False


@exp_factory.register_config_factory('small_images')
@gin.configurable(module='official_ext')
@parts.checked
def small_images(
  data: Data | None = None,
  network: hyperparams.Config | None = None,
  norm_activation: NormActivation | None = None,
  head: Head | None = None,
  augmentations: Sequence[hyperparams.Config] | None = None,
  resizing: ProgressiveResizing | None = None,
  losses: Losses | None = None,
  optimizer: hyperparams.Config | None = None,
  schedule: hyperparams.Config | None = None,
  average: optimization.MovingAverageConfig
  | optimization.LookaheadConfig
  | None = None,
  evaluation: Evaluation | None = None,
  run: Run | None = None,
  init_checkpoint: str = '',
  freeze_backbone: bool = False,
) -> cfg.ExperimentConfig:
  """A classifier of small images that are held in memory.

  Each argument is a part, or a reference to one. The defaults are `dawn.py` of
  https://github.com/davidcpage/cifar10-fast, its summed losses turned into
  means: ResNet9, 94.1% on CIFAR-10 in 24 epochs.

  Args:
    data: `@data()`.
    network: A backbone; `@resnet9()` by default.
    norm_activation: `@norm_activation()`, batch norm and activation in it.
    head: `@head()`, what makes logits of its last feature map.
    augmentations: What is done to training images, in this order; by default
      `[@crop(), @flip(), @cutout()]`.
    resizing: `@progressive_resizing()` of the training images; None for none.
    losses: `@losses()`.
    optimizer: `@sgd_coupled_decay()` by default.
    schedule: Of the learning rate; `@triangular()` by default.
    average: `@moving_average()` or `@lookahead()` of weights and batch-norm
      statistics, which is what is evaluated and exported; None for none.
    evaluation: `@evaluation()`.
    run: `@run()`.
    init_checkpoint: Run or checkpoint of another classifier, whose backbone
      this one begins with; empty for random weights.
    freeze_backbone: Whether the backbone keeps its weights.

  Raises:
    UserError: If an argument is not a part of its kind; values are checked with
      the whole config.
  """
  data = data or parts.make(Data)
  run = run or parts.make(Run)
  losses = losses or parts.make(Losses)
  losses.one_hot = losses.one_hot or losses.label_smoothing > 0
  if augmentations is None:
    augmentations = [
      parts.make(kind) for kind in (crop.Crop, flip.Flip, cutout.Cutout)
    ]
  looks_ahead = isinstance(average, optimization.LookaheadConfig)
  is_cifar10 = data.dataset.split(':')[0] == 'cifar10'
  both: dict[str, Any] = {
    'tfds_name': data.dataset,
    'tfds_data_dir': data.data_dir,
    'mean_rgb': data.mean_rgb,
    'stddev_rgb': data.stddev_rgb,
    'preprocess_on_device': data.preprocess_on_device,
  }
  task = ImageClassificationTask(
    model=ImageClassificationModel(
      num_classes=data.num_classes or (_CIFAR10_CLASSES if is_cifar10 else 0),
      input_size=list(_CIFAR10_INPUT_SIZE) if is_cifar10 else [],
      backbone=_chosen(
        'network', Backbone, network or parts.make(resnet9.ResNet9Config)
      ),
      norm_activation=norm_activation or parts.make(NormActivation),
      head=head or parts.make(Head),
    ),
    losses=losses,
    train_data=DataConfig(
      is_training=True,
      tfds_split=data.train_split,
      global_batch_size=data.batch_size,
      augmentations=[
        _chosen('augmentations', Augmentation, one) for one in augmentations
      ],
      progressive_resizing=resizing,
      seed=run.seed,
      **both,
    ),
    validation_data=DataConfig(
      is_training=False,
      drop_remainder=False,
      tfds_split=data.test_split,
      global_batch_size=data.eval_batch_size,
      **both,
    ),
    evaluation=evaluation or parts.make(Evaluation),
    init_checkpoint=init_checkpoint or None,
    init_checkpoint_modules='backbone',
    freeze_backbone=freeze_backbone,
  )
  config = cfg.ExperimentConfig(
    task=task,
    trainer=common.TrainerConfig(
      epochs=run.epochs,
      evaluation_interval=run.evaluation_interval,
      # Python drives the steps, so that a bar can move and a signal be heard.
      train_tf_while_loop=False,
      max_to_keep=2,
      best_checkpoint_export_subdir='best',
      best_checkpoint_eval_metric='accuracy',
      optimizer_config=optimization.OptimizationConfig(
        optimizer=_chosen(
          'optimizer',
          optimization.OptimizerConfig,
          optimizer or parts.make(sgd.SGDCoupledDecayConfig),
        ),
        learning_rate=_chosen(
          'schedule',
          optimization.LrConfig,
          schedule or parts.make(lr_schedule.TriangularLrConfig),
        ),
        ema=None if looks_ahead else average,
        lookahead=average if looks_ahead else None,
      ),
    ),
    runtime=common.RuntimeConfig(
      mixed_precision_dtype=None if run.precision == 'auto' else run.precision,
      # Garden compiles the step on GPUs only: XLA's convolutions are slow on
      # CPUs.
      enable_xla=True,
      seed=run.seed,
      deterministic=run.deterministic,
    ),
    restrictions=[
      'task.train_data.is_training != None',
      'task.validation_data.is_training != None',
    ],
  )
  common.set_lengths(config.trainer)
  if is_cifar10:
    common.set_steps_per_epoch(
      config.trainer, _CIFAR10_TRAIN_EXAMPLES // data.batch_size
    )
  return config


def _chosen(
  argument: str, one_of: type[parts.Choice], config: hyperparams.Config
) -> parts.Choice:
  """Returns a one-of that has chosen a part.

  Raises:
    UserError: If the part is of another kind.
  """
  try:
    return one_of.choose(config)
  except UserError as error:
    raise UserError(f'gin: small_images.{argument}: {error}') from error
