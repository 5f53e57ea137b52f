"""Rules and ties of the fields that Garden's own configs declare."""

from official.core import config_definitions as cfg
from official.modeling import optimization
from official.modeling.optimization.configs import (
  learning_rate_config,
  optimizer_config,
)
from official.vision.configs import (
  common,
  image_classification,
  maskrcnn,
  retinanet,
  semantic_segmentation,
)

from official_ext.configs import fields
from official_ext.configs.fields import Tie

fields.of_garden(
  cfg.ExperimentConfig, ties={'runtime': Tie.PLACE, 'trainer': Tie.PLACE}
)
fields.of_garden(
  cfg.RuntimeConfig,
  ties={'mixed_precision_dtype': Tie.FUTURE, 'loss_scale': Tie.FUTURE},
)
fields.of_garden(
  cfg.TrainerConfig,
  rules={
    'train_steps': fields.AT_LEAST_0,
    'steps_per_loop': fields.AT_LEAST_1,
    'summary_interval': fields.AT_LEAST_1,
    'checkpoint_interval': fields.AT_LEAST_1,
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
    'validation_data': Tie.FUTURE,
    'evaluation': Tie.FUTURE,
    'annotation_file': Tie.FUTURE,
    'init_checkpoint': Tie.FUTURE,
    'init_checkpoint_modules': Tie.FUTURE,
    'allow_image_summary': Tie.PLACE,
    'name': Tie.PLACE,
  },
)
fields.of_garden(
  cfg.DataConfig,
  ties={
    # The same files may have been moved.
    'input_path': Tie.FUTURE,
    **dict.fromkeys(
      (
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
fields.of_garden(
  semantic_segmentation.DenseFeatureConfig,
  rules={'stddev': fields.all_of(fields.ABOVE_0)},
  ties={'mean': Tie.WEIGHTS, 'stddev': Tie.WEIGHTS},
)
