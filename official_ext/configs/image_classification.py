"""Image classification configurations and the `resnet9_cifar10` experiment."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import gin
from official.core import config_definitions as cfg
from official.core import exp_factory
from official.modeling import hyperparams
from official.vision.configs import common as garden_common
from official.vision.configs import image_classification

from official_ext.configs import backbones, common, optimization, type_checks
from official_ext.errors import UserError

# The experiment's namesake, so that its config is complete before any data is
# read (https://www.cs.toronto.edu/~kriz/cifar.html). Channel means and
# deviations are those of `torch_backend.py` in cifar10-fast.
CIFAR10_TRAIN_EXAMPLES = 50_000
CIFAR10_CLASSES = 10
CIFAR10_INPUT_SIZE = (32, 32, 3)
CIFAR10_MEAN_RGB = (125.31, 122.95, 113.87)
CIFAR10_STDDEV_RGB = (62.99, 62.09, 66.70)


@dataclasses.dataclass
class DataConfig(image_classification.DataConfig):
  """Input from a TFDS data set that is held in memory.

  Of Garden's fields, those in `official_ext.configs.validation` that the input
  path does not use must keep their defaults.

  Attributes:
    tfds_name: TFDS name of the data set, with a version if need be.
    aug_rand_hflip: Whether to mirror half of the training images.
    aug_type: Augmentation after normalisation; `cutout` or none.
    crop_padding: Pixels by which training images are padded before a crop of
      their own size is taken; 0 for no crop.
    crop_padding_mode: 'reflect', 'symmetric' (which repeats the border) or
      'zero' (black).
    mean_rgb: Mean of each channel, in 0 to 255.
    stddev_rgb: Standard deviation of each channel, in 0 to 255.
    preprocess_on_device: Whether images are augmented and normalised as part of
      the training step, with the same results, instead of by the host's CPU.
    stratified: Whether the crops and flips of an epoch are spread evenly over
      its images, instead of drawn for each image by itself.
  """

  aug_type: common.Augmentation | None = None
  crop_padding: int = 4
  crop_padding_mode: str = 'reflect'
  mean_rgb: list[float] = dataclasses.field(
    default_factory=lambda: list(CIFAR10_MEAN_RGB)
  )
  stddev_rgb: list[float] = dataclasses.field(
    default_factory=lambda: list(CIFAR10_STDDEV_RGB)
  )
  preprocess_on_device: bool = False
  stratified: bool = False


@dataclasses.dataclass
class Evaluation(image_classification.Evaluation):
  """Garden's evaluation config, with test-time augmentation.

  Attributes:
    mirror: Whether to report beside the accuracy that of the mean logits of
      each image and its mirror image, which takes twice the time.
  """

  mirror: bool = False


@dataclasses.dataclass
class ImageClassificationModel(hyperparams.Config):
  """Configuration of `official_ext.modeling.classification_model`.

  Attributes:
    num_classes: Number of logits; 0 to take it from the data.
    input_size: Height, width and channels; empty to take it from the data.
    backbone: Any backbone that Garden's factory knows.
    norm_activation: Batch norm and activation of the backbone.
    pooling: 'max' or 'avg', over the whole of the last feature map.
    dropout_rate: Share of the pooled features dropped in training.
    use_bias: Whether the dense layer has a bias.
    logit_scale: Factor on the logits.
    kernel_initializer: Initialiser of the dense kernel.
  """

  num_classes: int = 0
  input_size: list[int] = dataclasses.field(default_factory=list)
  backbone: backbones.Backbone = dataclasses.field(
    default_factory=lambda: backbones.Backbone(type='resnet9')
  )
  norm_activation: garden_common.NormActivation = dataclasses.field(
    default_factory=lambda: garden_common.NormActivation(
      use_sync_bn=False, norm_momentum=0.9, norm_epsilon=1e-5
    )
  )
  pooling: str = 'max'
  dropout_rate: float = 0.0
  use_bias: bool = False
  logit_scale: float = 0.125
  kernel_initializer: str = 'torch_uniform'


@dataclasses.dataclass
class ImageClassificationTask(image_classification.ImageClassificationTask):
  """Configuration of `official_ext.tasks.image_classification`."""

  model: ImageClassificationModel = dataclasses.field(
    default_factory=ImageClassificationModel
  )
  train_data: DataConfig = dataclasses.field(
    default_factory=lambda: DataConfig(is_training=True)
  )
  validation_data: DataConfig = dataclasses.field(
    default_factory=lambda: DataConfig(is_training=False, drop_remainder=False)
  )
  evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)


@exp_factory.register_config_factory('resnet9_cifar10')
@gin.configurable
@type_checks.checked
def resnet9_cifar10(
  dataset: str = 'cifar10',
  data_dir: str = '',
  train_split: str = 'train',
  test_split: str = 'test',
  num_classes: int | None = None,
  mean_rgb: Sequence[float] = CIFAR10_MEAN_RGB,
  stddev_rgb: Sequence[float] = CIFAR10_STDDEV_RGB,
  crop_padding: int = 4,
  crop_padding_mode: str = 'reflect',
  flip: bool = True,
  cutout_size: int = 8,
  cutout_inside: bool = True,
  cutout_before_normalization: bool = False,
  stratified_augmentation: bool = False,
  channels: Sequence[int] = (64, 128, 256, 512),
  first_layer: str = 'conv',
  pool_before_norm: bool = False,
  activation: str = 'relu',
  kernel_initializer: str = 'torch_uniform',
  norm_momentum: float = 0.9,
  norm_epsilon: float = 1e-5,
  sync_batch_norm: bool = False,
  norm_group_size: int = 0,
  norm_scale: bool = True,
  pooling: str = 'max',
  logit_scale: float = 0.125,
  epochs: float = 24,
  batch_size: int = 512,
  eval_batch_size: int = 1000,
  peak_learning_rate: float = 0.4,
  peak_epoch: float = 5,
  final_learning_rate: float = 0.0,
  flat_epochs: float = 0,
  momentum: float = 0.9,
  nesterov: bool = True,
  weight_decay: float = 5e-4,
  exclude_from_weight_decay: Sequence[str] = (),
  lr_groups: Sequence[Mapping[str, Any]] = (),
  average_decay: float = 0.0,
  average_interval: int = 1,
  label_smoothing: float = 0.0,
  mirror_evaluation: bool = False,
  init_checkpoint: str = '',
  freeze_backbone: bool = False,
  precision: str = 'auto',
  preprocess_on_device: bool = False,
  seed: int = 0,
  deterministic: bool = False,
) -> cfg.ExperimentConfig:
  """ResNet9 on CIFAR-10, or on another small TFDS image data set.

  The defaults are `dawn.py` of https://github.com/davidcpage/cifar10-fast,
  its summed losses turned into means: 94.1% in 24 epochs.

  Args:
    dataset: TFDS name of the data set, with a version if need be.
    data_dir: Folder of TFDS data sets; empty for TFDS' default.
    train_split: TFDS split, or slice of one, to train on.
    test_split: TFDS split, or slice of one, to evaluate on.
    num_classes: Number of classes; None to take it from the data.
    mean_rgb: Mean of each channel, in 0 to 255.
    stddev_rgb: Standard deviation of each channel, in 0 to 255.
    crop_padding: Pixels of padding around an image before it is cropped to its
      size at random; 0 for no crop.
    crop_padding_mode: 'reflect', 'symmetric' (which repeats the border) or
      'zero' (black).
    flip: Whether to mirror half of the training images.
    cutout_size: Side in pixels of the square set to the mean; 0 for none.
    cutout_inside: Whether all of the square lies in the image, or is cut off at
      its border.
    cutout_before_normalization: Whether the square is black instead.
    stratified_augmentation: Whether an epoch has each crop equally often and
      mirrors exactly half of the images, instead of drawing for each alone.
    channels: Filters of prep, layer1, layer2 and layer3.
    first_layer: 'conv', or 'whitening' for a convolution over 3×3 patches that
      are decorrelated by filters computed from the training images.
    pool_before_norm: Whether layers 1 to 3 are pooled before batch norm.
    activation: Activation after each batch norm: 'relu', 'celu' (of 0.3) or
      another name of Keras.
    kernel_initializer: 'torch_uniform', PyTorch's default, or a Keras name.
    norm_momentum: Share of the old value in batch norm's moving statistics.
    norm_epsilon: Added to batch norm's variance.
    sync_batch_norm: Whether batch statistics are those of the whole batch, not
      of each replica's part of it.
    norm_group_size: Images that batch norm normalises together in training; 0
      for the whole batch of a replica.
    norm_scale: Whether batch norm's scale is trained; otherwise it stays 1.
    pooling: 'max' or 'avg' before the dense layer.
    logit_scale: Factor on the logits.
    epochs: Length of the training.
    batch_size: Images of a training step, over all replicas.
    eval_batch_size: Images of an evaluation step, over all replicas.
    peak_learning_rate: Highest learning rate, for the mean loss of a batch.
    peak_epoch: Epoch of the highest learning rate, which rises linearly from 0.
    final_learning_rate: To which the rate falls linearly from there.
    flat_epochs: Length of the end of the training at that rate.
    momentum: Momentum of SGD.
    nesterov: Whether the momentum is Nesterov's.
    weight_decay: Coupled weight decay in units of the mean loss, on every
      trainable variable that is not excluded.
    exclude_from_weight_decay: Regular expressions of variable names.
    lr_groups: Variables with a learning rate or decay of their own: mappings
      with a `pattern`, a regular expression that finds their names, and a
      `lr_multiplier` or a `weight_decay_multiplier`. The first to find one
      counts.
    average_decay: Share of the old moving average of the weights and batch-norm
      statistics that is kept a step. It is what is evaluated, and exported; 0
      for none.
    average_interval: Steps between updates of that average.
    label_smoothing: Share of the label spread evenly over all classes.
    mirror_evaluation: Whether to report the test accuracy of the mean logits of
      an image and its mirror image too.
    init_checkpoint: Run or checkpoint of another classifier, whose backbone
      this one begins with; empty for random weights.
    freeze_backbone: Whether the backbone keeps its weights.
    precision: 'float32', 'bfloat16', 'float16', or 'auto' for the fastest that
      the device computes natively.
    preprocess_on_device: Whether images are augmented and normalised on the
      accelerator, where the host's CPU cannot keep up with it.
    seed: Seed of the weights, the order of the images and their augmentation.
    deterministic: Whether to give the same bits each time.

  Raises:
    UserError: If `flat_epochs` is negative, or `average_interval` or
      `flat_epochs` would have no effect; other values are checked with the
      whole config.
  """
  if flat_epochs < 0:
    raise UserError(
      f'gin: resnet9_cifar10.flat_epochs={flat_epochs:g} must be at least 0.'
    )
  if flat_epochs and not final_learning_rate:
    raise UserError(
      f'gin: resnet9_cifar10.flat_epochs={flat_epochs:g} would train at a rate '
      'of 0; set resnet9_cifar10.final_learning_rate too.'
    )
  if average_interval != 1 and not average_decay:
    raise UserError(
      f'gin: resnet9_cifar10.average_interval={average_interval} has no effect '
      'without resnet9_cifar10.average_decay; set both.'
    )
  augmentation = common.Augmentation(
    type='cutout',
    cutout=common.Cutout(
      size=cutout_size,
      inside=cutout_inside,
      before_normalization=cutout_before_normalization,
    ),
  )
  # The labels' one-hot form costs memory and time, so only where it is needed.
  losses = image_classification.Losses(
    one_hot=label_smoothing != 0, label_smoothing=label_smoothing
  )
  is_cifar10 = dataset.split(':')[0] == 'cifar10'
  task = ImageClassificationTask(
    model=ImageClassificationModel(
      num_classes=num_classes or (CIFAR10_CLASSES if is_cifar10 else 0),
      input_size=list(CIFAR10_INPUT_SIZE) if is_cifar10 else [],
      backbone=backbones.Backbone(
        type='resnet9',
        resnet9=backbones.ResNet9(
          channels=list(channels),
          kernel_initializer=kernel_initializer,
          first_layer=first_layer,
          pool_before_norm=pool_before_norm,
          norm_group_size=norm_group_size,
          norm_scale=norm_scale,
        ),
      ),
      norm_activation=garden_common.NormActivation(
        activation=activation,
        use_sync_bn=sync_batch_norm,
        norm_momentum=norm_momentum,
        norm_epsilon=norm_epsilon,
      ),
      pooling=pooling,
      logit_scale=logit_scale,
      kernel_initializer=kernel_initializer,
    ),
    losses=losses,
    train_data=DataConfig(
      tfds_name=dataset,
      tfds_split=train_split,
      tfds_data_dir=data_dir,
      is_training=True,
      global_batch_size=batch_size,
      aug_rand_hflip=flip,
      aug_type=augmentation if cutout_size else None,
      crop_padding=crop_padding,
      crop_padding_mode=crop_padding_mode,
      seed=seed,
      mean_rgb=list(mean_rgb),
      stddev_rgb=list(stddev_rgb),
      preprocess_on_device=preprocess_on_device,
      stratified=stratified_augmentation,
    ),
    validation_data=DataConfig(
      tfds_name=dataset,
      tfds_split=test_split,
      tfds_data_dir=data_dir,
      is_training=False,
      drop_remainder=False,
      global_batch_size=eval_batch_size,
      mean_rgb=list(mean_rgb),
      stddev_rgb=list(stddev_rgb),
      preprocess_on_device=preprocess_on_device,
    ),
    evaluation=Evaluation(mirror=mirror_evaluation),
    init_checkpoint=init_checkpoint or None,
    init_checkpoint_modules='backbone',
    freeze_backbone=freeze_backbone,
  )
  optimizer = optimization.OptimizerConfig(
    type='sgd_coupled_decay',
    sgd_coupled_decay=optimization.SGDCoupledDecayConfig(
      momentum=momentum,
      nesterov=nesterov,
      weight_decay=weight_decay,
      exclude_from_weight_decay=list(exclude_from_weight_decay),
      lr_groups=[optimization.LrGroup(**group) for group in lr_groups],
    ),
  )
  average = None
  if average_decay:
    average = optimization.MovingAverageConfig(
      average_decay=average_decay, interval=average_interval
    )
  knots = [(0, 0), (peak_epoch, peak_learning_rate)]
  if flat_epochs:
    knots.append((epochs - flat_epochs, final_learning_rate))
  knots.append((epochs, final_learning_rate))
  learning_rate = optimization.LrConfig(
    type='piecewise_linear',
    piecewise_linear=optimization.PiecewiseLinearLrConfig(
      epochs=[epoch for epoch, _ in knots], values=[rate for _, rate in knots]
    ),
  )
  config = cfg.ExperimentConfig(
    task=task,
    trainer=common.TrainerConfig(
      epochs=epochs,
      # Python drives the steps, so that a bar can move and a signal be heard.
      train_tf_while_loop=False,
      max_to_keep=2,
      best_checkpoint_export_subdir='best',
      best_checkpoint_eval_metric='accuracy',
      optimizer_config=optimization.OptimizationConfig(
        optimizer=optimizer, learning_rate=learning_rate, ema=average
      ),
    ),
    runtime=common.RuntimeConfig(
      mixed_precision_dtype=None if precision == 'auto' else precision,
      # Garden compiles the step on GPUs only: XLA's convolutions are slow on
      # CPUs.
      enable_xla=True,
      seed=seed,
      deterministic=deterministic,
    ),
    restrictions=[
      'task.train_data.is_training != None',
      'task.validation_data.is_training != None',
    ],
  )
  if is_cifar10 and batch_size > 0:
    set_steps_per_epoch(config, CIFAR10_TRAIN_EXAMPLES // batch_size)
  return config


def steps_per_epoch(config: cfg.ExperimentConfig) -> int:
  """Returns the steps of an epoch.

  Of Garden's own tasks, whose epochs nothing knows, those from one evaluation
  to the next.

  Args:
    config: An experiment whose steps are filled in.
  """
  if isinstance(config.task, ImageClassificationTask):
    learning_rate = config.trainer.optimizer_config.learning_rate
    return learning_rate.piecewise_linear.steps_per_epoch
  return config.trainer.validation_interval


def counts_of_epochs(config: cfg.ExperimentConfig) -> set[str]:
  """Returns the trainer's counts of steps that its epochs make what they are.

  Args:
    config: An experiment of `ImageClassificationTask`; where its steps are not
      filled in, no count is one.
  """
  steps = steps_per_epoch(config)
  return {
    key
    for key, count in _counts(config.trainer, steps).items()
    if steps and getattr(config.trainer, key) == count
  }


def set_steps_per_epoch(config: cfg.ExperimentConfig, steps: int) -> None:
  """Sets all that is counted in steps; one loop and one evaluation an epoch.

  Args:
    config: A config whose trainer is a `TrainerConfig`; it is changed.
    steps: Full batches in the training data.
  """
  for key, count in _counts(config.trainer, steps).items():
    setattr(config.trainer, key, count)
  schedule = config.trainer.optimizer_config.learning_rate.piecewise_linear
  schedule.steps_per_epoch = steps


def _counts(trainer: common.TrainerConfig, steps: int) -> dict[str, int]:
  """Returns the trainer's counts, by field, with so many steps an epoch."""
  once_an_epoch = (
    'steps_per_loop',
    'summary_interval',
    'checkpoint_interval',
    'validation_interval',
  )
  return {
    'train_steps': round(trainer.epochs * steps),
    **dict.fromkeys(once_an_epoch, steps),
  }
