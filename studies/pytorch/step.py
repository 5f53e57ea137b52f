"""An experiment's step in PyTorch, where that is installed."""

import dataclasses
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

_OPTIMIZER = 'trainer.optimizer_config.optimizer'
# What may be otherwise than in a recipe, in either of the networks.
_OF_BOTH = (
  'task.model.num_classes',
  'task.model.input_size',
  'task.model.norm_activation.norm_momentum',
  'task.model.norm_activation.norm_epsilon',
  'task.model.head.logit_scale',
  'task.model.head.kernel_initializer',
  'task.train_data.',
  'task.validation_data.',
  'runtime.seed',
)
# Of the rates that a recipe's training has at its start, so that many steps on
# the same batch do not diverge.
_SHARE_OF_RATE = 0.01


@dataclasses.dataclass(frozen=True)
class _Written:
  """A network whose step is written in PyTorch.

  Attributes:
    gin_file: The recipe; '' for the default one.
    places: What may be otherwise than in it, besides `_OF_BOTH`.
    build: Builds the step, for an experiment, images and labels.
  """

  gin_file: str
  places: tuple[str, ...]
  build: Callable[[cfg.ExperimentConfig, Any, Any], Callable[[], float]]


def why_not(params: cfg.ExperimentConfig) -> str | None:
  """Returns why there is nothing to compare with; None if there is."""
  if not importlib.util.find_spec('torch'):
    return 'PyTorch is not installed'
  network = params.task.model.backbone.type
  if network not in _WRITTEN:
    return f'{network} is not written in PyTorch here'
  written = _WRITTEN[network]
  with gin_config.unbound():
    gin_config.parse([written.gin_file] if written.gin_file else [], [])
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
    if not place.startswith((*_OF_BOTH, *written.places)):
      return f'{place}={value!r} is not written in PyTorch here'
  return None


def build(params: cfg.ExperimentConfig, cores: int) -> Callable[[], float]:
  """Builds the same step as `bare_step`, on random images.

  Args:
    params: An experiment that `why_not` has nothing against.
    cores: How many threads PyTorch is to use.
  """
  import torch

  torch.set_num_threads(cores)
  task = params.task
  height, width, colors = task.model.input_size
  batch_size = task.train_data.global_batch_size
  return _WRITTEN[task.model.backbone.type].build(
    params,
    torch.randn(batch_size, colors, height, width),
    torch.randint(task.model.num_classes, [batch_size]),
  )


def build_network(params: cfg.ExperimentConfig) -> Any:
  """Builds the experiment's network, a `torch.nn.Module`."""
  from studies.pytorch import airbench, resnet9

  model = params.task.model
  norm = model.norm_activation
  if model.backbone.type == 'airbench':
    return airbench.build_network(
      model.backbone.airbench.channels,
      model.input_size[-1],
      model.num_classes,
      norm.norm_momentum,
      norm.norm_epsilon,
    )
  return resnet9.build_network(
    model.backbone.resnet9.channels,
    model.input_size,
    model.num_classes,
    norm.norm_momentum,
    norm.norm_epsilon,
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


def airbench_options(
  params: cfg.ExperimentConfig, share_of_rate: float
) -> dict[str, Any]:
  """Returns what `airbench.build_step` takes from an experiment.

  Args:
    params: The experiment.
    share_of_rate: What its rates are multiplied by.
  """
  muon = params.trainer.optimizer_config.optimizer.muon
  return {
    'logit_scale': params.task.model.head.logit_scale,
    'label_smoothing': params.task.losses.label_smoothing,
    'precision': params.runtime.mixed_precision_dtype,
    'learning_rates': [
      share_of_rate * group.lr_multiplier for group in muon.lr_groups
    ],
    'decay': share_of_rate * muon.weight_decay,
    'momentum': muon.sgd_momentum,
    'muon_momentum': muon.momentum,
    'ns_steps': muon.ns_steps,
    'ns_coefficients': muon.ns_coefficients,
  }


def _build_resnet9(
  params: cfg.ExperimentConfig, images: Any, labels: Any
) -> Callable[[], float]:
  from studies.pytorch import resnet9

  options = step_options(params)
  network = build_network(params)
  return resnet9.build_step(
    network, images, labels, learning_rate=_SHARE_OF_RATE, **options
  )


def _build_airbench(
  params: cfg.ExperimentConfig, images: Any, labels: Any
) -> Callable[[], float]:
  from studies.pytorch import airbench

  options = airbench_options(params, _SHARE_OF_RATE)
  return airbench.build_step(build_network(params), images, labels, **options)


_WRITTEN = {
  'resnet9': _Written(
    '',
    (
      'task.model.backbone.resnet9.channels',
      'task.model.backbone.resnet9.kernel_initializer',
      f'{_OPTIMIZER}.sgd_coupled_decay.momentum',
      f'{_OPTIMIZER}.sgd_coupled_decay.nesterov',
      f'{_OPTIMIZER}.sgd_coupled_decay.weight_decay',
    ),
    _build_resnet9,
  ),
  'airbench': _Written(
    'gin/airbench94.gin',
    (
      'task.model.backbone.airbench.channels',
      'task.model.backbone.airbench.kernel_initializer',
      'task.losses.label_smoothing',
      f'{_OPTIMIZER}.muon.momentum',
      f'{_OPTIMIZER}.muon.sgd_momentum',
      f'{_OPTIMIZER}.muon.ns_',
    ),
    _build_airbench,
  ),
}

RIVAL = Rival('PyTorch', 'torch', why_not, build)
