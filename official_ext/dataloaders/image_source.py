"""Finds the images and the labels in a TFDS data set, and checks them."""

import dataclasses
import os

import numpy as np
import tensorflow_datasets as tfds

from official_ext.configs.image_classification import DataConfig
from official_ext.dataloaders import tfds_builder
from official_ext.errors import UserError


@dataclasses.dataclass(frozen=True)
class ImageDataInfo:
  """What is known of a data set before it is read.

  Attributes:
    name: Name and split, for messages.
    num_examples: Number of images.
    image_shape: Height, width and channels of each image.
    class_names: One for each label.
  """

  name: str
  num_examples: int
  image_shape: tuple[int, int, int]
  class_names: list[str]

  @property
  def num_classes(self) -> int:
    """Labels are in 0 to this, exclusive."""
    return len(self.class_names)


@dataclasses.dataclass(frozen=True)
class ImageSource:
  """A prepared data set, and what to read of it.

  Attributes:
    builder: The data set.
    split: TFDS split, or slice of one.
    image_key: Feature of the images.
    label_key: Feature of the labels.
    info: What is in the split.
    place: Config that chose all this, for errors.
  """

  builder: tfds.core.DatasetBuilder
  split: str
  image_key: str
  label_key: str
  info: ImageDataInfo
  place: str


def place_of(params: DataConfig) -> str:
  """Returns where a config stands in its experiment, for errors."""
  return 'task.train_data' if params.is_training else 'task.validation_data'


def find(builder: tfds.core.DatasetBuilder, params: DataConfig) -> ImageSource:
  """Finds images and labels in a prepared data set.

  Args:
    builder: The data set.
    params: Which split. `image_field_key` and `label_field_key` choose among
      several features; left as Garden has them, the only one is taken, or the
      data set's own choice for supervised learning.

  Raises:
    UserError: If it is not an image classification data set of one size.
  """
  place = place_of(params)
  image_key = _choose(builder, tfds.features.Image, 0, 'image', params, place)
  label_key = _choose(
    builder, tfds.features.ClassLabel, 1, 'label', params, place
  )
  return ImageSource(
    builder,
    params.tfds_split,
    image_key,
    label_key,
    ImageDataInfo(
      name=f'{params.tfds_name} {params.tfds_split}',
      num_examples=_num_examples(builder, params, place),
      image_shape=_image_shape(builder, image_key, params, place),
      class_names=builder.info.features[label_key].names,
    ),
    place,
  )


def class_names(params: DataConfig) -> list[str]:
  """Returns the names of a data set's classes, without preparing it.

  Args:
    params: Which data set; see `find`.

  Raises:
    UserError: If it is neither TFDS' own nor there, or has no classes.
  """
  builder = tfds_builder.find(
    params.tfds_name,
    os.path.expanduser(params.tfds_data_dir),
    f"tfds_name='{params.tfds_name}'",
  )
  key = _choose(
    builder, tfds.features.ClassLabel, 1, 'label', params, 'the data'
  )
  return builder.info.features[key].names


def _choose(
  builder: tfds.core.DatasetBuilder,
  kind: type[tfds.features.FeatureConnector],
  position: int,
  what: str,
  params: DataConfig,
  place: str,
) -> str:
  """Returns the feature that the config or, failing that, the data names.

  Args:
    builder: The data set.
    kind: Class of the feature.
    position: Its place in `supervised_keys`.
    what: Its name in Garden's `DataConfig`.
    params: The config.
    place: Of the config.
  """
  field = f'{what}_field_key'
  asked = getattr(params, field)
  features = builder.info.features.items()
  keys = sorted(key for key, feature in features if isinstance(feature, kind))
  if not keys:
    raise UserError(
      f"{place}.tfds_name='{params.tfds_name}' has no {kind.__name__} feature; "
      'use a data set of image classification.'
    )
  if asked != getattr(DataConfig, field):
    wanted = asked
  elif len(keys) == 1:
    wanted = keys[0]
  else:
    wanted = (builder.info.supervised_keys or (None, None))[position]
  if wanted not in keys:
    raise UserError(
      f"{place}.{field}='{asked}' is no {what} of {params.tfds_name}; use one "
      f'of {", ".join(keys)}.'
    )
  return wanted


def _num_examples(
  builder: tfds.core.DatasetBuilder, params: DataConfig, place: str
) -> int:
  """Returns the number of images in the split."""
  splits = builder.info.splits
  try:
    count = splits[params.tfds_split].num_examples
  except Exception:  # Of several types: TFDS' parser of splits.
    count = 0
  if not count:
    known = (
      f'{key} ({split.num_examples} images)' for key, split in splits.items()
    )
    raise UserError(
      f"{place}.tfds_split='{params.tfds_split}' selects no image of "
      f'{params.tfds_name}; its splits are {", ".join(known)}.'
    )
  return count


def _image_shape(
  builder: tfds.core.DatasetBuilder, key: str, params: DataConfig, place: str
) -> tuple[int, int, int]:
  """Returns the shape that all images have."""
  feature = builder.info.features[key]
  where = f"{place}.tfds_name='{params.tfds_name}'"
  if None in feature.shape:
    raise UserError(
      f'{where} has images of several sizes, {feature.shape}; use a data set '
      'of one size.'
    )
  if feature.np_dtype != np.uint8:
    raise UserError(
      f'{where} has images of type {np.dtype(feature.np_dtype)}; use a data '
      'set of uint8 images.'
    )
  return feature.shape
