"""Checks a whole experiment config before any work starts."""

import dataclasses
import itertools
import math
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from official.core import config_definitions as cfg
from official.modeling import hyperparams, tf_utils
from official.vision.configs import image_classification as garden

from official_ext.core.errors import UserError
from official_ext.modeling import initializers

# Fields of Garden's DataConfig that this package's input path acts upon.
USED_DATA_FIELDS = frozenset(
  {
    'aug_rand_hflip',
    'aug_type',
    'drop_remainder',
    'dtype',
    'global_batch_size',
    'image_field_key',
    'is_training',
    'label_field_key',
    'prefetch_buffer_size',
    'seed',
    'tfds_data_dir',
    'tfds_name',
    'tfds_split',
  }
)


def check_types(config: hyperparams.Config, place: str = '') -> None:
  """Raises where a value is not of its field's type.

  Garden assigns whatever YAML or gin gives it, and YAML has surprises: `off` is
  a boolean.

  Args:
    config: Any Garden config.
    place: Dotted path of `config`, with a dot at its end.

  Raises:
    UserError: At the first such value.
  """
  hints = type(config)._get_annotations()
  for key, value in list(vars(config).items()):
    if isinstance(value, hyperparams.Config):
      check_types(value, f'{place}{key}.')
    elif key in hints and not _fits(value, hints[key]):
      raise UserError(
        f'{place}{key}={value!r} is {_name(type(value))}, but must be '
        f'{_name(hints[key])}.'
      )


def _fits(value: Any, hint: Any) -> bool:
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if origin in (typing.Union, types.UnionType):
    return any(_fits(value, arg) for arg in args)
  if hint is float:
    return isinstance(value, int | float) and not isinstance(value, bool)
  if hint is int:
    return isinstance(value, int) and not isinstance(value, bool)
  if hint in (str, bool, type(None)):
    return isinstance(value, hint)
  if origin in (list, tuple, typing.get_origin(typing.Sequence[int])):
    inner = [arg for arg in args if arg is not ...] or [Any]
    return isinstance(value, list | tuple) and all(
      any(_fits(item, arg) for arg in inner) for item in value
    )
  if isinstance(hint, type) and issubclass(hint, hyperparams.Config):
    return isinstance(value, hint)
  return True


def _name(hint: Any) -> str:
  if typing.get_origin(hint):
    return str(hint).replace('typing.', '')
  return 'None' if hint is type(None) else hint.__name__


def check(params: cfg.ExperimentConfig) -> None:
  """Raises where a value of an image classification experiment cannot work.

  Args:
    params: A config whose types `check_types` has checked.

  Raises:
    UserError: At the first such value.
  """
  for data in ('train_data', 'validation_data'):
    _check_used(getattr(params.task, data), f'task.{data}.')
  for place, (accepts, requirement), argument in _RULES:
    for value in _chosen(params, place):
      if not accepts(value):
        mend = f' (gin: resnet9_cifar10.{argument})' if argument else ''
        raise UserError(f'{place}={value!r} must be {requirement}{mend}.')
  _check_knots(params.trainer.optimizer_config.learning_rate)
  _check_names(params.task.model)


def check_fits(data: Any, place: str, image_shape: Sequence[int]) -> None:
  """Raises where the input path does not fit the size of the images.

  Args:
    data: Training or validation data that `check` has checked.
    place: Its dotted path.
    image_shape: Height, width and channels of the data.

  Raises:
    UserError: At the first value that does not fit.
  """
  name, side = data.tfds_name, min(image_shape[:2])
  if side < 8:
    raise UserError(
      f"{place}.tfds_name='{name}' has images of {list(image_shape)}; the "
      'network halves them three times, so use at least 8 pixels a side.'
    )
  for key in ('mean_rgb', 'stddev_rgb'):
    value = getattr(data, key)
    if len(value) != image_shape[2]:
      raise UserError(
        f'{place}.{key}={value} is not one number for each of the '
        f'{image_shape[2]} channels of {name} (gin: resnet9_cifar10.{key}).'
      )
  if data.crop_padding >= side:
    raise UserError(
      f'{place}.crop_padding={data.crop_padding} cannot be reflected in images '
      f'of {side} pixels; use less (gin: resnet9_cifar10.crop_padding).'
    )
  cutout = data.aug_type.cutout.size if data.aug_type else 0
  if cutout > side:
    raise UserError(
      f'{place}.aug_type.cutout.size={cutout} is more than the {side} pixels '
      'of an image; use less (gin: resnet9_cifar10.cutout_size).'
    )


def _check_used(data: Any, place: str) -> None:
  """Raises for an option of Garden's that would be ignored in silence."""
  default = type(data)(is_training=data.is_training)
  for field in dataclasses.fields(garden.DataConfig):
    if field.name in USED_DATA_FIELDS:
      continue
    value = getattr(data, field.name)
    if value != getattr(default, field.name):
      raise UserError(
        f'{place}{field.name}={value!r} has no effect with data in memory; '
        'leave it out.'
      )
  if data.drop_remainder != data.is_training:
    raise UserError(
      f'{place}drop_remainder={data.drop_remainder} cannot be chosen; training '
      'drops the last partial batch, evaluation never drops an image.'
    )


