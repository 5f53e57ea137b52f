"""Checks a whole experiment config before any work starts."""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from official.core import config_definitions as cfg
from official.modeling import hyperparams, tf_utils
from official.vision.configs import image_classification as garden

from official_ext.configs import optimization
from official_ext.errors import UserError
from official_ext.modeling import initializers
from official_ext.ops import augment

# Fields of a data config that this package's input path acts upon.
_USED_DATA_FIELDS = frozenset(
  {
    'drop_remainder',
    'dtype',
    'global_batch_size',
    'image_field_key',
    'is_training',
    'label_field_key',
    'mean_rgb',
    'prefetch_buffer_size',
    'preprocess_on_device',
    'stddev_rgb',
    # A flag of Garden's sets it for evaluation too.
    'tf_data_service_address',
    'tfds_data_dir',
    'tfds_name',
    'tfds_split',
  }
)
_USED_IN_TRAINING = frozenset(
  {
    'aug_rand_hflip',
    'aug_type',
    'crop_padding',
    'crop_padding_mode',
    'enable_tf_data_service',
    'seed',
    'stratified',
  }
)

_Check = tuple[Callable[[Any], bool], str]
# Place, what is to be there, its name on the gin surface.
_Rule = tuple[str, _Check, str]

_PATTERNS_PLACE = 'trainer.optimizer_config.optimizer.sgd_coupled_decay'

# Its feature maps are halved three times.
RESNET9_LAST_LEVEL = 3


def check(params: cfg.ExperimentConfig, num_replicas: int) -> None:
  """Raises where a value of an image classification experiment cannot work.

  Args:
    params: A config whose types `check_types` has checked.
    num_replicas: Of all workers' devices.

  Raises:
    UserError: At the first such value.
  """
  for data in ('train_data', 'validation_data'):
    _check_used(getattr(params.task, data), f'task.{data}.')
  _check_rules(params, _RULES)
  _check_knots(
    params.trainer.optimizer_config.learning_rate,
    ' (gin: 0 < resnet9_cifar10.peak_epoch < resnet9_cifar10.epochs less '
    'flat_epochs)',
  )
  _check_length(params.trainer)
  _check_warmup(params.trainer.optimizer_config)
  _check_names(params.task.model)
  _check_losses(params.task.losses)
  _check_init_checkpoint(params.task.init_checkpoint)
  _check_patterns(params.trainer.optimizer_config.optimizer)
  _check_norm(params, num_replicas)
  _check_best_metric(params)


def check_other_task(params: cfg.ExperimentConfig, num_replicas: int) -> None:
  """Raises where a value cannot work, in an experiment of any other task.

  Args:
    params: A config whose types `check_types` has checked.
    num_replicas: Of all workers' devices.

  Raises:
    UserError: At the first such value.
  """
  _check_rules(params, _RULES_OF_OTHER_TASKS)
  if _look_up(params, 'task.train_data.image_feature.num_channels') == 3:
    _check_rules(params, _IMAGE_FEATURE_RULES)
  init_checkpoint = getattr(params.task, 'init_checkpoint', None)
  _check_init_checkpoint(init_checkpoint)
  backbone = _resnet9(params)
  if backbone:
    _check_levels(params.task.model)
    _check_pyramid(params.task)
    _check_norm(params, num_replicas)
    reads_backbone = begins_with_backbone(params.task)
    if backbone.first_layer == 'whitening' and not reads_backbone:
      raise UserError(
        "task.model.backbone.resnet9.first_layer='whitening' needs filters, "
        'which resnet9_cifar10 computes from its training images; name a run '
        'of it as task.init_checkpoint, of which the backbone is read.'
      )
  _check_average(params)
  learning_rate = _look_up(params, 'trainer.optimizer_config.learning_rate')
  _check_knots(learning_rate)
  _check_warmup(params.trainer.optimizer_config)
  if getattr(learning_rate, 'type', None) == 'piecewise_linear':
    steps = learning_rate.piecewise_linear.steps_per_epoch
    if steps < 1:
      raise UserError(
        'trainer.optimizer_config.learning_rate.piecewise_linear.'
        f'steps_per_epoch={steps} must be at least 1: the steps of an epoch, '
        'or 1 for knots that are steps.'
      )
  optimizer = getattr(params.trainer.optimizer_config, 'optimizer', None)
  if optimizer:
    _check_patterns(optimizer)


