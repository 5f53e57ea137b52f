"""Garden's Mask R-CNN with ResNet9."""

import dataclasses
from collections.abc import Sequence

import gin
from official.core import config_definitions as cfg
from official.core import exp_factory
from official.vision.configs import decoders, maskrcnn

from official_ext.configs import type_checks
from official_ext.configs.image_classification import (
  CIFAR10_MEAN_RGB,
  CIFAR10_STDDEV_RGB,
)
from official_ext.errors import UserError
from official_ext.experiments import recipes


@dataclasses.dataclass
class MaskRCNNTask(maskrcnn.MaskRCNNTask):
  """Garden's task config, with an input normalisation that can be chosen.

  Attributes:
    normalization: How pixels become the network's input.
  """

  normalization: recipes.Normalization = dataclasses.field(
    default_factory=recipes.Normalization
  )


@exp_factory.register_config_factory('resnet9_maskrcnn')
@gin.configurable
@type_checks.checked
def resnet9_maskrcnn(
  train_path: str = '',
  test_path: str = '',
  annotation_file: str = '',
  num_classes: int = 91,
  input_size: int = 256,
  flip: bool = True,
  scale_min: float = 0.8,
  scale_max: float = 1.25,
  channels: Sequence[int] = (64, 128, 256, 512),
  min_level: int = 2,
  max_level: int = 6,
  anchor_size: float = 8.0,
  filters: int = 256,
  fc_dims: int = 1024,
  proposals: int = 1000,
  sampled_rois: int = 512,
  sampled_masks: int = 128,
  mean_rgb: Sequence[float] = CIFAR10_MEAN_RGB,
  stddev_rgb: Sequence[float] = CIFAR10_STDDEV_RGB,
  weight_decay: float = 4e-5,
  batch_size: int = 8,
  eval_batch_size: int = 8,
  train_steps: int = 20_000,
  validation_interval: int = 500,
  learning_rate: float = 0.02,
  warmup_steps: int = 500,
  init_checkpoint: str = '',
  freeze_backbone: bool = False,
  precision: str = 'auto',
  seed: int = 0,
) -> cfg.ExperimentConfig:
  """Boxes and their masks, by Mask R-CNN on a feature pyramid on ResNet9.

  Args:
    train_path: Pattern of TFRecord files of `tf.Example`, to train on; an
      example has what that of `resnet9_retinanet` has, and
      `image/object/mask`, a PNG of 0 and 1 for each object, and
      `image/source_id`s that are numbers.
    test_path: Pattern of such files to evaluate on.
    annotation_file: COCO's JSON file of the test data; empty to write one from
      the records into the run's folder.
    num_classes: Number of classes, the background among them.
    input_size: Side in pixels to which images are resized and padded.
    flip: Whether to mirror half of the training images.
    scale_min: Least scale of a training image.
    scale_max: Greatest scale of a training image.
    channels: Filters of prep, layer1, layer2 and layer3.
    min_level: Finest map with anchors, at a stride of 2**level: 2 or 3, since
      ResNet9 ends at 3.
    max_level: Coarsest map with anchors; images are padded to its stride.
    anchor_size: Side of the anchors of a map, in its strides.
    filters: Filters of pyramid and heads.
    fc_dims: Units of the box head.
    proposals: Regions an image that the first stage proposes, at most.
    sampled_rois: Of these, those an image that the box head is trained on.
    sampled_masks: Of these, those that the mask head is trained on; at most as
      many.
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
    freeze_backbone: Whether the backbone keeps them.
    precision: 'float32', 'bfloat16', 'float16' or 'auto'.
    seed: Seed of the weights.

  Raises:
    UserError: If there are too few regions to take the samples from.
  """
  parser = maskrcnn.Parser(
    aug_rand_hflip=flip, aug_scale_min=scale_min, aug_scale_max=scale_max
  )
  # The boxes of the ground truth, padded to a fixed number, are regions too.
  regions = proposals + parser.max_num_instances
  if not sampled_masks <= sampled_rois <= regions:
    raise UserError(
      f'gin: resnet9_maskrcnn.sampled_rois={sampled_rois} must be at least '
      f'sampled_masks={sampled_masks}, and at most proposals={proposals} and '
      f'the {parser.max_num_instances} boxes of the ground truth.'
    )
  return cfg.ExperimentConfig(
    task=MaskRCNNTask(
      model=maskrcnn.MaskRCNN(
        num_classes=num_classes,
        input_size=[input_size, input_size, 3],
        min_level=min_level,
        max_level=max_level,
        anchor=maskrcnn.Anchor(anchor_size=anchor_size),
        backbone=recipes.backbone(channels),
        decoder=decoders.Decoder(
          type='fpn', fpn=decoders.FPN(num_filters=filters)
        ),
        rpn_head=maskrcnn.RPNHead(num_filters=filters),
        detection_head=maskrcnn.DetectionHead(
          num_filters=filters, fc_dims=fc_dims
        ),
        mask_head=maskrcnn.MaskHead(num_filters=filters),
        roi_generator=maskrcnn.ROIGenerator(
          num_proposals=proposals, test_num_proposals=proposals
        ),
        roi_sampler=maskrcnn.ROISampler(num_sampled_rois=sampled_rois),
        mask_sampler=maskrcnn.MaskSampler(num_sampled_masks=sampled_masks),
        norm_activation=recipes.norm_activation(),
      ),
      train_data=maskrcnn.DataConfig(
        input_path=train_path,
        is_training=True,
        global_batch_size=batch_size,
        dtype='float32',
        parser=parser,
      ),
      validation_data=maskrcnn.DataConfig(
        input_path=test_path,
        is_training=False,
        global_batch_size=eval_batch_size,
        dtype='float32',
        drop_remainder=False,
      ),
      losses=maskrcnn.Losses(l2_weight_decay=weight_decay),
      annotation_file=annotation_file or None,
      normalization=recipes.Normalization(
        mean_rgb=list(mean_rgb), stddev_rgb=list(stddev_rgb)
      ),
      init_checkpoint=init_checkpoint or None,
      init_checkpoint_modules='backbone',
      freeze_backbone=freeze_backbone,
    ),
    trainer=recipes.trainer(
      train_steps, validation_interval, learning_rate, warmup_steps, 'AP'
    ),
    runtime=recipes.runtime(precision, seed),
    restrictions=list(recipes.RESTRICTIONS),
  )