def _chosen(config: Any, place: str) -> Iterator[Any]:
  """Yields the value at a dotted path, unless a one-of on it chose another."""
  for key in place.split('.'):
    is_one_of = isinstance(config, hyperparams.OneOfConfig)
    if is_one_of and key not in ('type', config.type):
      return
    config = getattr(config, key)
    if config is None:
      return
  yield config


def _check_knots(config: Any) -> None:
  """Raises where a piecewise linear schedule does not run forward."""
  if config.type != 'piecewise_linear':
    return
  epochs, values = (
    config.piecewise_linear.epochs,
    config.piecewise_linear.values,
  )
  rising = all(a < b for a, b in itertools.pairwise(epochs))
  if not rising or not 2 <= len(epochs) == len(values):
    raise UserError(
      'trainer.optimizer_config.learning_rate.piecewise_linear has knots at '
      f'epochs {epochs} of rates {values}; the epochs must rise, one a rate '
      '(gin: 0 < resnet9_cifar10.peak_epoch < resnet9_cifar10.epochs).'
    )


def _check_names(model: Any) -> None:
  """Raises for an initialiser or an activation that nobody knows."""
  initializers.get(model.kernel_initializer)
  if model.backbone.type == 'resnet9':
    initializers.get(model.backbone.resnet9.kernel_initializer)
  activation = model.norm_activation.activation
  try:
    tf_utils.get_activation(activation, use_keras_layer=True)
  except ValueError as error:
    raise UserError(
      f"task.model.norm_activation.activation='{activation}' is not known; use "
      "the name of a Keras activation such as 'relu' "
      '(gin: resnet9_cifar10.activation).'
    ) from error


_Check = tuple[Callable[[Any], bool], str]


def _one_of(*names: str | None) -> _Check:
  return lambda v: v in names, f'one of {", ".join(map(str, names))}'


def _all(check: _Check) -> _Check:
  return lambda values: all(map(check[0], values)), f'numbers {check[1]}'


_AT_LEAST_1: _Check = (lambda v: 1 <= v < math.inf, 'at least 1')
_AT_LEAST_0: _Check = (lambda v: 0 <= v < math.inf, 'at least 0')
_ABOVE_0: _Check = (lambda v: 0 < v < math.inf, 'more than 0')
_SHARE: _Check = (lambda v: 0 <= v < 1, 'at least 0 and less than 1')
_CHANNELS: _Check = (
  lambda v: len(v) == 4 and min(v) >= 1,
  'four numbers of at least 1',
)

# (place, what it must be, its name on the gin surface).
_RULES: tuple[tuple[str, _Check, str], ...] = (
  ('task.model.num_classes', _AT_LEAST_0, 'num_classes'),
  ('task.model.pooling', _one_of('max', 'avg'), 'pooling'),
  ('task.model.dropout_rate', _SHARE, ''),
  ('task.model.logit_scale', _ABOVE_0, 'logit_scale'),
  ('task.model.norm_activation.norm_momentum', _SHARE, 'norm_momentum'),
  ('task.model.norm_activation.norm_epsilon', _ABOVE_0, 'norm_epsilon'),
  ('task.model.backbone.resnet9.channels', _CHANNELS, 'channels'),
  ('task.losses.label_smoothing', _SHARE, 'label_smoothing'),
  ('task.train_data.global_batch_size', _AT_LEAST_1, 'batch_size'),
  ('task.validation_data.global_batch_size', _AT_LEAST_1, 'eval_batch_size'),
  *(
    (f'task.{data}.{place}', check, argument)
    for data in ('train_data', 'validation_data')
    for place, check, argument in (
      ('crop_padding', _AT_LEAST_0, 'crop_padding'),
      ('stddev_rgb', _all(_ABOVE_0), 'stddev_rgb'),
      ('dtype', _one_of('float32', 'bfloat16', 'float16'), ''),
      ('aug_type.type', _one_of(None, 'cutout'), ''),
      ('aug_type.cutout.size', _AT_LEAST_1, 'cutout_size'),
    )
  ),
  ('trainer.epochs', _ABOVE_0, 'epochs'),
  (
    'trainer.optimizer_config.optimizer.sgd_coupled_decay.momentum',
    _SHARE,
    'momentum',
  ),
  (
    'trainer.optimizer_config.optimizer.sgd_coupled_decay.weight_decay',
    _AT_LEAST_0,
    'weight_decay',
  ),
  (
    'trainer.optimizer_config.learning_rate.piecewise_linear.values',
    _all(_AT_LEAST_0),
    'peak_learning_rate',
  ),
)
