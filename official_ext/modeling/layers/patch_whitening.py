"""What the layers have in common that decorrelate patches of their input."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from official_ext.ops import whitening


class PatchWhitening(tf_keras.layers.Conv2D):
  """A convolution with filters that are computed from the training images.

  It computes in float32 unless told otherwise: whitening amplifies small
  differences between neighbouring pixels, which bfloat16 has no bits for (error
  of the output of cifar10-fast's on CIFAR-10: 1.6% in bfloat16, where a plain
  first convolution has 0.3%).

  Attributes:
    epsilon: Added to the variances that the filters bring to 1; see
      `official_ext.ops.whitening`.
    num_images: How many of the training images the filters are computed from,
      the first ones.
  """

  def __init__(
    self,
    *args: Any,
    epsilon: float,
    num_images: int,
    dtype: Any = 'float32',
    **kwargs: Any,
  ):
    """Takes the attributes, and the arguments of Keras' `Conv2D`."""
    super().__init__(*args, dtype=dtype, **kwargs)
    self.epsilon = epsilon
    self.num_images = num_images

  def learn_filters(
    self,
    images: tf.Tensor | np.ndarray,
    mean: Sequence[float],
    stddev: Sequence[float],
  ) -> None:
    """Computes the filters, where a training begins.

    An eigenvector is one up to its sign, and among near-equal eigenvalues up to
    a rotation, which each kind of CPU settles in a way of its own. So workers
    that train together, all of which have to call this in the scope of their
    strategy, take the filters of the chief.

    Args:
      images: The training images, uint8 `[count, height, width, channels]`.
      mean: What `normalize` subtracts from each channel.
      stddev: What it divides each by.
    """
    filters = whitening.filters(
      # A view; TensorFlow would copy the images, to a GPU if there is one.
      np.asarray(images)[: self.num_images],
      self.kernel_size[0],
      self.epsilon,
      mean,
      stddev,
    )
    # A new variable begins with what the chief gives; what is assigned to one
    # stays with the worker that assigns it.
    chiefs = tf.Variable(filters, trainable=False)
    self.set_filters(chiefs.numpy())

  def set_filters(self, filters: np.ndarray) -> None:
    """Takes the filters.

    Args:
      filters: float32 `[n, n]`, a filter of a flat patch in each column.
    """
    raise NotImplementedError

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return super().get_config() | {
      'epsilon': self.epsilon,
      'num_images': self.num_images,
    }
