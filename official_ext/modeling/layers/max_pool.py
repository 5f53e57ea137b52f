"""Max pooling that XLA compiles deterministically."""

import functools
from typing import Any

import tensorflow as tf
import tf_keras

from official_ext.ops import placement


@tf_keras.utils.register_keras_serializable(package='official_ext')
class MaxPool2D(tf_keras.layers.MaxPooling2D):
  """`MaxPooling2D` of windows that touch, with the same bits on accelerators.

  XLA refuses the gradient of TensorFlow's max pool under op determinism on a
  GPU, and is slow at it otherwise (`select-and-scatter`). There the pooling is
  a reshape and a reduction, and the gradient goes, as TensorFlow's does, to the
  first of a window's maxima. On a CPU it is Keras' own.
  """

  def __init__(self, pool_size: Any = 2, **kwargs: Any):
    """Takes the size of the windows, and the arguments of a layer."""
    super().__init__(pool_size, strides=pool_size, padding='valid', **kwargs)

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    """Pools `[batch, height, width, channels]`, cutting off the rest."""
    # Without a size, Keras builds a model and computes nothing.
    if placement.on_cpu() or not inputs.shape[1:3].is_fully_defined():
      return super().call(inputs)
    return _pool(inputs, tuple(self.pool_size))

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    config = super().get_config()
    for key in ('strides', 'padding'):
      del config[key]
    return config


def _pool(x: tf.Tensor, window: tuple[int, int]) -> tf.Tensor:
  height, width = (
    side // size * size for side, size in zip(x.shape[1:3], window, strict=True)
  )
  return _max(x[:, :height, :width], window)


def _max(x: tf.Tensor, window: tuple[int, int]) -> tf.Tensor:
  """Returns the maxima of windows that fill the maps."""
  (rows, columns), shape = window, x.shape
  split = [-1, shape[1] // rows, rows, shape[2] // columns, columns, shape[3]]
  # The place of each position in its window, in the order of TensorFlow's pool.
  places = tf.reshape(tf.range(rows * columns), [1, 1, rows, 1, columns, 1])
  over = functools.partial(tf.reduce_min, axis=[2, 4], keepdims=True)

  @tf.custom_gradient
  def pool(x: tf.Tensor) -> Any:
    parts = tf.reshape(x, split)
    maxima = tf.reduce_max(parts, axis=[2, 4], keepdims=True)

    def gradient(dy: tf.Tensor) -> tf.Tensor:
      is_max = parts == maxima
      first = over(tf.where(is_max, places, rows * columns))
      dy = tf.reshape(dy, tf.shape(maxima))
      dx = tf.where(places == first, dy, tf.zeros([], dy.dtype))
      return tf.reshape(dx, tf.shape(x))

    return maxima[:, :, 0, :, 0], gradient

  return pool(x)
