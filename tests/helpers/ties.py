"""What may differ between a run and its checkpoint, until the configs say it.

To be removed with the import of it in `tiny`.
"""

from official.core import config_definitions as cfg
from official.modeling.optimization.configs import (
  learning_rate_config,
  optimization_config,
  optimizer_config,
)
from official.vision.configs import common as garden_common
from official.vision.configs import image_classification as garden

from official_ext.configs import backbones, fields
from official_ext.configs import image_classification as exp_cfg
from official_ext.configs.fields import Tie
from official_ext.experiments import recipes

_OF_DATA = {
  'mean_rgb': Tie.WEIGHTS,
  'stddev_rgb': Tie.WEIGHTS,
  'global_batch_size': Tie.RUN,
}

for config, ties in {
  cfg.ExperimentConfig: {
    'task': Tie.FUTURE,
    'trainer': Tie.FUTURE,
    'runtime': Tie.PLACE,
    'restrictions': Tie.PLACE,
  },
  cfg.TaskConfig: {'model': Tie.WEIGHTS, 'validation_data': Tie.PLACE},
  garden.ImageClassificationTask: {
    'model': Tie.WEIGHTS,
    'validation_data': Tie.PLACE,
    'evaluation': Tie.PLACE,
  },
  recipes.Normalization: {'*': Tie.WEIGHTS},
  cfg.DataConfig: {'global_batch_size': Tie.RUN},
  exp_cfg.DataConfig: _OF_DATA,
  garden_common.NormActivation: {
    'use_sync_bn': Tie.RUN,
    'norm_momentum': Tie.RUN,
  },
  backbones.ResNet9: {
    'kernel_initializer': Tie.RUN,
    'norm_group_size': Tie.RUN,
  },
  exp_cfg.ImageClassificationModel: {
    'kernel_initializer': Tie.RUN,
    'dropout_rate': Tie.FUTURE,
  },
  optimization_config.OptimizationConfig: {'ema': Tie.WEIGHTS},
  optimizer_config.EMAConfig: {'*': Tie.FUTURE},
  optimization_config.OptimizerConfig: {'type': Tie.RUN},
  optimizer_config.SGDConfig: {'momentum': Tie.RUN},
  optimizer_config.AdamConfig: {'beta_1': Tie.RUN, 'beta_2': Tie.RUN},
  learning_rate_config.ConstantLrConfig: {'learning_rate': Tie.RUN},
}.items():
  fields.of_garden(config, ties=ties)
