"""Loads what a run has trained, to be used without the trainer."""

import contextlib
import dataclasses
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tf_keras
import yaml
from official.core import config_definitions as cfg
from official.core import exp_factory, task_factory

from official_ext.checkpoints import average, compatibility, restoring
from official_ext.checkpoints.folder import Checkpoints
from official_ext.configs import optimization, validation
from official_ext.configs.image_classification import DataConfig
from official_ext.configuration import gin_config
from official_ext.dataloaders import image_source, preprocessing
from official_ext.dataloaders.in_memory import ImageData
from official_ext.datasets import procedural_shapes  # noqa: F401
from official_ext.errors import UserError, one_line
from official_ext.experiments import small_images  # noqa: F401
from official_ext.files import paths, safe_yaml
from official_ext.runs import description, recorded_config
from official_ext.schema import fields
from official_ext.serving import image_batches
from official_ext.tasks import image_classification

# Its config class is that of every experiment of this package's task, and a
# run's params.yaml says all that is in it.
_EXPERIMENT = 'small_images'


@dataclasses.dataclass(frozen=True)
class TrainedModel:
  """A trained classifier, and what it was trained with.

  Attributes:
    model_dir: The run's folder.
    params: The run's config, in float32.
    task: Its task.
    model: The network, from normalised images to logits.
    step: Of the checkpoint that its weights are from.
    averaged: Whether the weights are averages over the training.
    class_names: One for each logit.
  """

  model_dir: str
  params: cfg.ExperimentConfig
  task: image_classification.ImageClassificationTask
  model: tf_keras.Model
  step: int
  averaged: bool
  class_names: list[str]

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the images that the model takes."""
    height, width, channels = self.params.task.model.input_size
    return height, width, channels

  def describe(self) -> str:
    """Returns one line on whose weights these are."""
    averaged = ', averaged weights' if self.averaged else ''
    return f'{self.model_dir} at step {self.step:,}{averaged}'

  def load(self, params: DataConfig) -> ImageData:
    """Returns the images of a split, with labels as the run had them.

    Args:
      params: The task's training or validation data.

    Raises:
      UserError: If they are not those of the run, or cannot be read.
    """
    data = self.task.data
    compatibility.check_images(self.model_dir, data, [params])
    return data.load(params)

  def preprocess(self, inputs: Any) -> tf.Tensor:
    """Normalises images to float32 `[batch, height, width, channels]`.

    Args:
      inputs: uint8 of that shape, or what else `image_batches.as_batch` takes.

    Raises:
      UserError: If it is not taken.
    """
    return preprocessing.for_evaluation(
      image_batches.as_batch(inputs, self.image_shape),
      self.params.task.validation_data,
    )

  def logits(self, images: Any) -> tf.Tensor:
    """Classifies images as the trainer's evaluation does.

    Args:
      images: uint8 `[batch, height, width, channels]`, any batch; or what else
        `image_batches.as_batch` takes: one image, a file, a list of them.

    Returns:
      float32 `[batch, num_classes]`; their softmax is the probabilities.

    Raises:
      UserError: If it is not taken, such as colours from 0 to 1.
    """
    return self.task.inference_step(self.preprocess(images), self.model)


def load_for_inference(
  model_dir: str, checkpoint: str = '', data_dir: str = ''
) -> TrainedModel:
  """Builds a run's model, in float32, and loads its weights.

  Where the run averages its weights, they are the averages.

  Args:
    model_dir: The run's folder; its `params.yaml` says what to build.
    checkpoint: A checkpoint, or a folder of some, inside `model_dir`: `best`,
      `ckpt-194` or `ckpt-194.index`; by default the newest good one.
    data_dir: Folder of TFDS data sets, where it is no longer the run's.

  Raises:
    UserError: If the folder is not that of a run of this package's task, or
      holds no good checkpoint.
  """
  folder = paths.local(model_dir, '--model_dir')
  validation.check_reachable(data_dir, '--data_dir')
  recorded_config.import_modules(pathlib.Path(folder))
  params = _read_params(folder)
  if data_dir:
    params.task.train_data.tfds_data_dir = data_dir
    params.task.validation_data.tfds_data_dir = data_dir
  with _float32():
    task = task_factory.get_task(params.task)
    model = task.build_model()
  step, averaged = _restore(params, task, model, folder, checkpoint)
  names = _class_names(pathlib.Path(folder), params)
  return TrainedModel(folder, params, task, model, step, averaged, names)


def _read_params(folder: str) -> cfg.ExperimentConfig:
  """Returns the config in a run's folder, to be used on any machine."""
  path = pathlib.Path(folder) / description.PARAMS
  try:
    override = safe_yaml.load(path.read_text())
  except OSError as error:
    raise UserError(
      f'--model_dir={folder} holds no {path.name} to read ({error.strerror}); '
      'name the folder of a run.'
    ) from error
  except (yaml.YAMLError, UnicodeDecodeError) as error:
    raise UserError(f'{path} is damaged: {one_line(error)}.') from error
  # The run's file says all; what gin binds here is for something else.
  with gin_config.unbound():
    params = exp_factory.get_exp_config(_EXPERIMENT)
  try:
    params.override(override, is_strict=True)
    fields.check(params)
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    reason = one_line(error).strip('"').partition('. ')[0]
    raise UserError(
      f'{path} is not of a run of {_EXPERIMENT} ({reason}); name the folder of '
      'one.'
    ) from error
  params.runtime.mixed_precision_dtype = 'float32'
  params.task.validation_data.dtype = 'float32'
  for data in (params.task.train_data, params.task.validation_data):
    data.override(
      {'enable_tf_data_service': False, 'tf_data_service_address': None}
    )
  return params