def begins_with_backbone(task: cfg.TaskConfig) -> bool:
  """Whether a task begins with a checkpoint's backbone, or all of its model."""
  if not getattr(task, 'init_checkpoint', None):
    return False
  modules = getattr(task, 'init_checkpoint_modules', None) or ()
  return 'all' in modules or 'backbone' in modules


def averages_inside_loss_scale(params: cfg.ExperimentConfig) -> bool:
  """Whether float16 cannot be trained in: Garden's own average fails there.

  The average of this package's experiments is outside of the loss scale.

  Args:
    params: Any experiment.
  """
  ema = getattr(params.trainer.optimizer_config, 'ema', None)
  return bool(ema) and not isinstance(ema, optimization.MovingAverageConfig)


def check_complete(params: cfg.ExperimentConfig) -> None:
  """Raises where an experiment leaves open what a training needs.

  Garden's general experiments have neither steps nor an optimizer nor batches.

  Args:
    params: A config whose values `check` or `check_other_task` has checked.

  Raises:
    UserError: At the first such value.
  """
  check_trainer(params.trainer)
  optimizer = params.trainer.optimizer_config
  for place, config in (
    ('optimizer', getattr(optimizer, 'optimizer', None)),
    ('learning_rate', getattr(optimizer, 'learning_rate', None)),
  ):
    if config is None or config.type is None:
      raise UserError(
        f'trainer.optimizer_config.{place}.type=None must be chosen; '
        'the experiment leaves it open.'
      )
  for data in ('train_data', 'validation_data'):
    batch_size = getattr(params.task, data).global_batch_size
    if batch_size < 1:
      raise UserError(
        f'task.{data}.global_batch_size={batch_size} must be at least 1.'
      )


def check_files(params: cfg.ExperimentConfig, mode: str) -> None:
  """Raises where files of examples are not there.

  Args:
    params: Any experiment; data that TFDS reads is not looked at.
    mode: One of Garden's modes, which tells what is read.

  Raises:
    UserError: At the first pattern or path that names no file.
  """
  for word, name in (('train', 'train_data'), ('eval', 'validation_data')):
    data = getattr(params.task, name)
    if word not in mode or data.tfds_name:
      continue
    for pattern in _file_patterns(data.input_path):
      # Garden takes other characters of a pattern as they are.
      is_pattern = '*' in pattern or '?' in pattern
      find = tf.io.gfile.glob if is_pattern else tf.io.gfile.exists
      if not find(pattern):
        raise UserError(
          f"task.{name}.input_path: '{pattern}' names no file; name TFRecord "
          'files of examples.'
        )


def _file_patterns(paths: Any) -> list[str]:
  """Returns what an `input_path` lists; '' where it lists nothing."""
  if isinstance(paths, hyperparams.Config):
    return []  # For a task with a reader of its own.
  joined = paths if isinstance(paths, str) else ','.join(paths)
  parts = [part.strip() for part in joined.split(',')]
  return list(filter(None, parts)) or ['']


def check_patterns_find(optimizer: Any, names: Sequence[str]) -> None:
  """Raises for an expression that finds no variable, and so would do nothing.

  Args:
    optimizer: A config of optimizers that `check` or `check_other_task` has
      checked; of any but `sgd_coupled_decay` nothing is asked.
    names: Of the model's trainable variables, as the optimizer knows them.

  Raises:
    UserError: At the first such expression.
  """
  for key, pattern in _patterns(optimizer):
    if not any(re.search(pattern, name) for name in names):
      there = sorted(names)
      listed = ', '.join(there[:5]) + (', …' if len(there) > 5 else '')
      raise UserError(
        f"{_PATTERNS_PLACE}.{key}: '{pattern}' finds no variable that is "
        f'trained; correct it or leave it out, there are {listed}.'
      )


