"""A normalisation of their own for tasks whose parsers know one alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from official.vision.ops import preprocess_ops


class InputNormalization:
  """Mixin of tasks whose config has a `normalization`.

  Garden's parsers normalise with ImageNet's mean and deviation. A checkpoint's
  weights expect those that it was trained with, so the numbers are brought from
  the one to the other. What a parser pads an image with stays one colour, the
  mean of ImageNet.
  """

  def build_inputs(
    self,
    params: Any,
    input_context: tf.distribute.InputContext | None = None,
  ) -> tf.data.Dataset:
    """Builds Garden's input, normalised by the task's own numbers.

    Args:
      params: Training or validation data.
      input_context: Which worker this is, and of how many.

    Returns:
      Garden's dataset of (images, labels); images are
      `[batch, height, width, 3]` of `params.dtype`.
    """
    dataset = super().build_inputs(params, input_context)  # type: ignore[misc]
    config = self.task_config.normalization  # type: ignore[attr-defined]

    def renormalized(
      images: tf.Tensor, labels: Mapping[str, tf.Tensor] | tf.Tensor
    ) -> tuple[tf.Tensor, Any]:
      return renormalize(images, config.mean_rgb, config.stddev_rgb), labels

    return dataset.map(renormalized, num_parallel_calls=tf.data.AUTOTUNE)


def renormalize(
  images: tf.Tensor, mean: Sequence[float], stddev: Sequence[float]
) -> tf.Tensor:
  """Normalises anew what was normalised with ImageNet's numbers.

  Args:
    images: `[..., 3]`, of any floating dtype.
    mean: One for each channel, in 0 to 255.
    stddev: One for each channel, in 0 to 255, more than 0.

  Returns:
    Images of the same shape and dtype.
  """
  old_mean, old_stddev = preprocess_ops.MEAN_RGB, preprocess_ops.STDDEV_RGB
  scale = np.asarray(old_stddev) / stddev
  offset = (np.asarray(old_mean) - mean) / stddev
  exact = tf.cast(images, tf.float32)
  return tf.cast(
    exact * scale.astype(np.float32) + offset.astype(np.float32), images.dtype
  )
