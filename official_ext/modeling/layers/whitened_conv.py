"""A trained convolution over whitened patches of its input."""

import math
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from official_ext.modeling.layers.patch_whitening import PatchWhitening


@tf_keras.utils.register_keras_serializable(package='official_ext')
class WhitenedConv2D(PatchWhitening):
  """Fixed patch whitening and a trained 1×1 convolution, as one convolution.

  In cifar10-fast's ten-epoch recipe the network begins with a fixed convolution
  to decorrelated channels, then a 1×1 convolution. Both are linear with nothing
  in between, so their product is one convolution with the kernel
  `whitening @ kernel`: the same numbers, at the cost of one layer.

  Attributes:
    kernel: `[height, width, channels, filters]`, trained; row i of its flat
      form `[n, filters]`, n = height · width · channels, is the weight of
      filter i of the whitening.
    whitening: float32 `[n, n]`, not trained; column i is filter i in the order
      of a flat patch. The identity, which makes this a plain convolution, until
      `learn_filters` gives something better.
  """

  def __init__(
    self,
    *args: Any,
    epsilon: float = 1e-2,
    num_images: int = 10_000,
    **kwargs: Any,
  ):
    """Takes the arguments of `PatchWhitening`.

    Args:
      *args: Of Keras' `Conv2D`.
      epsilon: Added to the variances. 1e-2 is the number of `new_dawn.py` of
        https://github.com/davidcpage/cifar10-fast.
      num_images: That the filters are computed from, and it has 10,000.
      **kwargs: Of Keras' `Conv2D`.
    """
    super().__init__(*args, epsilon=epsilon, num_images=num_images, **kwargs)

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

  def set_filters(self, filters: np.ndarray) -> None:
    """Takes the filters; see `PatchWhitening`."""
    self.whitening.assign(filters)

  def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolves `[batch, height, width, channels]` with the product."""
    weights = tf.reshape(tf.cast(kernel, tf.float32), [-1, self.filters])
    product = tf.reshape(self.whitening @ weights, kernel.shape)
    return super().convolution_op(inputs, tf.cast(product, inputs.dtype))
