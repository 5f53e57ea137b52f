"""Pooling over maps whose size only the images tell."""

from typing import Any

import tensorflow as tf
import tf_keras

from official_ext.modeling.layers import max_pool

# Windowed pooling, by name.
POOLS = {
  'max': max_pool.MaxPool2D,
  'avg': tf_keras.layers.AveragePooling2D,
}


@tf_keras.utils.register_keras_serializable(package='official_ext')
class GlobalPool2D(tf_keras.layers.Layer):
  """Windowed pooling, the window being the whole of the map.

  From `[batch, height, width, channels]` to `[batch, 1, 1, channels]`.
  """

  def __init__(self, pooling: str, **kwargs: Any):
    """Takes 'max' or 'avg', and the arguments of a layer."""
    super().__init__(**kwargs)
    self._pooling = pooling

  def compute_output_shape(self, input_shape: Any) -> tf.TensorShape:
    """Returns the shape of the output."""
    batch, _, _, channels = input_shape
    return tf.TensorShape([batch, 1, 1, channels])

  def call(self, inputs: tf.Tensor) -> tf.Tensor:
    """Pools; of maps without a size, as where Keras builds a model, any way."""
    if not inputs.shape[1:3].is_fully_defined():
      return tf.reduce_max(inputs, axis=[1, 2], keepdims=True)
    return POOLS[self._pooling](inputs.shape[1:3])(inputs)

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return {**super().get_config(), 'pooling': self._pooling}
