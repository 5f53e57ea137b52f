"""Reads a TFDS image classification data set into memory."""

import dataclasses
import functools
import math
import re
import zlib

import numpy as np
import psutil
import tensorflow as tf
import tensorflow_datasets as tfds

from official_ext.configs.image_classification import ImageClassificationModel
from official_ext.dataloaders import decoded_cache, image_source
from official_ext.errors import UserError

# A data set is in memory twice while its images are joined to one tensor, and
# the training needs some memory too.
_MAX_SHARE_OF_AVAILABLE_MEMORY = 1 / 3


@dataclasses.dataclass(frozen=True)
class ImageData:
  """A data set in the memory of the host.

  Attributes:
    info: What it is.
    images: uint8 `[num_examples, height, width, channels]`, as stored.
    labels: int32 `[num_examples]`, in 0 to `info.num_classes` - 1.
  """

  info: image_source.ImageDataInfo
  images: tf.Tensor
  labels: tf.Tensor

  @functools.cached_property
  def digest(self) -> str:
    """Of all images and labels in their order, on any machine the same."""
    images, labels = np.asarray(self.images), np.asarray(self.labels, '<i4')
    return f'crc32:{zlib.crc32(labels.data, zlib.crc32(images.data)):08x}'


def blank(info: image_source.ImageDataInfo, count: int) -> ImageData:
  """Returns some black images of the first class, in the form of others.

  Args:
    info: What the others are.
    count: How many there are to be; no more than of the others.
  """
  info = dataclasses.replace(info, num_examples=min(count, info.num_examples))
  with tf.device('CPU:0'):
    images = tf.zeros([info.num_examples, *info.image_shape], tf.uint8)
    return ImageData(info, images, tf.zeros([info.num_examples], tf.int32))


def load(source: image_source.ImageSource) -> ImageData:
  """Reads a split of a data set into memory.

  Each image is decoded once, in the order of the data set, and kept as it is,
  on the CPU even where there is a GPU; a later process finds it decoded.

  Args:
    source: Which data set and split.

  Raises:
    UserError: If it does not fit in the memory, or is damaged.
  """
  _check_memory(source)
  images, labels = decoded_cache.get(source, lambda: _decode(source))
  _check_labels(source, labels)
  return ImageData(source.info, images, labels)


def _damaged(source: image_source.ImageSource, reason: str) -> UserError:
  return UserError(
    f'{source.place}: {source.builder.data_path} is damaged: {reason}; delete '
    'it and prepare the data set again.'
  )


def check_model(
  source: image_source.ImageSource, model: ImageClassificationModel
) -> None:
  """Raises where a model cannot read the images, or tell the classes apart.

  Raises:
    UserError: It names the data set and the model's option.
  """
  info = source.info
  if list(model.input_size) != list(info.image_shape):
    raise UserError(
      f'{source.place}: the images of {info.name} are '
      f'{list(info.image_shape)}, but task.model.input_size='
      f'{list(model.input_size)}; use a data set of that size.'
    )
  if info.num_classes > model.num_classes:
    raise UserError(
      f'{source.place}: {info.name} has {info.num_classes} classes, but '
      f'task.model.num_classes={model.num_classes}; use {info.num_classes}.'
    )


def _check_memory(source: image_source.ImageSource) -> None:
  needed = source.info.num_examples * math.prod(source.info.image_shape)
  available = psutil.virtual_memory().available
  if needed > available * _MAX_SHARE_OF_AVAILABLE_MEMORY:
    parts = (part.split('[')[0] for part in source.split.split('+'))
    slices = '+'.join(f'{part}[:10%]' for part in parts)
    raise UserError(
      f"{source.place}.tfds_split='{source.split}' takes "
      f'{needed / 2**30:.1f} GiB, more than a third of the '
      f'{available / 2**30:.1f} GiB of memory available; take a slice such as '
      f"'{slices}'."
    )


def _check_labels(source: image_source.ImageSource, labels: tf.Tensor) -> None:
  num_classes = source.info.num_classes
  wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
  if wrong.size:
    raise UserError(
      f'{source.place}: image {wrong[0]} of {source.info.name} has label '
      f'{labels[wrong[0]]}, outside 0 to {num_classes - 1}; use a split whose '
      'images are all labelled.'
    )


def _decode(source: image_source.ImageSource) -> decoded_cache.Decoded:
  """Reads and decodes all images and labels."""
  try:
    images, labels = _read(source)
  except tf.errors.OpError as error:
    reason = re.sub(r'\{\{.*?\}\} ?| ?\[Op:.*', '', error.message)
    raise _damaged(source, reason) from error
  if len(labels) != source.info.num_examples:
    raise _damaged(
      source, f'{len(labels)} of {source.info.num_examples} images are there'
    )
  return decoded_cache.Decoded(images, labels)


def _read(source: image_source.ImageSource) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns what is there; whether that is all is still to be seen."""
  keys = [source.image_key, source.label_key]
  with tf.device('CPU:0'):
    # Not TFDS' own batch of all, which a split that repeats images overflows.
    examples = source.builder.as_dataset(
      split=source.split,
      decoders=tfds.decode.PartialDecoding(dict.fromkeys(keys, True)),
      # Autocaching would hold the images once more.
      read_config=tfds.ReadConfig(try_autocache=False),
    )
    examples = examples.batch(source.info.num_examples).get_single_element()
    images, labels = (examples[key] for key in keys)
    return images, tf.cast(labels, tf.int32)
