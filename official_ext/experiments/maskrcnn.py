"""Garden's Mask R-CNN with ResNet9."""

import dataclasses

import gin
from official.core import config_definitions as cfg
from official.core import exp_factory
from official.vision.configs import decoders
from official.vision.configs import maskrcnn as garden

from official_ext.configs import common
from official_ext.errors import UserError
from official_ext.experiments import garden_parts
from official_ext.schema import parts


@dataclasses.dataclass
class MaskRCNNTask(garden_parts.NormalizedTask, garden.MaskRCNNTask):
  """Garden's task config, with an input normalisation that can be chosen."""

  def check_together(self, place: str) -> None:
    """Raises where there are too few regions to take the samples from."""
    model = self.model
    rois, masks = model.roi_sampler, model.mask_sampler
    proposals = model.roi_generator.num_proposals
    # The boxes of the ground truth, padded to a fixed number, are regions too.
    boxes = self.train_data.parser.max_num_instances * rois.mix_gt_boxes
    least = masks.num_sampled_masks if masks else 1
    if not least <= rois.num_sampled_rois <= proposals + boxes:
      raise UserError(
        f'{place}model.roi_sampler.num_sampled_rois={rois.num_sampled_rois} '
        f'must be at least num_sampled_masks={least}, and at most '
        f'num_proposals={proposals} and the {boxes} boxes of the ground truth.'
      )


@exp_factory.register_config_factory('resnet9_maskrcnn')
@gin.configurable(module='official_ext')
@parts.checked
def resnet9_maskrcnn(
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
  min_level: int = 2,
  max_level: int = 6,
  anchor_size: float = 8.0,
  fc_dims: int = 1024,
  num_proposals: int = 1000,
  num_sampled_rois: int = 512,
  num_sampled_masks: int = 128,
) -> cfg.ExperimentConfig:
  """Boxes and their masks, by Mask R-CNN on a feature pyramid on ResNet9.

  Args:
    records: `@records()`; an example has what that of `resnet9_retinanet` has,
      `image/object/mask`, a PNG of 0 and 1 for each object, and
      `image/source_id`s that are numbers.
    parser: `@parser()`.
    normalization: `@normalization()`.
    backbone: `@backbone()`.
    decoder: `@fpn()`, the pyramid; the heads have as many filters.
    training: `@sgd_cosine()`.
    runtime: `@runtime()`.
    num_classes: Number of classes, the background among them.
    input_size: Side in pixels to which images are resized and padded.
    annotation_file: COCO's JSON file of the test data; empty to write one from
      the records into the run's folder.
    min_level: Finest map with anchors, at a stride of 2**level: 2 or 3, since
      ResNet9 ends at 3.
    max_level: Coarsest map with anchors; images are padded to its stride.
    anchor_size: Side of the anchors of a map, in its strides.
    fc_dims: Units of the box head.
    num_proposals: Regions an image that the first stage proposes, at most.
    num_sampled_rois: Of these, those an image that the box head is trained on.
    num_sampled_masks: Of these, those that the mask head is trained on; at most
      as many.
  """
  fpn = decoder or parts.make(decoders.FPN)
  parser = parser or parts.make(garden_parts.Parser)
  filters = {'num_filters': fpn.num_filters}
  task = MaskRCNNTask(
    model=garden.MaskRCNN(
      num_classes=num_classes,
      input_size=[input_size, input_size, 3],
      min_level=min_level,
      max_level=max_level,
      anchor=garden.Anchor(anchor_size=anchor_size),
      decoder=decoders.Decoder(type='fpn', fpn=fpn),
      rpn_head=garden.RPNHead(**filters),
      detection_head=garden.DetectionHead(fc_dims=fc_dims, **filters),
      mask_head=garden.MaskHead(**filters),
      roi_generator=garden.ROIGenerator(
        num_proposals=num_proposals, test_num_proposals=num_proposals
      ),
      roi_sampler=garden.ROISampler(num_sampled_rois=num_sampled_rois),
      mask_sampler=garden.MaskSampler(num_sampled_masks=num_sampled_masks),
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
