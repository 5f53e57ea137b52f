"""Writes data sets of labelled images that TFDS reads: whole or not at all."""

import contextlib
import io
import keyword
import os
import pathlib
import re
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
import tqdm

from official_ext.datasets import procedural_shapes
from official_ext.errors import UserError
from official_ext.local_data import cifar10_archive, image_folder

_Examples = Iterable[tuple[int, dict[str, Any]]]


class Cifar10(  # type: ignore[call-arg]
  tfds.image_classification.Cifar10, skip_registration=True
):
  """TFDS' own CIFAR-10, from arrays instead of a download.

  Version, features, keys and so the order of the examples are TFDS' own.
  """

  def __init__(
    self, splits: Mapping[str, cifar10_archive.Split], **kwargs: Any
  ):
    """Takes the splits, and the arguments of a TFDS builder."""
    self._splits = splits
    super().__init__(**kwargs)

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, _Examples]:
    del dl_manager  # There is nothing to download.
    self.info.features['label'].names = list(cifar10_archive.CLASS_NAMES)
    return {name: self._generate_examples(name) for name in self._splits}

  def _generate_examples(self, split: str) -> _Examples:
    images, labels = self._splits[split]
    pairs = zip(images, labels, strict=True)
    for index, (image, label) in enumerate(_bar(pairs, split, len(labels))):
      example_id = f'{split}_{index:05d}'
      yield index, {'id': example_id, 'image': image, 'label': label}


class ImageFolder(  # type: ignore[call-arg]
  tfds.core.GeneratorBasedBuilder, skip_registration=True
):
  """A data set of images in class folders, under a name of the user's."""

  VERSION = tfds.core.Version('1.0.0')

  def __init__(
    self, name: str, folder: image_folder.ImageFolder, **kwargs: Any
  ):
    """Takes the name, the images, and the arguments of a TFDS builder."""
    self.name = name
    self._folder = folder
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='Images from class folders.',
      features=tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(
            shape=self._folder.image_shape, encoding_format='png'
          ),
          'label': tfds.features.ClassLabel(names=self._folder.class_names),
        }
      ),
      supervised_keys=('image', 'label'),
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, _Examples]:
    del dl_manager  # There is nothing to download.
    return {
      split: self._generate_examples(split) for split in self._folder.files
    }

  def _generate_examples(self, split: str) -> _Examples:
    files = self._folder.files[split]
    for index, (path, label) in enumerate(_bar(files, split, len(files))):
      image = image_folder.read(path, self._folder.image_shape)
      yield index, {'image': image, 'label': label}


def _bar(items: Iterable[Any], split: str, total: int) -> Iterable[Any]:
  return tqdm.tqdm(items, f'Writing {split}', total, unit=' images')


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
    if isinstance(error, OSError | tf.errors.OpError):
      reason = ' '.join(str(error).split())
      raise UserError(
        f'{place} cannot be written: {reason}; free space or choose another '
        '--data_dir.'
      ) from error
    raise
  finally:
    tfds.enable_progress_bar()
