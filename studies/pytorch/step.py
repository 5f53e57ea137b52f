"""An experiment's step in PyTorch, where that is installed."""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

from official.core import config_definitions as cfg

from official_ext.benchmarks.report import Rival

# What `studies.pytorch.resnet9` has no option for.
_FIXED = {
  'task.model.backbone.type': 'resnet9',
  'task.model.backbone.resnet9.first_layer': 'conv',
  'task.model.backbone.resnet9.pool_before_norm': False,
  'task.model.backbone.resnet9.norm_group_size': 0,
  'task.model.backbone.resnet9.norm_scale': True,
  'task.model.norm_activation.activation': 'relu',
  'task.model.pooling': 'max',
  'task.model.dropout_rate': 0.0,
  'task.model.use_bias': False,
  'task.freeze_backbone': False,
  'task.losses.label_smoothing': 0.0,
  'task.losses.l2_weight_decay': 0.0,
  'task.train_data.preprocess_on_device': False,
  'trainer.optimizer_config.optimizer.type': 'sgd_coupled_decay',
  'trainer.optimizer_config.optimizer.sgd_coupled_decay.'
  'exclude_from_weight_decay': [],
  'trainer.optimizer_config.ema': None,
  'runtime.num_gpus': 0,
}


def why_not(params: cfg.ExperimentConfig) -> str | None:
  """Returns why there is nothing to compare with; None if there is."""
  if not importlib.util.find_spec('torch'):
    return 'PyTorch is not installed'
  for place, value in _FIXED.items():
    actual = functools.reduce(getattr, place.split('.'), params)
    if actual != value:
      return f'{place}={actual!r} is not written in PyTorch here'
  return None


def build(params: cfg.ExperimentConfig, cores: int) -> Callable[[], float]:
  """Builds the same step as `bare_step`, on random images.

  Args:
    params: An experiment that `why_not` has nothing against.
    cores: How many threads PyTorch is to use.
  """
  import torch

  from studies.pytorch import resnet9

  torch.set_num_threads(cores)
  task = params.task
  height, width, colors = task.model.input_size
  batch_size = task.train_data.global_batch_size
  return resnet9.build_step(
    build_network(params),
    torch.randn(batch_size, colors, height, width),
    torch.randint(task.model.num_classes, [batch_size]),
    learning_rate=0.01,
    **step_options(params),
  )


def build_network(params: cfg.ExperimentConfig) -> Any:
  """Builds the experiment's network, a `torch.nn.Module`."""
  from studies.pytorch import resnet9

  model = params.task.model
  return resnet9.build_network(
    model.backbone.resnet9.channels,
    model.input_size,
    model.num_classes,
    model.norm_activation.norm_momentum,
    model.norm_activation.norm_epsilon,
  )


def step_options(params: cfg.ExperimentConfig) -> dict[str, Any]:
  """Returns what `resnet9.build_step` takes from an experiment."""
  sgd = params.trainer.optimizer_config.optimizer.sgd_coupled_decay
  return {
    'logit_scale': params.task.model.logit_scale,
    'precision': params.runtime.mixed_precision_dtype,
    'momentum': sgd.momentum,
    'nesterov': sgd.nesterov,
    'weight_decay': sgd.weight_decay,
  }


RIVAL = Rival('PyTorch', 'torch', why_not, build)
