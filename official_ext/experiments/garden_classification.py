"""Garden's image classification, model and input as they are, with ResNet9."""

import dataclasses

import gin
from official.core import config_definitions as cfg
from official.core import exp_factory
from official.vision.configs import image_classification as garden

from official_ext.configs import common
from official_ext.experiments import garden_parts
from official_ext.schema import parts


@dataclasses.dataclass
class ClassificationTask(
  garden_parts.NormalizedTask, garden.ImageClassificationTask
):
  """Garden's task config, with an input normalisation that can be chosen."""


@exp_factory.register_config_factory('resnet9_garden_classification')
@gin.configurable(module='official_ext')
@parts.checked
def resnet9_garden_classification(
  records: garden_parts.Records | None = None,
  normalization: garden_parts.Normalization | None = None,
  backbone: garden_parts.Trunk | None = None,
  training: garden_parts.SGDCosine | None = None,
  runtime: common.RuntimeConfig | None = None,
  num_classes: int = 10,
  input_size: int = 32,
  aug_crop: bool = True,
  aug_rand_hflip: bool = True,
  label_smoothing: float = 0.0,
) -> cfg.ExperimentConfig:
  """Garden's classifier: average pooling and a dense layer upon ResNet9.

  Args:
    records: `@records()`; an example has `image/encoded`, JPEG or PNG, and
      `image/class/label`.
    normalization: `@normalization()`.
    backbone: `@backbone()`.
    training: `@sgd_cosine()`.
    runtime: `@runtime()`.
    num_classes: Number of classes; labels are in 0 to `num_classes` - 1.
    input_size: Side in pixels to which images are resized.
    aug_crop: Whether to crop: at random in training, and 7/8 of the centre in
      evaluation.
    aug_rand_hflip: Whether to mirror half of the training images.
    label_smoothing: Share of the label spread evenly over all classes.
  """
  data = {'decode_jpeg_only': False, 'aug_crop': aug_crop}
  task = ClassificationTask(
    model=garden.ImageClassificationModel(
      num_classes=num_classes, input_size=[input_size, input_size, 3]
    ),
    train_data=garden.DataConfig(aug_rand_hflip=aug_rand_hflip, **data),
    validation_data=garden.DataConfig(**data),
    losses=garden.Losses(label_smoothing=label_smoothing),
    evaluation=garden.Evaluation(top_k=min(5, num_classes)),
    normalization=normalization or parts.make(garden_parts.Normalization),
  )
  return garden_parts.experiment(
    task, 'accuracy', records, backbone, training, runtime
  )
