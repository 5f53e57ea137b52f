"""Batch norm with any epsilon."""

from typing import Any

import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable(package='official_ext')
class BatchNormalization(tf_keras.layers.BatchNormalization):
  """Keras' layer with an epsilon below 1.001e-5.

  `tf.compat.v1.nn.fused_batch_norm`, which Keras calls, raises a smaller one to
  that in silence, since older versions of cuDNN did not take it; the operation
  beneath does not. As in Keras, the moving variance is the unbiased one.
  """

  def call(
    self, inputs: tf.Tensor, training: bool | None = None, **kwargs: Any
  ) -> tf.Tensor:
    """Normalises `[batch, height, width, channels]`."""
    if not self.fused:  # Across replicas, where Keras takes epsilon as it is.
      return super().call(inputs, training=training, **kwargs)
    training = bool(training) and self.trainable
    channels = inputs.shape[-1]
    moving = [] if training else [self.moving_mean, self.moving_variance]
    mean, variance = moving or [tf.constant([])] * 2
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
      x=inputs,
      scale=self.gamma if self.scale else tf.ones([channels]),
      offset=self.beta if self.center else tf.zeros([channels]),
      mean=mean,
      variance=variance,
      epsilon=self.epsilon,
      is_training=training,
    )
    if training:
      self._follow(mean, variance)
    return y

  def _follow(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
    """Moves the statistics towards those of a batch, `[channels]`."""
    for statistic, now in (
      (self.moving_mean, mean),
      (self.moving_variance, variance),
    ):
      statistic.assign_sub((1 - self.momentum) * (statistic - now))
