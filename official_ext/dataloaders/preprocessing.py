"""From bytes to what the model reads, on the host or on an accelerator."""

from typing import NamedTuple

import tensorflow as tf

from official_ext.configs.image_classification import DataConfig
from official_ext.ops import augment, stateless_random
from official_ext.ops.normalize import normalize


class Choices(NamedTuple):
  """What is drawn for each image of a batch; see `official_ext.ops.augment`.

  Attributes:
    offsets: int32 `[batch, 2]`, the (y, x) of the crops.
    flips: bool `[batch]`.
    corners: int32 `[batch, 2]`, the (y, x) of the cutouts.
  """

  offsets: tf.Tensor
  flips: tf.Tensor
  corners: tf.Tensor


class Unprocessed(NamedTuple):
  """Rows of a global batch, with all that their augmentation depends on.

  Attributes:
    images: uint8 `[rows, height, width, channels]`.
    epoch: int32 scalar.
    step: int32 scalar, the step within the epoch.
    first_row: int32 scalar, the place of the first image in the global batch.
  """

  images: tf.Tensor
  epoch: tf.Tensor
  step: tf.Tensor
  first_row: tf.Tensor


def for_training(batch: Unprocessed, params: DataConfig) -> tf.Tensor:
  """Augments and normalises some rows of a global batch.

  A pure function of its arguments, on the host or compiled for an accelerator.
  The choices are drawn for the whole global batch, so that each of several
  replicas makes its rows as a single one would.

  Args:
    batch: Images and where in the training they are.
    params: Training data. A `seed` of None is 0.

  Returns:
    Images of `params.dtype`, `[rows, height, width, channels]`.
  """
  images = batch.images
  seed = stateless_random.make_seed(params.seed or 0, batch.epoch, batch.step)
  choices = draw(params, seed, images.shape[1:3])
  rows = batch.first_row + tf.range(tf.shape(images)[0])
  return apply(images, params, Choices(*(tf.gather(c, rows) for c in choices)))


def for_evaluation(images: tf.Tensor, params: DataConfig) -> tf.Tensor:
  """Normalises uint8 `[batch, height, width, channels]` to `params.dtype`."""
  images = normalize(images, params.mean_rgb, params.stddev_rgb)
  return tf.cast(images, params.dtype)


def draw(params: DataConfig, seed: tf.Tensor, size: tf.TensorShape) -> Choices:
  """Draws the choices for a whole global batch.

  Args:
    params: Training data.
    seed: int32 `[2]`.
    size: Height and width of the images.
  """
  count, cutout = params.global_batch_size, _cutout(params)
  for_offsets, for_flips, for_corners = stateless_random.split(seed, 3)
  offsets = augment.draw_offsets(for_offsets, count, params.crop_padding)
  flips, corners = tf.zeros([count], tf.bool), tf.zeros([count, 2], tf.int32)
  if params.aug_rand_hflip:
    flips = augment.draw_flips(for_flips, count)
  if cutout:
    corners = cutout.draw(for_corners, count, *size)
  return Choices(offsets, flips, corners)


def apply(images: tf.Tensor, params: DataConfig, choices: Choices) -> tf.Tensor:
  """Crops, flips, normalises and cuts out, in cifar10-fast's order.

  Args:
    images: uint8 `[batch, height, width, channels]`.
    params: Training data.
    choices: One for each image.

  Returns:
    Images of `params.dtype` and the same shape.
  """
  images = augment.crop_and_flip(
    images, choices.offsets, choices.flips, params.crop_padding
  )
  images = normalize(images, params.mean_rgb, params.stddev_rgb)
  cutout = _cutout(params)
  if cutout:
    images = cutout.apply(images, choices.corners)
  return tf.cast(images, params.dtype)


def _cutout(params: DataConfig) -> augment.Cutout | None:
  if params.aug_type and params.aug_type.type == 'cutout':
    return augment.Cutout(params.aug_type.cutout.size)
  return None
