"""An experiment's step in PyTorch, where that is installed."""

import importlib.util
from collections.abc import Callable
from typing import Any

from official.core import config_definitions as cfg

from official_ext.benchmarks.report import Rival
from official_ext.configuration import gin_config
from official_ext.dataloaders import preprocessing
from official_ext.experiments import small_images
from official_ext.schema import comparison
from official_ext.schema.fields import Tie

_SGD = 'trainer.optimizer_config.optimizer.sgd_coupled_decay'
# What may be otherwise than in the recipe of 24 epochs.
_WRITTEN = (
  'task.model.num_classes',
  'task.model.input_size',
  'task.model.backbone.resnet9.channels',
  'task.model.backbone.resnet9.kernel_initializer',
  'task.model.norm_activation.norm_momentum',
  'task.model.norm_activation.norm_epsilon',
  'task.model.head.logit_scale',
  'task.model.head.kernel_initializer',
  'task.train_data.',
  'task.validation_data.',
  f'{_SGD}.momentum',
  f'{_SGD}.nesterov',
  f'{_SGD}.weight_decay',
  'runtime.seed',
)


def why_not(params: cfg.ExperimentConfig) -> str | None:
  """Returns why there is nothing to compare with; None if there is."""
  if not importlib.util.find_spec('torch'):
    return 'PyTorch is not installed'
  with gin_config.unbound():
    recipe = small_images.small_images().as_dict()
  found = [
    (each.place, each.now)
    for each in comparison.differences(recipe, params, Tie.RUN)
  ]
  # Not of the training, but of what computes it.
  if preprocessing.on_device(params.task.train_data):
    found.append(('preprocess_on_device', True))
  if params.runtime.num_gpus > 0:
    found.append(('runtime.num_gpus', params.runtime.num_gpus))
  for place, value in found:
    if not place.startswith(_WRITTEN):
      return f'{place}={value!r} is not written in PyTorch here'
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
    'logit_scale': params.task.model.head.logit_scale,
    'precision': params.runtime.mixed_precision_dtype,
    'momentum': sgd.momentum,
    'nesterov': sgd.nesterov,
    'weight_decay': sgd.weight_decay,
  }


RIVAL = Rival('PyTorch', 'torch', why_not, build)
