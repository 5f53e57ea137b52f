"""A convolution over whitened patches of its input."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from official_ext.ops import whitening

# Images whose patches the whitening is computed from; the number of
# `new_dawn.py` of https://github.com/davidcpage/cifar10-fast.
_IMAGES = 10_000


@tf_keras.utils.register_keras_serializable(package='official_ext')
class WhitenedConv2D(tf_keras.layers.Conv2D):
  """Fixed patch whitening and a trained 1×1 convolution, as one convolution.

  In cifar10-fast's ten-epoch recipe the network begins with a fixed convolution
  to decorrelated channels, then a 1×1 convolution. Both are linear with nothing
  in between, so their product is one convolution with the kernel
  `whitening @ kernel`: the same numbers, at the cost of one layer.

  It computes in float32 unless told otherwise: whitening amplifies small
  differences between neighbouring pixels, which bfloat16 has no bits for (error
  of the output on CIFAR-10: 1.6% in bfloat16, where a plain first convolution
  has 0.3%).

  Attributes:
    kernel: `[height, width, channels, filters]`, trained; row i of its flat
      form `[n, filters]`, n = height · width · channels, is the weight of
      filter i of the whitening.
    whitening: float32 `[n, n]`, not trained; column i is filter i in the order
      of a flat patch. The identity, which makes this a plain convolution, until
      `learn_filters` gives something better.
  """

  def __init__(self, *args: Any, dtype: Any = 'float32', **kwargs: Any):
    """Takes the arguments of Keras' `Conv2D`."""
    super().__init__(*args, dtype=dtype, **kwargs)

  def build(self, input_shape: Any) -> None:
    """Makes the weights."""
    super().build(input_shape)
    size = math.prod(self.kernel.shape[:-1])
    self.whitening = self.add_weight(
      name='whitening',
      shape=[size, size],
      initializer='identity',
      trainable=False,
      dtype=tf.float32,
      experimental_autocast=False,
    )

  def learn_filters(
    self,
    images: tf.Tensor | np.ndarray,
    mean: Sequence[float],
    stddev: Sequence[float],
  ) -> None:
    """Computes the whitening, where a training begins.

    An eigenvector is one up to its sign, and among near-equal eigenvalues up to
    a rotation, which each kind of CPU settles in a way of its own. So workers
    that train together, all of which have to call this in the scope of their
    strategy, take the filters of the chief.

    Args:
      images: The training images, uint8 `[count, height, width, channels]`; the
        first 10,000 are used.
      mean: What `normalize` subtracts from each channel.
      stddev: What it divides each by.
    """
    filters = whitening.filters(
      # A view; TensorFlow would copy the images, to a GPU if there is one.
      np.asarray(images)[:_IMAGES],
      self.kernel_size[0],
      mean=mean,
      stddev=stddev,
    )
    # A new variable begins with what the chief gives; what is assigned to one
    # stays with the worker that assigns it.
    chiefs = tf.Variable(filters, trainable=False)
    self.whitening.assign(chiefs.read_value())

  def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolves `[batch, height, width, channels]` with the product."""
    weights = tf.reshape(tf.cast(kernel, tf.float32), [-1, self.filters])
    product = tf.reshape(self.whitening @ weights, kernel.shape)
    return super().convolution_op(inputs, tf.cast(product, inputs.dtype))
