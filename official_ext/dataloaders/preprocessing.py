"""From bytes to what the model reads, on the host or on an accelerator."""

from typing import NamedTuple

import tensorflow as tf

from official_ext.configs import common
from official_ext.configs.image_classification import DataConfig
from official_ext.ops import augment, stateless_random
from official_ext.ops.normalize import normalize

# Stands in a seed where augmentation has the step, which counts from 0, and the
# order of the images has -1.
_STRATIFY = -2
# More than there are offsets, by far.
_MANY = 2**24


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
    ranks: int32 `[rows, 2]` with `params.stratified`, otherwise nothing: the
      places of each image in two random orders of the epoch, one to crop it by
      and one to flip it by.
  """

  images: tf.Tensor
  epoch: tf.Tensor
  step: tf.Tensor
  first_row: tf.Tensor
  ranks: tf.Tensor | tuple[()] = ()


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
  choices = Choices(*(tf.gather(choice, rows) for choice in choices))
  if params.stratified:
    choices = _stratify(choices, params, batch.ranks)
  return apply(images, params, choices)


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
  count, cutout = params.global_batch_size, _cutout_config(params)
  for_offsets, for_flips, for_corners = stateless_random.split(seed, 3)
  offsets = augment.draw_offsets(for_offsets, count, params.crop_padding)
  flips, corners = tf.zeros([count], tf.bool), tf.zeros([count, 2], tf.int32)
  if params.aug_rand_hflip:
    flips = augment.draw_flips(for_flips, count)
  if cutout:
    corners = _cutout(cutout).draw(for_corners, count, *size)
  return Choices(offsets, flips, corners)


def draw_ranks(
  params: DataConfig, epoch: tf.Tensor, num_examples: int
) -> tf.Tensor:
  """Draws the `ranks` of all images of an epoch.

  Args:
    params: Training data.
    epoch: int32 scalar.
    num_examples: Of the data set.

  Returns:
    int32 `[num_examples, 2]`; each column is a random order of consecutive
    numbers, which begin anywhere, so that no choice is always one of those that
    one image more than the others gets.
  """
  seed = stateless_random.make_seed(params.seed or 0, epoch, _STRATIFY)
  *for_orders, for_starts = stateless_random.split(seed, 3)
  orders = [
    stateless_random.permutation(one, num_examples) for one in for_orders
  ]
  starts = stateless_random.integers(for_starts, 1, [_MANY, _MANY])
  return tf.stack(orders, axis=-1) + starts


def _stratify(
  choices: Choices, params: DataConfig, ranks: tf.Tensor
) -> Choices:
  offsets = augment.spread_offsets(ranks[:, 0], params.crop_padding)
  choices = choices._replace(offsets=offsets)
  if params.aug_rand_hflip:
    choices = choices._replace(flips=augment.spread_flips(ranks[:, 1]))
  return choices


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
    images,
    choices.offsets,
    choices.flips,
    params.crop_padding,
    params.crop_padding_mode,
  )
  cutout = _cutout_config(params)
  if cutout and cutout.before_normalization:
    images = _cutout(cutout).apply(images, choices.corners)
  images = normalize(images, params.mean_rgb, params.stddev_rgb)
  if cutout and not cutout.before_normalization:
    images = _cutout(cutout).apply(images, choices.corners)
  return tf.cast(images, params.dtype)


def _cutout_config(params: DataConfig) -> common.Cutout | None:
  if params.aug_type and params.aug_type.type == 'cutout':
    return params.aug_type.cutout
  return None


def _cutout(config: common.Cutout) -> augment.Cutout:
  return augment.Cutout(config.size, inside=config.inside)
