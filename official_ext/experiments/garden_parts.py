"""The parts that the experiments on Garden's own tasks have in common."""

import dataclasses

from official.modeling import hyperparams

from official_ext.configs import fields, parts
from official_ext.configs.fields import Tie
from official_ext.configs.image_classification import (
  CIFAR10_MEAN_RGB,
  CIFAR10_STDDEV_RGB,
)

RESTRICTIONS = (
  'task.train_data.is_training != None',
  'task.validation_data.is_training != None',
)


@parts.part('normalization')
@dataclasses.dataclass
class Normalization(hyperparams.Config):
  """How pixels become the network's input: less the mean, by the deviation.

  The defaults are those of `small_images`, so that its checkpoints fit.

  Attributes:
    mean_rgb: Mean of each channel, in 0 to 255.
    stddev_rgb: Standard deviation of each channel, in 0 to 255, more than 0.
  """

  mean_rgb: list[float] = fields.field(
    list(CIFAR10_MEAN_RGB), fields.THREE, tied_to=Tie.WEIGHTS
  )
  stddev_rgb: list[float] = fields.field(
    list(CIFAR10_STDDEV_RGB), fields.THREE_ABOVE_0, tied_to=Tie.WEIGHTS
  )


@parts.part('records')
@dataclasses.dataclass
class Records(hyperparams.Config):
  """TFRecord files of `tf.Example`, and what is made of them.

  Attributes:
    train_path: Pattern of the files to train on.
    test_path: Pattern of the files to evaluate on.
    annotation_file: Of detectors: COCO's JSON file of the test data; empty to
      take what is needed from the records.
    num_classes: Number of classes; in all but classification, the background
      among them.
    input_size: Side in pixels to which images are resized, and padded.
    flip: Whether to mirror half of the training images.
    scale_min: Least scale of a training image.
    scale_max: Greatest scale of a training image.
    batch_size: Images of a training step, over all replicas.
    eval_batch_size: Images of an evaluation step, over all replicas.
  """

  train_path: str = ''
  test_path: str = ''
  annotation_file: str = ''
  num_classes: int = fields.field(0, fields.AT_LEAST_0)
  input_size: int = fields.field(0, fields.AT_LEAST_0)
  flip: bool = True
  scale_min: float = fields.field(0.0, fields.AT_LEAST_0)
  scale_max: float = fields.field(0.0, fields.AT_LEAST_0)
  batch_size: int = fields.field(0, fields.AT_LEAST_0)
  eval_batch_size: int = fields.field(0, fields.AT_LEAST_0)
