"""Garden's RetinaNet with ResNet9."""

import dataclasses

import gin
from official.core import config_definitions as cfg
from official.core import exp_factory
from official.vision.configs import decoders
from official.vision.configs import retinanet as garden

from official_ext.configs import common
from official_ext.experiments import garden_parts
from official_ext.schema import parts


@dataclasses.dataclass
class RetinaNetTask(garden_parts.NormalizedTask, garden.RetinaNetTask):
  """Garden's task config, with an input normalisation that can be chosen."""


@exp_factory.register_config_factory('resnet9_retinanet')
@gin.configurable(module='official_ext')
@parts.checked
def resnet9_retinanet(
  records: garden_parts.Records | None = None,
  parser: garden_parts.Parser | None = None,
  normalization: garden_parts.Normalization | None = None,
  backbone: garden_parts.Trunk | None = None,
  decoder: decoders.FPN | None = None,
  training: garden_parts.SGDCosine | None = None,
  runtime: common.RuntimeConfig | None = None,
  num_classes: int = 91,
  input_size: int = 256,
  annotation_file: str = '',
  min_level: int = 3,
  max_level: int = 7,
  anchor_size: float = 4.0,
  num_convs: int = 4,
) -> cfg.ExperimentConfig:
  """Boxes, by RetinaNet on a feature pyramid on ResNet9.

  Args:
    records: `@records()`; an example has `image/encoded`, `image/height`,
      `image/width`, `image/source_id`, and for each object
      `image/object/bbox/{x,y}{min,max}` in 0 to 1 and
      `image/object/class/label` from 1 on.
    parser: `@parser()`.
    normalization: `@normalization()`.
    backbone: `@backbone()`.
    decoder: `@fpn()`, the pyramid; the head has as many filters.
    training: `@sgd_cosine()`.
    runtime: `@runtime()`.
    num_classes: Number of classes, the background among them.
    input_size: Side in pixels to which images are resized and padded.
    annotation_file: COCO's JSON file of the test data; empty to take the boxes
      from the records.
    min_level: Finest map with anchors, at a stride of 2**level: 2 or 3, since
      ResNet9 ends at 3.
    max_level: Coarsest map with anchors; images are padded to its stride.
    anchor_size: Side of the smallest anchor of a map, in its strides.
    num_convs: Convolutions of the head.
  """
  fpn = decoder or parts.make(decoders.FPN)
  parser = parser or parts.make(garden_parts.Parser)
  task = RetinaNetTask(
    model=garden.RetinaNet(
      num_classes=num_classes,
      input_size=[input_size, input_size, 3],
      min_level=min_level,
      max_level=max_level,
      anchor=garden.Anchor(anchor_size=anchor_size),
      decoder=decoders.Decoder(type='fpn', fpn=fpn),
      head=garden.RetinaNetHead(
        num_convs=num_convs, num_filters=fpn.num_filters
      ),
    ),
    train_data=garden.DataConfig(
      dtype='float32', parser=garden.Parser(**parser.as_dict())
    ),
    validation_data=garden.DataConfig(dtype='float32'),
    annotation_file=annotation_file or None,
    normalization=normalization or parts.make(garden_parts.Normalization),
  )
  return garden_parts.experiment(
    task, 'AP', records, backbone, training, runtime
  )
