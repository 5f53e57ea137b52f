"""Writes data sets of labelled images that TFDS reads: whole or not at all."""

import contextlib
import io
import keyword
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
import tqdm

from official_ext import errors
from official_ext.datasets import procedural_shapes
from official_ext.datasets.channel_statistics import ChannelStatistics
from official_ext.errors import UserError
from official_ext.local_data.examples import Example, LabelledImages

_Examples = Iterable[tuple[int, dict[str, Any]]]


class Cifar10(  # type: ignore[call-arg]
  tfds.image_classification.Cifar10, skip_registration=True
):
  """TFDS' own CIFAR-10, from arrays instead of a download.

  Version, features, keys and so the order of the examples are TFDS' own.
  """

  def __init__(self, images: LabelledImages, **kwargs: Any):
    """Takes the images, and the arguments of a TFDS builder."""
    self._images = images
    super().__init__(**kwargs)

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, _Examples]:
    del dl_manager  # There is nothing to download.
    self.info.features['label'].names = list(self._images.class_names)
    return {name: self._generate_examples(name) for name in self._images.splits}

  def _generate_examples(self, split: str) -> _Examples:
    for index, example in enumerate(_bar(self._images, split)):
      example_id = f'{split}_{index:05d}'
      image = example.read()
      yield index, {'id': example_id, 'image': image, 'label': example.label}


class LocalImages(  # type: ignore[call-arg]
  tfds.core.GeneratorBasedBuilder, skip_registration=True
):
  """A data set of images of the user's own, under a name of the user's.

  Attributes:
    train_statistics: Of the training images, once they are written.
  """

  VERSION = tfds.core.Version('1.0.0')

  def __init__(self, name: str, images: LabelledImages, **kwargs: Any):
    """Takes the name, the images, and the arguments of a TFDS builder."""
    self.name = name
    self._images = images
    self.train_statistics = ChannelStatistics(images.image_shape[-1])
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='Images of the user, from local files.',
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(
            shape=self._images.image_shape, encoding_format='png'
          ),
          'label': tfds.features.ClassLabel(names=self._images.class_names),
        }
      ),
      supervised_keys=('image', 'label'),
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, _Examples]:
    del dl_manager  # There is nothing to download.
    return {
      split: self._generate_examples(split) for split in self._images.splits
    }

  def _generate_examples(self, split: str) -> _Examples:
    for index, example in enumerate(_bar(self._images, split)):
      image = example.read()
      if split == 'train':
        self.train_statistics.add(image)
      yield index, {'image': image, 'label': example.label}


def _bar(images: LabelledImages, split: str) -> Iterable[Example]:
  examples = images.splits[split]
  return tqdm.tqdm(
    examples,
    f'Writing {split}',
    unit=' images',
    # A log file needs fewer lines than a terminal.
    mininterval=0.2 if sys.stderr.isatty() else 5,
  )


def check_name(name: str) -> None:
  """Raises a `UserError` unless a data set of the user's can have this name."""
  if not re.fullmatch('[a-z][a-z0-9_]*', name) or keyword.iskeyword(name):
    raise UserError(
      f"--name='{name}' is not a name in snake_case; use small letters, digits "
      'and underscores, for example my_images.'
    )
  own = procedural_shapes.ProceduralShapes.name
  if name in (own, *tfds.list_builders(with_community_datasets=False)):
    raise UserError(
      f"--name='{name}' is a data set that TFDS knows; choose another name."
    )


def check_place(data_dir: pathlib.Path, name: str, version: str) -> None:
  """Raises a `UserError` unless the data set can be written and is not there.

  Args:
    data_dir: Folder of TFDS data sets; it may be missing.
    name: Of the data set.
    version: Of the data set.
  """
  place = data_dir / name / version
  if place.exists():
    raise UserError(
      f'{place} is there already and is left as it is; train on it, delete it '
      'to write it anew, or choose another --data_dir.'
    )
  existing = next(path for path in place.parents if path.exists())
  if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
    raise UserError(
      f'--data_dir={data_dir}: {existing} is not a folder that can be written; '
      'choose another.'
    )


def write(builder: tfds.core.DatasetBuilder) -> None:
  """Writes a data set; where that fails, all stays as it was.

  Only a process that is killed leaves a folder `incomplete.*`, which TFDS does
  not read.

  Args:
    builder: Whose data set is not there yet.

  Raises:
    UserError: If the disk is full or cannot be written.
  """
  place = builder.data_path
  missing = [path for path in place.parents if not path.exists()]
  tfds.disable_progress_bar()  # `_bar` knows how many images there are.
  try:
    # TFDS writes to a folder beside `place`, which it renames at the end. It
    # would print that it downloads, and leave an empty folder for that.
    with (
      tempfile.TemporaryDirectory() as downloads,
      contextlib.redirect_stdout(io.StringIO()),
    ):
      builder.download_and_prepare(download_dir=downloads)
  except BaseException as error:
    for path in missing:
      with contextlib.suppress(OSError):
        path.rmdir()
    for cause in _causes(error):
      # The generator's own, to which TFDS has added its view.
      if isinstance(cause, UserError):
        raise
      if isinstance(cause, OSError | tf.errors.OpError):
        reason = errors.reason(cause).split('; ')[-1]  # TensorFlow's, no path.
        raise UserError(
          f'{place} cannot be written ({reason}); free space or choose another '
          '--data_dir.'
        ) from error
    raise
  finally:
    tfds.enable_progress_bar()


def _causes(error: BaseException) -> Iterator[BaseException]:
  """Yields an error and what it was raised from: TFDS wraps TensorFlow's."""
  cause: BaseException | None = error
  while cause:
    yield cause
    cause = cause.__cause__