def _check_average(params: cfg.ExperimentConfig) -> None:
  precision = params.runtime.mixed_precision_dtype
  if precision == 'float16' and averages_inside_loss_scale(params):
    raise UserError(
      "runtime.mixed_precision_dtype='float16' cannot be trained in with "
      "trainer.optimizer_config.ema, Garden's average; use 'bfloat16' or "
      "'float32', or leave one of them out."
    )


def _check_levels(model: Any) -> None:
  """Raises where a decoder or head reads a level that ResNet9 does not have."""
  decoder: Any = getattr(model, 'decoder', None)
  kind: str = getattr(decoder, 'type', None) or ''
  places = {
    'aspp': ('decoder.aspp.level', 'head.level'),
    'fpn': ('min_level',),
    'nasfpn': ('min_level',),
    # A detector reads all levels to the last from the backbone itself.
    'identity': ('head.level', 'max_level'),
  }.get(kind, ())
  levels = {place: _look_up(model, place) for place in places}
  beyond = [
    f'task.model.{place}={level}'
    for place, level in levels.items()
    if isinstance(level, int) and level > RESNET9_LAST_LEVEL
  ]
  if beyond:
    verb = 'do' if len(beyond) > 1 else 'does'
    raise UserError(
      f'{" and ".join(beyond)} {verb} not exist in resnet9, which ends at '
      f'level {RESNET9_LAST_LEVEL}, a stride of 8; use at most that'
      f'{", or decoder.type=fpn" if kind == "identity" else ""}.'
    )
  if kind == 'aspp' and len(set(levels.values())) > 1:
    raise UserError(
      f'task.model.head.level={levels["head.level"]} is not the level of '
      f'task.model.decoder.aspp.level={levels["decoder.aspp.level"]}; use one.'
    )


