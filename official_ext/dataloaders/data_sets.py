"""The data of a run: opened once, and each split decoded once."""

import concurrent.futures
import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds

from official_ext.configs.image_classification import (
  DataConfig,
  ImageClassificationTask,
)
from official_ext.dataloaders import (
  image_source,
  in_memory,
  resident,
  tfds_builder,
)
from official_ext.dataloaders.image_source import ImageDataInfo, ImageSource
from official_ext.dataloaders.in_memory import ImageData

__all__ = ['DataSets', 'ImageDataInfo', 'Store']


@dataclasses.dataclass
class Store:
  """What the runs of a process have opened and read so far.

  Attributes:
    builders: Data sets, by name and folder.
    loaded: Images in the memory of the host, or on their way there.
    copies: Images on devices.
  """

  builders: dict[Any, tfds.core.DatasetBuilder] = dataclasses.field(
    default_factory=dict
  )
  loaded: dict[Any, concurrent.futures.Future[ImageData]] = dataclasses.field(
    default_factory=dict
  )
  copies: dict[Any, resident.Copies] = dataclasses.field(default_factory=dict)


class DataSets:
  """A handle on what a task trains on and is evaluated on.

  Nothing is opened before it is asked for, and nothing decoded before `load`.
  """

  def __init__(self, task: ImageClassificationTask, store: Store | None = None):
    """Takes the config of the task, which may still change.

    Args:
      task: The config.
      store: Where to look first, and to keep what is opened and read.
    """
    self._task = task
    self._store = store or Store()

  @property
  def configs(self) -> list[DataConfig]:
    """Those of the training and of the test images."""
    return [self._task.train_data, self._task.validation_data]

  @functools.cached_property
  def train(self) -> ImageSource:
    """The training images, prepared if need be."""
    return self._open(self._task.train_data)

  @functools.cached_property
  def test(self) -> ImageSource:
    """The test images, prepared if need be."""
    return self._open(self._task.validation_data)

  @property
  def is_open(self) -> bool:
    """Whether the test images have been opened, as a run does at its start."""
    return 'test' in vars(self)

  def begin_loading(self) -> None:
    """Reads what is trained on and evaluated on while something else is done.

    The test images come first, which are fewer: what a network is evaluated by
    depends on them, and while the others are read its step can be compiled. The
    devices have to be set up. What is wrong with the images, `load` tells.

    Raises:
      UserError: If there are no such images.
    """
    with _one_after_the_other() as reader:
      for params in reversed(self.configs):
        self._loading(params, reader)

  def check(self, params: DataConfig) -> None:
    """Raises where the model cannot read a split's images, unread as they are.

    Raises:
      UserError: If it cannot, or cannot tell its classes apart.
    """
    in_memory.check_model(self.source(params), self._task.model)

  def has_loaded(self, params: DataConfig) -> bool:
    """Whether `load` returns at once."""
    loading = self._store.loaded.get(_key(params))
    return loading is not None and loading.done()

  def load(self, params: DataConfig) -> ImageData:
    """Returns the images of a split, in memory.

    Args:
      params: The task's training or validation data, or others like them.

    Raises:
      UserError: If they do not fit the model or the memory, or are damaged.
    """
    self.check(params)
    try:
      with _one_after_the_other() as reader:
        loading = self._loading(params, reader)
      return loading.result()
    except BaseException:
      # Another run of this process may find it mended.
      self._store.loaded.pop(_key(params), None)
      raise

  def _loading(
    self, params: DataConfig, reader: concurrent.futures.Executor
  ) -> concurrent.futures.Future[ImageData]:
    """Returns the images of a split, which a reader reads if none has."""
    key, loaded = _key(params), self._store.loaded
    if key not in loaded:
      loaded[key] = reader.submit(in_memory.load, self.source(params))
    return loaded[key]

  def reside(
    self, params: DataConfig, devices: Sequence[str]
  ) -> resident.Copies:
    """Returns the images of a split on each of some devices.

    Args:
      params: The task's training or validation data, or others like them.
      devices: Those of the replicas of this process, in their order.

    Raises:
      UserError: As `load`, or if they do not fit on a device.
    """
    key = _key(params), tuple(devices)
    if key not in self._store.copies:
      images = resident.copies(self.load(params), devices)
      self._store.copies[key] = images
    return self._store.copies[key]

  def prepare_in_own_process(self) -> None:
    """Prepares the data where TensorFlow must not compute anything yet here."""
    for params in self.configs:
      tfds_builder.prepare_in_own_process(
        params.tfds_name, params.tfds_data_dir, image_source.place_of(params)
      )

  def source(self, params: DataConfig) -> ImageSource:
    """Returns where the images of a split are, prepared if need be.

    Args:
      params: The task's training or validation data, or others like them.
    """
    if params is self._task.train_data:
      return self.train
    if params is self._task.validation_data:
      return self.test
    return self._open(params)

  def _open(self, params: DataConfig) -> ImageSource:
    key = params.tfds_name, params.tfds_data_dir
    builders = self._store.builders
    if key not in builders:
      builders[key] = tfds_builder.open_builder(
        *key, image_source.place_of(params)
      )
    return image_source.find(builders[key], params)


@contextlib.contextmanager
def _one_after_the_other() -> Iterator[concurrent.futures.Executor]:
  """Gives a thread to read on, which ends when it has read."""
  reader = concurrent.futures.ThreadPoolExecutor(1)
  try:
    yield reader
  finally:
    reader.shutdown(wait=False)


def _key(params: DataConfig) -> tuple[str, ...]:
  """Returns what images are told from others by."""
  return (
    params.tfds_name,
    params.tfds_data_dir,
    params.tfds_split,
    params.image_field_key,
    params.label_field_key,
  )
