"""Garden's semantic segmentation with ResNet9."""

import dataclasses
from typing import Any

import gin
from official.core import config_definitions as cfg
from official.core import exp_factory
from official.vision.configs import decoders
from official.vision.configs import semantic_segmentation as garden

from official_ext.configs import common
from official_ext.experiments import garden_parts
from official_ext.schema import parts

# Where the fine features are taken, at a stride of 4.
_FINE_LEVEL = 2


@dataclasses.dataclass
class SemanticSegmentationTask(garden.SemanticSegmentationTask):
  """Garden's task config, for the task that knows our moving average.

  Attributes:
    freeze_backbone: Whether the backbone keeps its weights, as Garden's other
      tasks have it.
  """

  freeze_backbone: bool = False


@parts.part('aspp')
@dataclasses.dataclass
class ASPP(decoders.ASPP):
  """Garden's DeepLab decoder, on level 3, where ResNet9 ends.

  Attributes:
    level: Map that it reads, at a stride of 2**level.
    dilation_rates: Of its convolutions, in pixels of that map.
    num_filters: Of decoder and head.
  """

  level: int = 3
  dilation_rates: list[int] = dataclasses.field(
    default_factory=lambda: [6, 12, 18]
  )


@exp_factory.register_config_factory('resnet9_segmentation')
@gin.configurable(module='official_ext')
@parts.checked
def resnet9_segmentation(
  records: garden_parts.Records | None = None,
  parser: garden_parts.Parser | None = None,
  normalization: garden_parts.Normalization | None = None,
  backbone: garden_parts.Trunk | None = None,
  decoder: ASPP | decoders.FPN | None = None,
  training: garden_parts.SGDCosine | None = None,
  runtime: common.RuntimeConfig | None = None,
  num_classes: int = 21,
  input_size: int = 256,
  max_level: int = 5,
) -> cfg.ExperimentConfig:
  """A class for each pixel, by DeepLab v3+ or a feature pyramid on ResNet9.

  Args:
    records: `@records()`; an example has `image/encoded`, `image/height`,
      `image/width` and `image/segmentation/class/encoded`, a PNG of a class a
      pixel; 255 is ignored.
    parser: `@parser()`.
    normalization: `@normalization()`.
    backbone: `@backbone()`.
    decoder: `@aspp()`, the default, for DeepLab v3+, or `@fpn()` for a feature
      pyramid, whose levels are brought to one size and summed.
    training: `@sgd_cosine()`.
    runtime: `@runtime()`.
    num_classes: Number of classes, the background among them.
    input_size: Side in pixels to which images are resized and padded.
    max_level: Of `@fpn()`, its coarsest map: half the size a level.
  """
  decoder = decoder or parts.make(ASPP)
  parser = parser or parts.make(garden_parts.Parser)
  normalization = normalization or parts.make(garden_parts.Normalization)
  size = [input_size, input_size]
  data = {
    'output_size': size,
    'image_feature': garden.DenseFeatureConfig(
      mean=normalization.mean_rgb, stddev=normalization.stddev_rgb
    ),
  }
  task = SemanticSegmentationTask(
    model=garden.SemanticSegmentationModel(
      num_classes=num_classes,
      input_size=[*size, 3],
      min_level=_FINE_LEVEL,
      max_level=max_level,
      **_decoder_and_head(decoder),
    ),
    train_data=garden.DataConfig(**data, **parser.as_dict()),
    validation_data=garden.DataConfig(**data),
    allow_image_summary=False,
  )
  return garden_parts.experiment(
    task, 'mean_iou', records, backbone, training, runtime
  )


def _decoder_and_head(decoder: ASPP | decoders.FPN) -> dict[str, Any]:
  """Returns the two fields of a model; the head has the decoder's filters."""
  filters = decoder.num_filters
  if isinstance(decoder, ASPP):
    return {
      'decoder': decoders.Decoder(type='aspp', aspp=decoder),
      'head': garden.SegmentationHead(
        level=decoder.level,
        num_filters=filters,
        feature_fusion='deeplabv3plus',
        low_level=_FINE_LEVEL,
      ),
    }
  return {
    'decoder': decoders.Decoder(type='fpn', fpn=decoder),
    'head': garden.SegmentationHead(
      level=_FINE_LEVEL,
      num_filters=filters,
      # Garden's model factory hands no levels on to its panoptic fusion.
      feature_fusion='pyramid_fusion',
    ),
  }