def _check_pyramid(task: Any) -> None:
  """Raises where a level would not be half the size of the one before."""
  model: Any = getattr(task, 'model', None)
  kind = _look_up(model, 'decoder.type')
  fusion = _look_up(model, 'head.feature_fusion')
  # Garden's parsers of detectors pad to the stride of the last level.
  pads = hasattr(model, 'anchor') and any(
    _look_up(task, f'{data}.parser.pad') is not False
    for data in ('train_data', 'validation_data')
  )
  if pads or fusion in ('pyramid_fusion', 'panoptic_fpn_fusion'):
    last = model.max_level
  elif kind == 'fpn' and model.min_level < RESNET9_LAST_LEVEL:
    last = RESNET9_LAST_LEVEL
  else:
    return
  size, stride = [side or 0 for side in model.input_size[:2]], 2**last
  fitting = [-(-side // stride) * stride for side in size]
  if size != fitting:
    raise UserError(
      f'task.model.input_size={size} must be multiples of {stride}, the stride '
      f'of level {last}; use {fitting}.'
    )


def _look_up(config: Any, place: str) -> Any:
  """Returns the value at a dotted path; None where there is none."""
  for key in place.split('.'):
    config = getattr(config, key, None)
  return config


def check_trainer(trainer: cfg.TrainerConfig) -> None:
  """Raises where a count of steps cannot work.

  Args:
    trainer: A config whose counts that were left open are filled in.

  Raises:
    UserError: At the first such value.
  """
  for key in _COUNTS:
    value = getattr(trainer, key)
    if value < 1:
      raise UserError(f'trainer.{key}={value} must be at least 1.')
  if trainer.validation_steps < 1 and trainer.validation_steps != -1:
    raise UserError(
      f'trainer.validation_steps={trainer.validation_steps} must be at least '
      '1, or -1 for all of the data.'
    )
  if trainer.summary_interval % trainer.steps_per_loop:
    raise UserError(
      f'trainer.summary_interval={trainer.summary_interval} must be a multiple '
      f'of trainer.steps_per_loop={trainer.steps_per_loop}.'
    )


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
  """Raises for an option that would be ignored in silence."""
  trains = place == 'task.train_data.'
  used = _USED_DATA_FIELDS | (_USED_IN_TRAINING if trains else frozenset())
  where = 'with data in memory' if trains else 'in evaluation'
  default = type(data)(is_training=data.is_training)
  for field in dataclasses.fields(data):
    if field.name in used:
      continue
    value, usual = getattr(data, field.name), getattr(default, field.name)
    # A file that a run wrote has lists for tuples.
    if value != usual and not (
      isinstance(usual, tuple) and value == list(usual)
    ):
      shown = '' if isinstance(value, hyperparams.Config) else f'={value!r}'
      raise UserError(
        f'{place}{field.name}{shown} has no effect {where}; leave it out.'
      )
  if data.is_training != trains:
    raise UserError(f'{place}is_training must be {trains}.')
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
    # Garden's own configs lack what this package's add.
    config = getattr(config, key, None)
    if config is None:
      return
  yield config


def _check_losses(losses: garden.Losses) -> None:
  if losses.use_binary_cross_entropy and not losses.one_hot:
    raise UserError(
      'task.losses.use_binary_cross_entropy=True needs '
      'task.losses.one_hot=True.'
    )
  if not losses.label_smoothing:
    return
  place = f'task.losses.label_smoothing={losses.label_smoothing}'
  if losses.use_binary_cross_entropy:
    raise UserError(
      f'{place} has no effect with task.losses.use_binary_cross_entropy=True; '
      'leave one of them out.'
    )
  if not losses.one_hot:
    raise UserError(
      f'{place} needs task.losses.one_hot=True '
      '(gin: resnet9_cifar10.label_smoothing sets both).'
    )


def _check_init_checkpoint(path: str | None) -> None:
  if path and not (
    tf.train.latest_checkpoint(path) or tf.io.gfile.exists(f'{path}.index')
  ):
    raise UserError(
      f"task.init_checkpoint='{path}' is neither a checkpoint nor a folder of "
      'checkpoints; leave it out to begin with random weights.'
    )


def _patterns(optimizer: Any) -> list[tuple[str, str]]:
  """Returns the expressions of `sgd_coupled_decay`, with where they stand."""
  if optimizer.type != 'sgd_coupled_decay':
    return []
  config = optimizer.sgd_coupled_decay
  return [
    *(
      ('exclude_from_weight_decay', pattern)
      for pattern in config.exclude_from_weight_decay
    ),
    *(('lr_groups', group.pattern) for group in config.lr_groups),
  ]


def _check_patterns(optimizer: Any) -> None:
  """Raises for an expression that cannot be compiled."""
  for key, pattern in _patterns(optimizer):
    if not pattern:
      raise UserError(
        f"{_PATTERNS_PLACE}.{key}: the pattern '' finds every variable; give "
        "'.*' if it should."
      )
    try:
      re.compile(pattern)
    except re.error as error:
      raise UserError(
        f"{_PATTERNS_PLACE}.{key}: '{pattern}' is no regular expression, "
        f'{error}.'
      ) from error
  if optimizer.type != 'sgd_coupled_decay':
    return
  for group in optimizer.sgd_coupled_decay.lr_groups:
    for key in ('lr_multiplier', 'weight_decay_multiplier'):
      value = getattr(group, key)
      if not 0 <= value < math.inf:
        raise UserError(
          f"{_PATTERNS_PLACE}.lr_groups of '{group.pattern}': {key}={value!r} "
          'must be at least 0.'
        )


def _resnet9(params: cfg.ExperimentConfig) -> Any:
  """Returns the config of the backbone where it is ResNet9."""
  backbone = getattr(getattr(params.task, 'model', None), 'backbone', None)
  is_resnet9 = getattr(backbone, 'type', None) == 'resnet9'
  return backbone.resnet9 if backbone and is_resnet9 else None


def _check_rules(params: cfg.ExperimentConfig, rules: Sequence[_Rule]) -> None:
  for place, (accepts, requirement), argument in rules:
    for value in _chosen(params, place):
      if not accepts(value):
        mend = f' (gin: resnet9_cifar10.{argument})' if argument else ''
        raise UserError(f'{place}={value!r} must be {requirement}{mend}.')


def _check_norm(params: cfg.ExperimentConfig, num_replicas: int) -> None:
  """Raises where batch norm's groups do not divide the batch."""
  backbone = _resnet9(params)
  size = backbone.norm_group_size if backbone else 0
  if not size:
    return
  place = f'task.model.backbone.resnet9.norm_group_size={size}'
  if params.task.model.norm_activation.use_sync_bn:
    raise UserError(
      f'{place} and task.model.norm_activation.use_sync_bn=True exclude each '
      'other; choose one.'
    )
  batch_size = params.task.train_data.global_batch_size
  if batch_size % (size * num_replicas):
    raise UserError(
      f'{place} does not divide the batch of {batch_size} images on '
      f'{num_replicas} device(s); use a divisor.'
    )


def _check_best_metric(params: cfg.ExperimentConfig) -> None:
  top_k = f'top_{params.task.evaluation.top_k}_accuracy'
  metrics = ['', 'accuracy', top_k, 'validation_loss']
  if params.task.evaluation.mirror:
    metrics.append('accuracy_mirror')
  metric = params.trainer.best_checkpoint_eval_metric
  if metric not in metrics:
    raise UserError(
      f'trainer.best_checkpoint_eval_metric={metric!r} must be one of '
      f'{", ".join(metrics)}.'
    )
  better = 'lower' if metric == 'validation_loss' else 'higher'
  comparison = params.trainer.best_checkpoint_metric_comp
  if metric and comparison != better:
    raise UserError(
      f"trainer.best_checkpoint_metric_comp='{comparison}' must be '{better}' "
      f'for {metric}.'
    )


def _check_length(trainer: cfg.TrainerConfig) -> None:
  """Raises where the rates are not those of the whole training."""
  learning_rate = trainer.optimizer_config.learning_rate
  if learning_rate.type != 'piecewise_linear':
    return
  schedule = learning_rate.piecewise_linear
  last = schedule.epochs[-1]
  if trainer.epochs != last:
    raise UserError(
      f'trainer.epochs={trainer.epochs:g}, but the last knot of the learning '
      f'rate is at epoch {last:g}; set both alike, as resnet9_cifar10.epochs '
      'does.'
    )


def _check_knots(config: Any, mend: str = '') -> None:
  """Raises where a piecewise linear schedule does not run forward."""
  if config is None or config.type != 'piecewise_linear':
    return
  epochs, values = (
    config.piecewise_linear.epochs,
    config.piecewise_linear.values,
  )
  rising = all(a < b for a, b in itertools.pairwise(epochs))
  if not rising or not 2 <= len(epochs) == len(values):
    raise UserError(
      'trainer.optimizer_config.learning_rate.piecewise_linear has knots at '
      f'epochs {epochs} of rates {values}; the epochs must rise, one a rate'
      f'{mend}.'
    )


def _check_warmup(optimizer_config: Any) -> None:
  """Raises where Garden's warm-up would take the place of the first knots."""
  kind = _look_up(optimizer_config, 'warmup.type')
  steps = _look_up(optimizer_config, f'warmup.{kind}.warmup_steps')
  schedule = _look_up(optimizer_config, 'learning_rate.type')
  if steps and schedule == 'piecewise_linear':
    raise UserError(
      f"trainer.optimizer_config.warmup.type='{kind}' would replace the first "
      f'{steps} steps of the piecewise linear rate, whose knots can rise '
      'themselves; set it to null.'
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
      "'celu' or the name of a Keras activation such as 'relu' "
      '(gin: resnet9_cifar10.activation).'
    ) from error


# What Garden's trainer counts in steps or files.
_COUNTS = (
  'train_steps',
  'steps_per_loop',
  'summary_interval',
  'checkpoint_interval',
  'validation_interval',
  'max_to_keep',
)


def _one_of(*names: str | None) -> _Check:
  return lambda v: v in names, f'one of {", ".join(map(str, names))}'


def _all(check: _Check) -> _Check:
  return lambda values: all(map(check[0], values)), f'numbers {check[1]}'


_AT_LEAST_1: _Check = (lambda v: 1 <= v < math.inf, 'at least 1')
_AT_LEAST_0: _Check = (lambda v: 0 <= v < math.inf, 'at least 0')
_ABOVE_0: _Check = (lambda v: 0 < v < math.inf, 'more than 0')
_SEED: _Check = (lambda v: 0 <= v < 2**32, 'at least 0 and less than 2**32')
_SHARE: _Check = (lambda v: 0 <= v < 1, 'at least 0 and less than 1')
_MEAN_RGB: _Check = (lambda v: len(v) == 3, 'three numbers')
_STDDEV_RGB: _Check = (
  lambda v: _MEAN_RGB[0](v) and _all(_ABOVE_0)[0](v),
  'three numbers more than 0',
)
_CHANNELS: _Check = (
  lambda v: len(v) == 4 and min(v) >= 1,
  'four numbers of at least 1',
)

_BACKBONE_RULES: tuple[_Rule, ...] = (
  ('task.model.backbone.resnet9.channels', _CHANNELS, 'channels'),
  (
    'task.model.backbone.resnet9.first_layer',
    _one_of('conv', 'whitening'),
    'first_layer',
  ),
  (
    'task.model.backbone.resnet9.norm_group_size',
    _AT_LEAST_0,
    'norm_group_size',
  ),
)
_OPTIMIZER_RULES: tuple[_Rule, ...] = (
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
  ('trainer.optimizer_config.ema.average_decay', _SHARE, 'average_decay'),
  ('trainer.optimizer_config.ema.interval', _AT_LEAST_1, 'average_interval'),
  (
    'trainer.optimizer_config.learning_rate.piecewise_linear.values',
    _all(_AT_LEAST_0),
    'peak_learning_rate',
  ),
)
# The names on the gin surface are those of `resnet9_cifar10`.
_RULES_OF_OTHER_TASKS: tuple[_Rule, ...] = (
  *(
    (place, check, '')
    for place, check, _ in (*_BACKBONE_RULES, *_OPTIMIZER_RULES)
  ),
  ('task.normalization.mean_rgb', _MEAN_RGB, ''),
  ('task.normalization.stddev_rgb', _STDDEV_RGB, ''),
)
_IMAGE_FEATURE_RULES: tuple[_Rule, ...] = tuple(
  (f'task.{data}.image_feature.{key}', check, '')
  for data in ('train_data', 'validation_data')
  for key, check in (('mean', _MEAN_RGB), ('stddev', _STDDEV_RGB))
)
_RULES: tuple[_Rule, ...] = (
  ('task.model.num_classes', _AT_LEAST_0, 'num_classes'),
  ('task.model.pooling', _one_of('max', 'avg'), 'pooling'),
  ('task.model.dropout_rate', _SHARE, ''),
  ('task.model.logit_scale', _ABOVE_0, 'logit_scale'),
  ('task.model.norm_activation.norm_momentum', _SHARE, 'norm_momentum'),
  ('task.model.norm_activation.norm_epsilon', _ABOVE_0, 'norm_epsilon'),
  *_BACKBONE_RULES,
  ('task.losses.label_smoothing', _SHARE, 'label_smoothing'),
  ('task.train_data.global_batch_size', _AT_LEAST_1, 'batch_size'),
  ('task.validation_data.global_batch_size', _AT_LEAST_1, 'eval_batch_size'),
  *(
    (f'task.{data}.{place}', check, argument)
    for data in ('train_data', 'validation_data')
    for place, check, argument in (
      ('crop_padding', _AT_LEAST_0, 'crop_padding'),
      (
        'crop_padding_mode',
        _one_of(*augment.PADDING_MODES),
        'crop_padding_mode',
      ),
      ('stddev_rgb', _all(_ABOVE_0), 'stddev_rgb'),
      ('dtype', _one_of('float32', 'bfloat16', 'float16'), ''),
      ('aug_type.type', _one_of(None, 'cutout'), ''),
      ('aug_type.cutout.size', _AT_LEAST_1, 'cutout_size'),
    )
  ),
  ('runtime.seed', _SEED, 'seed'),
  ('trainer.epochs', _ABOVE_0, 'epochs'),
  *_OPTIMIZER_RULES,
)
