"""Garden's image classification, model and input as they are, with ResNet9."""

import dataclasses
from collections.abc import Sequence

import gin
from official.core import config_definitions as cfg
from official.core import exp_factory
from official.vision.configs import image_classification

from official_ext.configs import type_checks
from official_ext.configs.image_classification import (
  CIFAR10_MEAN_RGB,
  CIFAR10_STDDEV_RGB,
)
from official_ext.experiments import recipes


@dataclasses.dataclass
class ClassificationTask(image_classification.ImageClassificationTask):
  """Garden's task config, with an input normalisation that can be chosen.

  Attributes:
    normalization: How pixels become the network's input.
  """

  normalization: recipes.Normalization = dataclasses.field(
    default_factory=recipes.Normalization
  )


@exp_factory.register_config_factory('resnet9_garden_classification')
@gin.configurable
@type_checks.checked
def resnet9_garden_classification(
  train_path: str = '',
  test_path: str = '',
  num_classes: int = 10,
  input_size: int = 32,
  random_crop: bool = True,
  flip: bool = True,
  channels: Sequence[int] = (64, 128, 256, 512),
  mean_rgb: Sequence[float] = CIFAR10_MEAN_RGB,
  stddev_rgb: Sequence[float] = CIFAR10_STDDEV_RGB,
  label_smoothing: float = 0.0,
  weight_decay: float = 1e-4,
  batch_size: int = 128,
  eval_batch_size: int = 128,
  train_steps: int = 10_000,
  validation_interval: int = 500,
  learning_rate: float = 0.1,
  warmup_steps: int = 500,
  init_checkpoint: str = '',
  freeze_backbone: bool = False,
  precision: str = 'auto',
  seed: int = 0,
) -> cfg.ExperimentConfig:
  """Garden's classifier: average pooling and a dense layer upon ResNet9.

  Args:
    train_path: Pattern of TFRecord files of `tf.Example`, to train on; an
      example has `image/encoded`, JPEG or PNG, and `image/class/label`.
    test_path: Pattern of such files to evaluate on.
    num_classes: Number of classes; labels are in 0 to `num_classes` - 1.
    input_size: Side in pixels to which images are resized.
    random_crop: Whether to crop: at random in training, and 7/8 of the centre
      in evaluation.
    flip: Whether to mirror half of the training images.
    channels: Filters of prep, layer1, layer2 and layer3.
    mean_rgb: Mean of each channel, in 0 to 255.
    stddev_rgb: Standard deviation of each channel, in 0 to 255.
    label_smoothing: Share of the label spread evenly over all classes.
    weight_decay: Of kernels, as a term of the loss.
    batch_size: Images of a training step, over all replicas.
    eval_batch_size: Images of an evaluation step, over all replicas.
    train_steps: Length of the training.
    validation_interval: Steps from one evaluation to the next.
    learning_rate: Highest rate; it falls to 0 along a cosine.
    warmup_steps: Steps in which it rises.
    init_checkpoint: Run or checkpoint that the backbone begins with; empty for
      random weights.
    freeze_backbone: Whether the backbone keeps them.
    precision: 'float32', 'bfloat16', 'float16' or 'auto'.
    seed: Seed of the weights.
  """
  common_data = {'decode_jpeg_only': False, 'aug_crop': random_crop}
  return cfg.ExperimentConfig(
    task=ClassificationTask(
      model=image_classification.ImageClassificationModel(
        num_classes=num_classes,
        input_size=[input_size, input_size, 3],
        backbone=recipes.backbone(channels),
        norm_activation=recipes.norm_activation(),
      ),
      train_data=image_classification.DataConfig(
        input_path=train_path,
        is_training=True,
        global_batch_size=batch_size,
        aug_rand_hflip=flip,
        **common_data,
      ),
      validation_data=image_classification.DataConfig(
        input_path=test_path,
        is_training=False,
        global_batch_size=eval_batch_size,
        drop_remainder=False,
        **common_data,
      ),
      losses=image_classification.Losses(
        l2_weight_decay=weight_decay, label_smoothing=label_smoothing
      ),
      evaluation=image_classification.Evaluation(top_k=min(5, num_classes)),
      normalization=recipes.Normalization(
        mean_rgb=list(mean_rgb), stddev_rgb=list(stddev_rgb)
      ),
      init_checkpoint=init_checkpoint or None,
      init_checkpoint_modules='backbone',
      freeze_backbone=freeze_backbone,
    ),
    trainer=recipes.trainer(
      train_steps, validation_interval, learning_rate, warmup_steps, 'accuracy'
    ),
    runtime=recipes.runtime(precision, seed),
    restrictions=list(recipes.RESTRICTIONS),
  )
