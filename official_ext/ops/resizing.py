"""Smaller images, by bilinear interpolation without aliasing."""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def resize(images: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
  """Returns images of another height and width.

  Each pixel is a mean of those that it covers, weighted by a triangle as wide
  as two pixels of the coarser of the two grids: Pillow's `BILINEAR`, and
  PyTorch's `interpolate(mode='bilinear', antialias=True)`. TensorFlow's own
  `tf.image.resize(antialias=True)` cannot be compiled by XLA; this is two
  products with small matrices.

  Args:
    images: Floats `[batch, height, width, channels]` of static height and
      width.
    size: Height and width to bring them to.

  Returns:
    The same type, `[batch, *size, channels]`.
  """
  height, width = images.shape[1:3]
  if (height, width) == tuple(size):
    return images
  rows = tf.constant(weights(height, size[0]), images.dtype)
  columns = tf.constant(weights(width, size[1]), images.dtype)
  images = tf.einsum('oh,bhwc->bowc', rows, images)
  return tf.einsum('ow,bhwc->bhoc', columns, images)


@functools.cache
def weights(before: int, after: int) -> np.ndarray:
  """Returns what each pixel after takes of those before, along an axis.

  Args:
    before: Pixels before.
    after: Pixels after.

  Returns:
    float32 `[after, before]`, the sum of each row being 1.
  """
  scale = before / after
  centers = (np.arange(after) + 0.5) * scale
  distances = np.arange(before) + 0.5 - centers[:, np.newaxis]
  triangle = np.maximum(0.0, 1.0 - np.abs(distances) / max(scale, 1.0))
  triangle /= triangle.sum(axis=1, keepdims=True)
  return triangle.astype(np.float32)
