"""From bytes to what the model reads, on the host or on an accelerator."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from official_ext.augmentation import base
from official_ext.augmentation.base import ImageAugmentation
from official_ext.configs.image_classification import DataConfig
from official_ext.dataloaders.augmentation_choices import augmentations
from official_ext.ops import placement
from official_ext.ops.normalize import normalize


class Unprocessed(NamedTuple):
  """Images, and what is to become of each of them.

  Attributes:
    images: uint8 `[rows, height, width, channels]`; or int32 `[rows]`, their
      places in the data set, where the images are resident.
    choices: A tensor an augmentation, `[rows, …]`; see `augmentation_choices`.
  """

  images: tf.Tensor
  choices: tuple[tf.Tensor, ...]


def on_device(params: DataConfig) -> bool:
  """Whether the step preprocesses images, which then are resident."""
  asked = params.preprocess_on_device
  return placement.on_gpu() if asked is None else asked


def for_evaluation(images: tf.Tensor, params: DataConfig) -> tf.Tensor:
  """Normalises uint8 `[batch, height, width, channels]` to `params.dtype`."""
  images = normalize(images, params.mean_rgb, params.stddev_rgb)
  return tf.cast(images, params.dtype)


def apply(
  images: tf.Tensor, params: DataConfig, choices: Sequence[tf.Tensor]
) -> tf.Tensor:
  """Augments and normalises, in the order of the config.

  Args:
    images: uint8 `[batch, height, width, channels]`.
    params: Training data.
    choices: A tensor an augmentation, with a choice for each image.

  Returns:
    Images of `params.dtype` and the same shape.
  """
  normalized = False
  pairs = zip(augmentations(params), choices, strict=True)
  for (moves, after_normalization), group in itertools.groupby(pairs, _kind):
    if after_normalization and not normalized:
      images = normalize(images, params.mean_rgb, params.stddev_rgb)
      normalized = True
    if moves:
      images = base.move(images, list(group))
    else:
      for step, choice in group:
        images = step.apply(images, choice)
  if not normalized:
    images = normalize(images, params.mean_rgb, params.stddev_rgb)
  return tf.cast(images, params.dtype)


def _kind(pair: tuple[ImageAugmentation, tf.Tensor]) -> tuple[bool, bool]:
  """Returns what those have in common that are applied together."""
  step, _ = pair
  return isinstance(step, base.Move), step.after_normalization
