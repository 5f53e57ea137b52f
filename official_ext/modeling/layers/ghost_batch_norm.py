"""Batch norm over groups of a batch."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

from official_ext.ops import activations, placement


@tf_keras.utils.register_keras_serializable(package='official_ext')
class GhostBatchNormalization(tf_keras.layers.BatchNormalization):
  """`BatchNormalization` whose statistics are those of groups of images.

  Ghost batch norm (https://arxiv.org/abs/1705.08741). In training each group of
  `group_size` consecutive images of a replica's batch is normalised by itself,
  with one scale and offset for all. In evaluation the moving statistics are
  used, which follow the mean over the groups of their means and of their
  unbiased variances: but for a factor n / (n − 1), n positions in a group, what
  a group was normalised by in training, on average.

  The original (`GhostBatchNorm` in cifar10-fast) keeps statistics of each group
  apart and averages them when it goes from training to evaluation. The network
  that it evaluates, a moving average of the other, does so once and never
  trains: it drifts back to the statistics of the first group, a sixteenth of
  the images.

  Keras' `virtual_batch_size` gives up the fused kernels, which are several
  times as fast.

  Attributes:
    group_size: Images of a group.
    activation: Name of what is applied to the result.
  """

  def __init__(
    self, group_size: int, activation: str = 'linear', **kwargs: Any
  ):
    """Makes the layer.

    Args:
      group_size: Images of a group; it must divide the batch in training.
      activation: Name of what is applied to the result. Here it is applied to
        each group before they are joined, while a group is in the cache and
        oneDNN can fuse the two; on its own it costs half as much again.
      **kwargs: Passed to `BatchNormalization`; its `axis` is the last.
    """
    super().__init__(**kwargs)
    self.group_size = group_size
    self.activation = activation

  def call(
    self, inputs: tf.Tensor, training: bool | None = None, **kwargs: Any
  ) -> tf.Tensor:
    """Normalises `[batch, height, width, channels]`.

    Raises:
      ValueError: If in training the groups do not divide the batch.
    """
    layer = activations.layer(self.activation)
    activation = getattr(layer, 'activation', layer)
    if not training or not self.trainable:
      return activation(super().call(inputs, training=training, **kwargs))
    groups, rest = divmod(inputs.shape[0] or 0, self.group_size)
    if rest or not groups:
      raise ValueError(
        f'{self.name}: a batch of {inputs.shape[0]} images cannot be divided '
        f'into groups of {self.group_size}.'
      )
    channels = inputs.shape[-1]
    scale = self.gamma if self.scale else tf.ones([channels])
    offset = self.beta if self.center else tf.zeros([channels])
    compute = self._by_slices if placement.on_cpu() else self._at_once
    return compute(inputs, groups, scale, offset, activation)

  def _at_once(
    self,
    inputs: tf.Tensor,
    groups: int,
    scale: tf.Tensor,
    offset: tf.Tensor,
    activation: Callable[[tf.Tensor], tf.Tensor],
  ) -> tf.Tensor:
    """Normalises all groups by one reduction, a sixth of the code for XLA."""
    x = tf.reshape(inputs, [groups, self.group_size, *inputs.shape[1:]])
    y, mean, variance = _standardize(x, self.epsilon)
    count = math.prod(x.shape[1:4])
    self._follow(mean, variance * (count / max(count - 1, 1)))
    # What stays 1 or 0 is not computed with, nor its gradient.
    y = y * scale if self.scale else y
    y = y + offset if self.center else y
    y = tf.reshape(tf.cast(y, inputs.dtype), inputs.shape)
    return activation(y)

  def _by_slices(
    self,
    inputs: tf.Tensor,
    groups: int,
    scale: tf.Tensor,
    offset: tf.Tensor,
    activation: Callable[[tf.Tensor], tf.Tensor],
  ) -> tf.Tensor:
    """Normalises each group by TensorFlow's fused kernel, fast on a CPU."""
    # Along the first dimension a split copies nothing.
    normalized, means, variances = zip(
      *(
        tf.compat.v1.nn.fused_batch_norm(
          group, scale, offset, epsilon=self.epsilon
        )
        for group in tf.split(inputs, groups)
      ),
      strict=True,
    )
    self._follow(tf.stack(means), tf.stack(variances))
    return tf.concat([activation(group) for group in normalized], axis=0)

  def _follow(self, means: tf.Tensor, variances: tf.Tensor) -> None:
    """Moves the statistics towards the mean of `[groups, channels]`."""
    both = tf.reduce_sum(tf.concat([means, variances], axis=1), axis=0)
    moving = (self.moving_mean, self.moving_variance)
    share = 1 / means.shape[0]
    for statistic, total in zip(moving, tf.split(both, 2), strict=True):
      change = (1 - self.momentum) * (statistic - total * share)
      statistic.assign_sub(change)

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return super().get_config() | {
      'group_size': self.group_size,
      'activation': self.activation,
    }


_WITHIN_A_GROUP = [1, 2, 3]


def _mean(values: tf.Tensor) -> tf.Tensor:
  """Returns the mean of each group and channel.

  By a sum: of a mean, XLA is given a dozen operations to find the count by.
  """
  share = 1 / math.prod(values.shape[1:4])
  return tf.reduce_sum(values, _WITHIN_A_GROUP) * share


def _spread(values: tf.Tensor) -> tf.Tensor:
  """Brings `[groups, channels]` to the rank of what they are of."""
  groups, channels = values.shape
  return tf.reshape(values, [groups, 1, 1, 1, channels])


def _standardize(
  x: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Brings groups to mean 0 and variance 1, with the gradient written out.

  TensorFlow's own gradient of the same would be most of what XLA compiles.

  Args:
    x: `[groups, images, height, width, channels]`, of any floating dtype.
    epsilon: Added to the variance.

  Returns:
    float32 of the shape of `x`, and float32 `[groups, channels]` twice: the
    mean and the biased variance, which have no gradient.
  """

  @tf.custom_gradient
  def standardize(x: tf.Tensor) -> Any:
    x32 = tf.cast(x, tf.float32)
    mean = _mean(x32)
    centred = x32 - _spread(mean)
    variance = _mean(centred * centred)
    factor = _spread(tf.math.rsqrt(variance + epsilon))
    y = centred * factor

    def gradient(dy: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
      dx = dy - _spread(_mean(dy)) - y * _spread(_mean(dy * y))
      return tf.cast(dx * factor, x.dtype)

    return (y, mean, variance), gradient

  return standardize(x)
