"""The data of a run: opened once, and each split decoded once."""

import functools

import tensorflow_datasets as tfds

from official_ext.configs.image_classification import (
  DataConfig,
  ImageClassificationTask,
)
from official_ext.dataloaders import image_source, in_memory, tfds_builder
from official_ext.dataloaders.image_source import ImageDataInfo, ImageSource
from official_ext.dataloaders.in_memory import ImageData

__all__ = ['DataSets', 'ImageDataInfo']


class DataSets:
  """A handle on what a task trains on and is evaluated on.

  Nothing is opened before it is asked for, and nothing decoded before `load`.
  """

  def __init__(self, task: ImageClassificationTask):
    """Takes the config of the task, which may still change."""
    self._task = task
    self._builders: dict[tuple[str, str], tfds.core.DatasetBuilder] = {}
    self._loaded: dict[tuple[str, ...], ImageData] = {}

  @functools.cached_property
  def train(self) -> ImageSource:
    """The training images, prepared if need be."""
    return self._open(self._task.train_data)

  @functools.cached_property
  def test(self) -> ImageSource:
    """The test images, prepared if need be."""
    return self._open(self._task.validation_data)

  def load(self, params: DataConfig) -> ImageData:
    """Returns the images of a split, in memory.

    Args:
      params: The task's training or validation data, or others like them.

    Raises:
      UserError: If they do not fit the model or the memory, or are damaged.
    """
    key = (
      params.tfds_name,
      params.tfds_data_dir,
      params.tfds_split,
      params.image_field_key,
      params.label_field_key,
    )
    if key not in self._loaded:
      self._loaded[key] = in_memory.load(self._source(params), self._task.model)
    return self._loaded[key]

  def prepare_in_own_process(self) -> None:
    """Prepares the data where TensorFlow must not compute anything yet here."""
    for params in (self._task.train_data, self._task.validation_data):
      tfds_builder.prepare_in_own_process(
        params.tfds_name, params.tfds_data_dir, image_source.place_of(params)
      )

  def _source(self, params: DataConfig) -> ImageSource:
    if params is self._task.train_data:
      return self.train
    if params is self._task.validation_data:
      return self.test
    return self._open(params)

  def _open(self, params: DataConfig) -> ImageSource:
    key = params.tfds_name, params.tfds_data_dir
    if key not in self._builders:
      self._builders[key] = tfds_builder.open_builder(
        *key, image_source.place_of(params)
      )
    return image_source.find(self._builders[key], params)
