"""Rules and ties of the fields that Garden's own configs declare."""

from official.core import config_definitions as cfg
from official.modeling import optimization
from official.modeling.optimization.configs import (
  learning_rate_config,
  optimizer_config,
)
from official.vision.configs import (
  common,
  decoders,
  image_classification,
  maskrcnn,
  retinanet,
  semantic_segmentation,
)

from official_ext.schema import fields
from official_ext.schema.fields import Tie

fields.of_garden(
  cfg.ExperimentConfig, ties={'runtime': Tie.PLACE, 'trainer': Tie.PLACE}
)
fields.of_garden(
  cfg.RuntimeConfig,
  rules={
    'mixed_precision_dtype': fields.optional(fields.one_of(*fields.PRECISIONS))
  },
  ties={'mixed_precision_dtype': Tie.FUTURE, 'loss_scale': Tie.FUTURE},
)
fields.of_garden(
  cfg.TrainerConfig,
  rules={
    'train_steps': fields.AT_LEAST_0,
    'steps_per_loop': fields.AT_LEAST_1,
    'summary_interval': fields.AT_LEAST_1,
    'checkpoint_interval': fields.AT_LEAST_1,
    'continuous_eval_timeout': fields.AT_LEAST_0,
    'validation_interval': fields.AT_LEAST_1,
    'max_to_keep': fields.AT_LEAST_1,
  },
  ties={
    'optimizer_config': Tie.RUN,
    'train_steps': Tie.FUTURE,
    'validation_steps': Tie.FUTURE,
    'validation_interval': Tie.FUTURE,
  },
)
fields.of_garden(
  optimization.OptimizationConfig,
  ties={
    'ema': Tie.WEIGHTS,
    'learning_rate': Tie.FUTURE,
    'warmup': Tie.FUTURE,
  },
)
# Keras keeps it in a variable, which a checkpoint brings back.
fields.of_garden(
  learning_rate_config.ConstantLrConfig, ties={'learning_rate': Tie.RUN}
)
fields.of_garden(optimizer_config.EMAConfig, ties={'*': Tie.RUN})

fields.of_garden(
  cfg.TaskConfig,
  ties={
    '*': Tie.RUN,
    'model': Tie.WEIGHTS,
    **dict.fromkeys(
      (
        'annotation_file',
        'evaluation',
        'init_checkpoint',
        'init_checkpoint_modules',
        'max_num_eval_detections',
        'per_category_metrics',
        'use_approx_instance_metrics',
        'use_coco_metrics',
        'use_wod_metrics',
        'validation_data',
      ),
      Tie.FUTURE,
    ),
    **dict.fromkeys(
      (
        'allow_image_summary',
        'eval_input_partition_dims',
        'export_config',
        'name',
        'train_input_partition_dims',
      ),
      Tie.PLACE,
    ),
  },
)
fields.of_garden(
  cfg.DataConfig,
  ties={
    # The same files may have been moved.
    'input_path': Tie.FUTURE,
    **dict.fromkeys(
      (
        'apply_tf_data_service_before_batching',
        'autotune_algorithm',
        'block_length',
        'cache',
        'cycle_length',
        'enable_shared_tf_data_service_between_parallel_trainers',
        'enable_tf_data_service',
        'prefetch_buffer_size',
        'ram_budget',
        'sharding',
        'tf_data_service_address',
        'tf_data_service_job_name',
        'tfds_data_dir',
        'trainer_id',
      ),
      Tie.PLACE,
    ),
  },
)
fields.of_garden(
  common.NormActivation,
  ties={'norm_momentum': Tie.RUN, 'use_sync_bn': Tie.RUN},
)
fields.of_garden(
  image_classification.ImageClassificationModel,
  ties={'dropout_rate': Tie.RUN, 'kernel_initializer': Tie.RUN},
)
for _detector in (retinanet.RetinaNet, maskrcnn.MaskRCNN):
  fields.of_garden(_detector, ties={'detection_generator': Tie.FUTURE})
# Boxes are learned in its units.
fields.of_garden(
  retinanet.DetectionGenerator, ties={'box_coder_weights': Tie.WEIGHTS}
)
fields.of_garden(
  maskrcnn.ROIGenerator,
  ties={
    '*': Tie.RUN,
    'test_pre_nms_top_k': Tie.FUTURE,
    'test_pre_nms_score_threshold': Tie.FUTURE,
    'test_pre_nms_min_size_threshold': Tie.FUTURE,
    'test_nms_iou_threshold': Tie.FUTURE,
    'test_num_proposals': Tie.FUTURE,
  },
)
fields.of_garden(
  maskrcnn.ROISampler,
  # There is a head for each of these thresholds.
  ties={'*': Tie.RUN, 'cascade_iou_thresholds': Tie.WEIGHTS},
)
fields.of_garden(maskrcnn.MaskSampler, ties={'*': Tie.RUN})
fields.of_garden(decoders.ASPP, ties={'dropout_rate': Tie.RUN})
fields.of_garden(
  semantic_segmentation.DenseFeatureConfig,
  rules={'stddev': fields.all_of(fields.ABOVE_0)},
  ties={'mean': Tie.WEIGHTS, 'stddev': Tie.WEIGHTS},
)

# What a field of this name has to be, in whichever of these configs it is.
_RULES = {
  'anchor_size': fields.ABOVE_0,
  'aug_scale_max': fields.ABOVE_0,
  'aug_scale_min': fields.ABOVE_0,
  'dilation_rates': fields.all_of(fields.AT_LEAST_1),
  'fc_dims': fields.AT_LEAST_1,
  'global_batch_size': fields.AT_LEAST_0,
  'l2_weight_decay': fields.AT_LEAST_0,
  'label_smoothing': fields.SHARE,
  'num_classes': fields.AT_LEAST_0,
  'num_convs': fields.AT_LEAST_0,
  'num_filters': fields.AT_LEAST_1,
  'num_proposals': fields.AT_LEAST_1,
  'num_sampled_masks': fields.AT_LEAST_1,
  'num_sampled_rois': fields.AT_LEAST_1,
  'num_scales': fields.AT_LEAST_1,
  'test_num_proposals': fields.AT_LEAST_1,
}
for _config in (
  cfg.DataConfig,
  decoders.ASPP,
  decoders.FPN,
  image_classification.ImageClassificationModel,
  image_classification.Losses,
  maskrcnn.Anchor,
  maskrcnn.DetectionHead,
  maskrcnn.Losses,
  maskrcnn.MaskHead,
  maskrcnn.MaskRCNN,
  maskrcnn.MaskSampler,
  maskrcnn.Parser,
  maskrcnn.ROIGenerator,
  maskrcnn.ROISampler,
  maskrcnn.RPNHead,
  retinanet.Anchor,
  retinanet.Losses,
  retinanet.Parser,
  retinanet.RetinaNet,
  retinanet.RetinaNetHead,
  semantic_segmentation.DataConfig,
  semantic_segmentation.Losses,
  semantic_segmentation.SegmentationHead,
  semantic_segmentation.SemanticSegmentationModel,
):
  fields.of_garden(
    _config,
    rules={k: _RULES[k] for k in _config.__annotations__ if k in _RULES},
  )
