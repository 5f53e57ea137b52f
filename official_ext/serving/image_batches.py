"""What a person may give as images, made a batch of pixels or refused."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from official_ext.errors import UserError
from official_ext.serving import image_files

_PIXELS = 'pixels are whole numbers from 0 to 255'


def as_batch(images: Any, shape: tuple[int, int, int]) -> tf.Tensor:
  """Returns images as a network of one size takes them.

  Args:
    images: One image or several: an array or a tensor of pixels, `[batch,
      height, width, channels]` or without the batch, and of one channel without
      the channels; a Pillow image, or the path of a file, which are brought to
      the shape as `image_files.read` does; or a list of any of these.
    shape: Height, width and channels.

  Returns:
    uint8 `[batch, height, width, channels]`; one image is a batch of one.

  Raises:
    UserError: If an array has another shape, or numbers that are no pixels,
      such as colours from 0 to 1; or a file cannot be read.
  """
  if _is_list_of_images(images):
    return tf.concat([as_batch(image, shape) for image in images], axis=0)
  if isinstance(images, str | os.PathLike):
    images, _ = image_files.read(os.fspath(images), shape)
  elif isinstance(images, Image.Image):
    images, _ = image_files.fit(images, 'the image', shape)
  return _with_all_axes(_as_pixels(images), shape)


def _is_list_of_images(images: Any) -> bool:
  """Whether it is a list of other things than rows of numbers."""
  if not isinstance(images, list | tuple):
    return False
  if not images:
    raise UserError('there are no images in an empty list; give one or more.')
  return not isinstance(images[0], list | tuple | int | float)


def _as_pixels(images: Any) -> tf.Tensor:
  """Returns the same numbers as uint8.

  Of a tensor in a graph the numbers are not known yet, so it has to be of that
  type.
  """
  if tf.is_tensor(images) and images.dtype == tf.uint8:
    return images
  if tf.is_tensor(images) and not hasattr(images, 'numpy'):
    raise UserError(
      f'the images are {images.dtype.name}, but in a graph they must be uint8; '
      'cast them before.'
    )
  array = np.asarray(images)
  if array.dtype != np.uint8:
    _check_pixels(array)
  return tf.convert_to_tensor(array.astype(np.uint8))


def _check_pixels(array: np.ndarray) -> None:
  """Raises unless a cast to uint8 keeps what the numbers mean."""
  name = f'the images are {array.dtype}'
  if array.dtype.kind not in 'iuf':
    raise UserError(f'{name}, but {_PIXELS}; give an array of uint8.')
  if not array.size:
    return
  low, high = array.min(), array.max()
  if array.dtype.kind == 'f' and low >= 0 and 0 < high <= 1:
    raise UserError(
      f'{name} from {low:g} to {high:g}, but {_PIXELS}; give '
      'np.uint8(np.rint(255 * images)).'
    )
  if not (low >= 0 and high <= 255):  # Nor if one is not a number.
    raise UserError(
      f'{name} from {low:g} to {high:g}, but {_PIXELS}; give them as they are '
      'in an image file of 8 bits, not normalised.'
    )
  if (array != np.rint(array)).any():
    raise UserError(
      f'{name} with fractions, but {_PIXELS}; give np.uint8(np.rint(images)).'
    )


def _with_all_axes(pixels: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
  """Adds the axes of the batch and of one channel where they are left out."""
  batch = tf.TensorShape([None, *shape])
  new, rest = tf.newaxis, ...
  axes: list[tuple[Any, ...]] = [(rest,), (new, rest)]
  if shape[-1] == 1:
    axes += [(rest, new), (new, rest, new)]
  for each in axes:
    if batch.is_compatible_with(pixels[each].shape):
      return pixels[each]
  height, width, channels = shape
  raise UserError(
    f'the images are {pixels.shape.as_list()}, but the network takes [batch, '
    f'{height}, {width}, {channels}], or one of [{height}, {width}, '
    f'{channels}]; give a Pillow image or a file to have it scaled.'
  )
