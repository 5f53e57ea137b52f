"""Garden's semantic segmentation with ResNet9."""

import dataclasses
from collections.abc import Sequence

import gin
from official.core import config_definitions as cfg
from official.core import exp_factory
from official.vision.configs import decoders, semantic_segmentation

from official_ext.configs import type_checks
from official_ext.configs.image_classification import (
  CIFAR10_MEAN_RGB,
  CIFAR10_STDDEV_RGB,
)
from official_ext.errors import UserError
from official_ext.experiments import recipes

# ResNet9 ends here, at an output stride of 8.
_LAST_LEVEL = 3
# Where the fine features are taken, at a stride of 4.
_FINE_LEVEL = 2
_DECODERS = ('aspp', 'fpn')


@dataclasses.dataclass
class SemanticSegmentationTask(semantic_segmentation.SemanticSegmentationTask):
  """Garden's task config, for the task that knows our moving average."""


@exp_factory.register_config_factory('resnet9_segmentation')
@gin.configurable
@type_checks.checked
def resnet9_segmentation(
  train_path: str = '',
  test_path: str = '',
  num_classes: int = 21,
  input_size: int = 256,
  flip: bool = True,
  scale_min: float = 0.5,
  scale_max: float = 2.0,
  channels: Sequence[int] = (64, 128, 256, 512),
  decoder: str = 'aspp',
  dilation_rates: Sequence[int] = (6, 12, 18),
  decoder_filters: int = 256,
  fpn_max_level: int = 5,
  mean_rgb: Sequence[float] = CIFAR10_MEAN_RGB,
  stddev_rgb: Sequence[float] = CIFAR10_STDDEV_RGB,
  weight_decay: float = 1e-4,
  batch_size: int = 16,
  eval_batch_size: int = 8,
  train_steps: int = 20_000,
  validation_interval: int = 500,
  learning_rate: float = 0.02,
  warmup_steps: int = 500,
  init_checkpoint: str = '',
  precision: str = 'auto',
  seed: int = 0,
) -> cfg.ExperimentConfig:
  """A class for each pixel, by DeepLab v3+ or a feature pyramid on ResNet9.

  Args:
    train_path: Pattern of TFRecord files of `tf.Example`, to train on; an
      example has `image/encoded`, `image/height`, `image/width` and
      `image/segmentation/class/encoded`, a PNG of a class a pixel; 255 is
      ignored.
    test_path: Pattern of such files to evaluate on.
    num_classes: Number of classes, the background among them.
    input_size: Side in pixels to which images are resized and padded.
    flip: Whether to mirror half of the training images.
    scale_min: Least scale of a training image.
    scale_max: Greatest scale of a training image.
    channels: Filters of prep, layer1, layer2 and layer3.
    decoder: 'aspp' for DeepLab v3+, or 'fpn' for a feature pyramid.
    dilation_rates: Of 'aspp', on a map of an eighth of the input's side.
    decoder_filters: Filters of decoder and head.
    fpn_max_level: Of 'fpn', its coarsest map: half the size a level.
    mean_rgb: Mean of each channel, in 0 to 255.
    stddev_rgb: Standard deviation of each channel, in 0 to 255.
    weight_decay: Of kernels, as a term of the loss.
    batch_size: Images of a training step, over all replicas.
    eval_batch_size: Images of an evaluation step, over all replicas.
    train_steps: Length of the training.
    validation_interval: Steps from one evaluation to the next.
    learning_rate: Highest rate; it falls to 0 along a cosine.
    warmup_steps: Steps in which it rises.
    init_checkpoint: Run or checkpoint that the backbone begins with; empty for
      random weights.
    precision: 'float32', 'bfloat16', 'float16' or 'auto'.
    seed: Seed of the weights.

  Raises:
    UserError: If the decoder is neither.
  """
  if decoder not in _DECODERS:
    raise UserError(
      f"gin: resnet9_segmentation.decoder='{decoder}' must be one of "
      f'{", ".join(_DECODERS)}.'
    )
  feature = semantic_segmentation.DenseFeatureConfig(
    mean=list(mean_rgb), stddev=list(stddev_rgb)
  )
  size = [input_size, input_size]
  head = semantic_segmentation.SegmentationHead(
    num_convs=2, num_filters=decoder_filters
  )
  if decoder == 'aspp':
    head.override(
      {
        'level': _LAST_LEVEL,
        'feature_fusion': 'deeplabv3plus',
        'low_level': _FINE_LEVEL,
      }
    )
  else:
    head.override(
      {
        'level': _FINE_LEVEL,
        # Garden's model factory hands no levels on to its panoptic fusion.
        'feature_fusion': 'pyramid_fusion',
      }
    )
  model = semantic_segmentation.SemanticSegmentationModel(
    num_classes=num_classes,
    input_size=[*size, 3],
    min_level=_FINE_LEVEL,
    max_level=fpn_max_level,
    head=head,
    backbone=recipes.backbone(channels),
    decoder=decoders.Decoder(
      type=decoder,
      aspp=decoders.ASPP(
        level=_LAST_LEVEL,
        dilation_rates=list(dilation_rates),
        num_filters=decoder_filters,
      ),
      fpn=decoders.FPN(num_filters=decoder_filters),
    ),
    norm_activation=recipes.norm_activation(),
  )
  return cfg.ExperimentConfig(
    task=SemanticSegmentationTask(
      model=model,
      train_data=semantic_segmentation.DataConfig(
        image_feature=feature,
        input_path=train_path,
        output_size=size,
        is_training=True,
        global_batch_size=batch_size,
        aug_rand_hflip=flip,
        aug_scale_min=scale_min,
        aug_scale_max=scale_max,
      ),
      validation_data=semantic_segmentation.DataConfig(
        image_feature=feature,
        input_path=test_path,
        output_size=size,
        is_training=False,
        global_batch_size=eval_batch_size,
        drop_remainder=False,
      ),
      losses=semantic_segmentation.Losses(l2_weight_decay=weight_decay),
      init_checkpoint=init_checkpoint or None,
      init_checkpoint_modules='backbone',
      allow_image_summary=False,
    ),
    trainer=recipes.trainer(
      train_steps, validation_interval, learning_rate, warmup_steps, 'mean_iou'
    ),
    runtime=recipes.runtime(precision, seed),
    restrictions=list(recipes.RESTRICTIONS),
  )
