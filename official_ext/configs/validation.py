"""Checks what the fields of several configs say together, before work starts.

What one field or one config may say stands beside it; see `fields`.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tensorflow as tf
from official.core import config_definitions as cfg
from official.modeling import hyperparams
from official.vision.configs import image_classification as garden

from official_ext.configs import (
  backbones,
  coco_annotations,
  common,
  optimization,
)
from official_ext.configs.image_classification import (
  DataConfig,
  ImageClassificationTask,
)
from official_ext.errors import UserError, reason
from official_ext.files import paths
from official_ext.ops import views

_T = TypeVar('_T')


def check(params: cfg.ExperimentConfig, num_replicas: int) -> None:
  """Raises where the values of an experiment cannot work together.

  Args:
    params: A config whose fields `fields.check` has checked.
    num_replicas: Of all workers' devices.

  Raises:
    UserError: At the first such value.
  """
  _check_init_checkpoint(getattr(params.task, 'init_checkpoint', None))
  _check_schedule(params)
  _check_lengths(params)
  _check_groups(params)
  _check_average(params)
  network = _network(params.task)
  if network:
    _check_levels(params.task.model, network)
    _check_pyramid(params.task, network)
    network.check_batch(
      f'task.model.backbone.{params.task.model.backbone.type}.',
      params.task.train_data.global_batch_size,
      num_replicas,
      params.task.model.norm_activation.use_sync_bn,
    )
  if isinstance(params.task, ImageClassificationTask):
    _check_classification(params)
  else:
    _check_other_task(params.task, network)


def check_which_trains(task: ImageClassificationTask) -> None:
  """Raises where training or validation data are not for what they are.

  Args:
    task: A config whose fields need not have been checked.

  Raises:
    UserError: If one is used as the other.
  """
  for place, data, trains in (
    ('task.train_data', task.train_data, True),
    ('task.validation_data', task.validation_data, False),
  ):
    if data.is_training != trains:
      raise UserError(f'{place}.is_training must be {trains}.')


def _check_classification(params: cfg.ExperimentConfig) -> None:
  task = params.task
  for place in ('train_data', 'validation_data'):
    data_dir = getattr(task, place).tfds_data_dir
    check_reachable(data_dir, f'task.{place}.tfds_data_dir')
  for name in task.evaluation.views:
    views.get(name)
  resizes = task.train_data.progressive_resizing is not None
  if resizes and params.trainer.train_tf_while_loop:
    raise UserError(
      'trainer.train_tf_while_loop=True is one program for all sizes of '
      'task.train_data.progressive_resizing; set it to False.'
    )
  metrics = [
    '',
    'accuracy',
    f'top_{task.evaluation.top_k}_accuracy',
    'validation_loss',
    *(views.metric_name(name) for name in task.evaluation.views),
  ]
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


def _check_other_task(task: cfg.TaskConfig, network: Any) -> None:
  for data in ('train_data', 'validation_data'):
    feature = look_up(task, f'{data}.image_feature')
    for key in ('mean', 'stddev') if feature else ():
      value = getattr(feature, key)
      if len(value) != feature.num_channels:
        raise UserError(
          f'task.{data}.image_feature.{key}={value} is not one number for each '
          f'of num_channels={feature.num_channels}.'
        )
  if isinstance(task, garden.ImageClassificationTask):
    _check_labels(task)
  if network and network.needs_filters and not begins_with_backbone(task):
    raise UserError(
      f'task.model.backbone.{task.model.backbone.type} whitens its input and '
      'needs filters, which small_images computes from its training images; '
      'name a run of it as task.init_checkpoint, of which the backbone is read.'
    )


def _check_labels(task: garden.ImageClassificationTask) -> None:
  """Raises where the loss takes other labels than the input makes."""
  data, losses = task.train_data, task.losses
  if data.is_multilabel:
    return
  if data.mixup_and_cutmix and (losses.one_hot or not losses.soft_labels):
    raise UserError(
      'task.train_data.mixup_and_cutmix mixes labels, which '
      f'task.losses.soft_labels={losses.soft_labels} with '
      f'one_hot={losses.one_hot} does not take; set them to True and False.'
    )
  for key in ('soft_labels', 'use_binary_cross_entropy'):
    if getattr(losses, key) and not data.mixup_and_cutmix:
      raise UserError(
        f'task.losses.{key}=True needs labels as only '
        'task.train_data.mixup_and_cutmix makes them; leave it out, or set '
        'that.'
      )


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
    params: A config that `check` has checked.

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


def check_trainer(trainer: cfg.TrainerConfig) -> None:
  """Raises where a count of steps cannot work.

  Args:
    trainer: A config whose counts that were left open are filled in.

  Raises:
    UserError: At the first such value.
  """
  if trainer.train_steps < 1:
    raise UserError(
      f'trainer.train_steps={trainer.train_steps} must be at least 1.'
    )
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


def check_files(params: cfg.ExperimentConfig, mode: str) -> None:
  """Raises where files of examples are not there.

  Args:
    params: Any experiment; data that TFDS reads is not looked at.
    mode: One of Garden's modes, which tells what is read.

  Raises:
    UserError: At the first pattern or path that names no file, or annotations
      that cannot be read.
  """
  for word, name in (('train', 'train_data'), ('eval', 'validation_data')):
    data = getattr(params.task, name)
    if word not in mode or data.tfds_name:
      continue
    place = f'task.{name}.input_path'
    for pattern in _file_patterns(data.input_path):
      # Garden takes other characters of a pattern as they are.
      is_pattern = '*' in pattern or '?' in pattern
      find = tf.io.gfile.glob if is_pattern else tf.io.gfile.exists
      if not _looked_for(find, pattern, place):
        raise UserError(
          f"{place}: '{pattern}' names no file; name TFRecord files of "
          'examples.'
        )
  if 'eval' in mode:
    coco_annotations.check(params.task)


def _file_patterns(paths: Any) -> list[str]:
  """Returns what an `input_path` lists; '' where it lists nothing."""
  if isinstance(paths, hyperparams.Config):
    return []  # For a task with a reader of its own.
  joined = paths if isinstance(paths, str) else ','.join(paths)
  parts = [part.strip() for part in joined.split(',')]
  return list(filter(None, parts)) or ['']


def check_fits(
  data: DataConfig, place: str, image_shape: Sequence[int], model: Any
) -> None:
  """Raises where the input path or the network does not fit the images.

  Args:
    data: Training or validation data.
    place: Its dotted path.
    image_shape: Height, width and channels of the data.
    model: The config of the model.

  Raises:
    UserError: At the first value that does not fit.
  """
  name, side = data.tfds_name, min(image_shape[:2])
  network = model.backbone.get()
  if isinstance(network, backbones.Network) and side < network.least_side:
    raise UserError(
      f"{place}.tfds_name='{name}' has images of {list(image_shape)}; "
      f'{model.backbone.type} divides them by {2**network.last_level}, so use '
      f'at least {network.least_side} pixels a side.'
    )
  for key in ('mean_rgb', 'stddev_rgb'):
    value = getattr(data, key)
    if len(value) != image_shape[2]:
      raise UserError(
        f'{place}.{key}={value} is not one number for each of the '
        f'{image_shape[2]} channels of {name} (gin: data.{key}).'
      )
  for number, augmentation in enumerate(data.augmentations):
    augmentation.get().check_fits(
      side, f'{place}.augmentations[{number}].{augmentation.type}.'
    )


def _looked_for(find: Callable[[str], _T], path: str, place: str) -> _T:
  """Returns what TensorFlow finds at a path, which may be an address.

  Raises:
    UserError: If it cannot look there.
  """
  try:
    return find(path)
  except tf.errors.OpError as error:
    raise UserError(
      f'{place}={path} cannot be reached ({reason(error)}); copy it to this '
      'machine or mount it, and name that.'
    ) from error


def check_reachable(data_dir: str, place: str) -> None:
  """Raises where a folder of data sets is an address that does not answer.

  Args:
    data_dir: The folder; empty for TFDS' default.
    place: What names it, for errors.

  Raises:
    UserError: If TensorFlow cannot look there.
  """
  if paths.is_remote(data_dir):
    _looked_for(tf.io.gfile.exists, data_dir, place)


def _check_init_checkpoint(path: str | None) -> None:
  place = 'task.init_checkpoint'
  if path and not (
    _looked_for(tf.train.latest_checkpoint, path, place)
    or _looked_for(tf.io.gfile.exists, f'{path}.index', place)
  ):
    raise UserError(
      f"{place}='{path}' is neither a checkpoint nor a folder of "
      'checkpoints; leave it out to begin with random weights.'
    )


def _check_schedule(params: cfg.ExperimentConfig) -> None:
  """Raises where the learning rate does not have the length of the training."""
  kind, chosen = _schedule(params)
  if not hasattr(chosen, 'steps_per_epoch'):
    return
  warmup = look_up(params, 'trainer.optimizer_config.warmup.type')
  steps = look_up(
    params, f'trainer.optimizer_config.warmup.{warmup}.warmup_steps'
  )
  if steps:
    raise UserError(
      f"trainer.optimizer_config.warmup.type='{warmup}' would replace the "
      f'first {steps} steps of the {kind} rate, which can rise by itself; set '
      'it to null.'
    )
  last = common.last_epoch(chosen)
  has_epochs = isinstance(params.task, ImageClassificationTask)
  if has_epochs and last and last != params.trainer.epochs:
    raise UserError(
      f'trainer.epochs={params.trainer.epochs:g}, but '
      f'trainer.optimizer_config.learning_rate.{kind} ends at epoch {last:g}; '
      'set both alike.'
    )


def _schedule(params: cfg.ExperimentConfig) -> tuple[str | None, Any]:
  """Returns the type and the config of the learning rate, as far as chosen."""
  schedule = look_up(params, 'trainer.optimizer_config.learning_rate')
  kind = getattr(schedule, 'type', None)
  return kind, schedule.get() if kind else None


def _check_lengths(params: cfg.ExperimentConfig) -> None:
  """Raises where nothing tells the length of what counts in epochs."""
  if isinstance(params.task, ImageClassificationTask):
    return
  counting = optimization.counting_epochs(params.trainer.optimizer_config)
  for key, config in counting.items():
    place = f'trainer.optimizer_config.{key}'
    if config.steps_per_epoch < 1:
      raise UserError(
        f'{place}.steps_per_epoch={config.steps_per_epoch} must be at '
        'least 1: the steps of an epoch, or 1 where epochs are steps.'
      )
    if not config.epochs:
      steps = params.trainer.train_steps
      raise UserError(
        f'{place}.epochs={config.epochs} is to be the length of the '
        f'training, here {steps / config.steps_per_epoch:g}: '
        f'trainer.train_steps={steps} over its steps_per_epoch.'
      )


def _check_groups(params: cfg.ExperimentConfig) -> None:
  """Raises where the schedule does not tell when a group of variables ends."""
  optimizer = look_up(params, 'trainer.optimizer_config.optimizer')
  chosen: Any = optimizer.get() if optimizer and optimizer.type else None
  kind, schedule = _schedule(params)
  last = None
  if hasattr(schedule, 'steps_per_epoch'):
    # That of the trainer may not be filled in yet.
    last = common.last_epoch(schedule) or params.trainer.epochs
  for index, group in enumerate(getattr(chosen, 'lr_groups', ())):
    place = f'trainer.optimizer_config.optimizer.{optimizer.type}'
    group.check_end(f'{place}.lr_groups[{index}].', str(kind), last)


def _check_average(params: cfg.ExperimentConfig) -> None:
  config = params.trainer.optimizer_config
  if getattr(config, 'ema', None) and getattr(config, 'lookahead', None):
    raise UserError(
      'trainer.optimizer_config.ema and trainer.optimizer_config.lookahead '
      'cannot both be evaluated; set one of them to null.'
    )
  precision = params.runtime.mixed_precision_dtype
  if precision == 'float16' and averages_inside_loss_scale(params):
    raise UserError(
      "runtime.mixed_precision_dtype='float16' cannot be trained in with "
      "trainer.optimizer_config.ema, Garden's average; use 'bfloat16' or "
      "'float32', or leave one of them out."
    )


def _network(task: cfg.TaskConfig) -> backbones.Network | None:
  """Returns the config of the backbone where it is one of the registered."""
  backbone = look_up(task, 'model.backbone')
  chosen = backbone.get() if backbone and backbone.type else None
  return chosen if isinstance(chosen, backbones.Network) else None


def _check_levels(model: Any, network: backbones.Network) -> None:
  """Raises where a decoder or head reads a level that there is not."""
  kind: str = look_up(model, 'decoder.type') or ''
  places = {
    'aspp': ('decoder.aspp.level', 'head.level'),
    'fpn': ('min_level',),
    'nasfpn': ('min_level',),
    # A detector reads all levels to the last from the backbone itself.
    'identity': ('head.level', 'max_level'),
  }.get(kind, ())
  levels = {place: look_up(model, place) for place in places}
  last = network.last_level
  beyond = [
    f'task.model.{place}={level}'
    for place, level in levels.items()
    if isinstance(level, int) and level > last
  ]
  if beyond:
    verb = 'do' if len(beyond) > 1 else 'does'
    raise UserError(
      f'{" and ".join(beyond)} {verb} not exist in {model.backbone.type}, '
      f'which ends at level {last}, a stride of {2**last}; use at most that'
      f'{", or decoder.type=fpn" if kind == "identity" else ""}.'
    )
  if kind == 'aspp' and len(set(levels.values())) > 1:
    raise UserError(
      f'task.model.head.level={levels["head.level"]} is not the level of '
      f'task.model.decoder.aspp.level={levels["decoder.aspp.level"]}; use one.'
    )


def _check_pyramid(task: Any, network: backbones.Network) -> None:
  """Raises where a level would not be half the size of the one before."""
  model: Any = task.model
  kind = look_up(model, 'decoder.type')
  fusion = look_up(model, 'head.feature_fusion')
  # Garden's parsers of detectors pad to the stride of the last level.
  pads = hasattr(model, 'anchor') and any(
    look_up(task, f'{data}.parser.pad') is not False
    for data in ('train_data', 'validation_data')
  )
  if pads or fusion in ('pyramid_fusion', 'panoptic_fpn_fusion'):
    last = model.max_level
  elif kind == 'fpn' and model.min_level < network.last_level:
    last = network.last_level
  else:
    return
  network.check_pyramid(f'task.model.backbone.{model.backbone.type}.')
  size, stride = [side or 0 for side in model.input_size[:2]], 2**last
  fitting = [-(-side // stride) * stride for side in size]
  if size != fitting:
    raise UserError(
      f'task.model.input_size={size} must be multiples of {stride}, the stride '
      f'of level {last}; use {fitting}.'
    )


def look_up(config: Any, place: str) -> Any:
  """Returns the value at a dotted path; None where there is none."""
  for key in place.split('.'):
    config = getattr(config, key, None)
  return config