@contextlib.contextmanager
def _float32() -> Iterator[None]:
  """Leaves a notebook's own precision policy as it was."""
  policy = tf_keras.mixed_precision.global_policy()
  tf_keras.mixed_precision.set_global_policy('float32')
  try:
    yield
  finally:
    tf_keras.mixed_precision.set_global_policy(policy)


def _restore(
  params: cfg.ExperimentConfig,
  task: image_classification.ImageClassificationTask,
  model: tf_keras.Model,
  folder: str,
  name: str,
) -> tuple[int, bool]:
  """Loads the weights; returns their step, and whether they are averages."""
  checkpoint = tf.train.Checkpoint(
    model=model, global_step=tf.Variable(0, dtype=tf.int64)
  )
  path = _path_of(name, folder)
  holds_it = path if os.path.isdir(path) else os.path.dirname(path)
  averages = optimization.shadow(params.trainer.optimizer_config)
  swaps = average.is_beside(holds_it, averages)
  if swaps:
    optimizer = task.create_optimizer(params.trainer.optimizer_config)
    optimizer.shadow_copy(model)
    checkpoint.optimizer = optimizer
  if path != holds_it:
    _restore_file(checkpoint, path)
  elif not restoring.restore(checkpoint, Checkpoints(path), repair=False):
    raise UserError(
      f'{path} holds no checkpoint; train first, or name another.'
    )
  if swaps:
    optimizer.swap_weights()
  return int(checkpoint.global_step), bool(averages)


def _path_of(name: str, folder: str) -> str:
  """Returns the path of a checkpoint, or of a folder of some.

  Args:
    name: Its name in a run's folder; or its path, as a shell completes it.
    folder: The run's.
  """
  name = paths.checkpoint(os.path.expanduser(name))
  inside = (
    pathlib.Path(folder).resolve() in pathlib.Path(name).resolve().parents
  )
  there = os.path.isdir(name) or os.path.isfile(f'{name}.index')
  return name if inside and there else os.path.join(folder, name)


def _restore_file(checkpoint: tf.train.Checkpoint, path: str) -> None:
  try:
    status = checkpoint.restore(path).assert_existing_objects_matched()
  except (tf.errors.OpError, ValueError, AssertionError) as error:
    raise UserError(
      f'--checkpoint: {path} is no whole checkpoint of this run; name one of '
      'its ckpt-*.index, or best.'
    ) from error
  status.expect_partial()


def _class_names(
  folder: pathlib.Path, params: cfg.ExperimentConfig
) -> list[str]:
  """Returns the names of the classes; numbers where there are none."""
  names = description.class_names(folder) or _class_names_of_data(params)
  count = params.task.model.num_classes
  return [*names[:count], *map(str, range(len(names), count))]


def _class_names_of_data(params: cfg.ExperimentConfig) -> list[str]:
  """Returns them from the data set, which may be gone, or another one."""
  data = params.task.train_data
  try:
    names = image_source.class_names(data)
  except UserError as error:
    print(f'warning: classes have no names: {error}', file=sys.stderr)
    return []
  print(
    f'warning: the run has no {description.CLASS_NAMES}; its classes are '
    f'called as those of {data.tfds_name} are now.',
    file=sys.stderr,
  )
  return names
