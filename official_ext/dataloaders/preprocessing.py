"""From bytes to what the model reads, on the host or on an accelerator."""

import collections
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from official_ext.augmentation import base
from official_ext.augmentation.base import ImageAugmentation
from official_ext.configs.image_classification import DataConfig
from official_ext.ops import placement, stateless_random
from official_ext.ops.normalize import normalize

# Stands in a seed where augmentation has the step, which counts from 0, and the
# order of the images has -1.
_STRATIFY = -2
# More than there are choices, by far.
_MANY = 2**24
# The streams of cifar10-fast's augmentations, which share a split of the seed;
# others fold their own number into it.
_SPLIT = 3


class Unprocessed(NamedTuple):
  """Images, and what is to become of each of them.

  Attributes:
    images: uint8 `[rows, height, width, channels]`; or int32 `[rows]`, their
      places in the data set, where the images are resident.
    choices: A tensor an augmentation, `[rows, …]`; see `choose`.
  """

  images: tf.Tensor
  choices: tuple[tf.Tensor, ...]


def on_device(params: DataConfig) -> bool:
  """Whether the step preprocesses images, which then are resident."""
  asked = params.preprocess_on_device
  return placement.on_gpu() if asked is None else asked


def augmentations(params: DataConfig) -> list[ImageAugmentation]:
  """Returns what is done to training images, in order."""
  return [one.get() for one in params.augmentations]


def choose(
  params: DataConfig,
  epoch: tf.Tensor,
  step: tf.Tensor,
  rows: tf.Tensor,
  size: Sequence[int],
  ranks: tf.Tensor | tuple[()] = (),
) -> tuple[tf.Tensor, ...]:
  """Makes the choices for some rows of a global batch, on the host.

  They are drawn for the whole batch, so that each of several replicas makes its
  rows as a single one would. What compiles for an accelerator is told of them:
  random numbers would be half of its code.

  Args:
    params: Training data. A `seed` of None is 0.
    epoch: int32 scalar.
    step: int32 scalar, the step within the epoch.
    rows: int32 `[rows]`, places in the global batch.
    size: Height and width of the images.
    ranks: int32 `[rows, n]` with n stratified augmentations, nothing without:
      the places of each image in n random orders of the epoch, one to make each
      of their choices by; see `draw_ranks`.

  Returns:
    A tensor an augmentation, with a choice for each row.
  """
  seed = stateless_random.make_seed(params.seed or 0, epoch, step)
  choices = [tf.gather(choice, rows) for choice in draw(params, seed, size)]
  stratified = 0
  for place, augmentation in enumerate(augmentations(params)):
    if augmentation.is_stratified:
      choices[place] = augmentation.spread(tf.gather(ranks, stratified, axis=1))
      stratified += 1
  return tuple(choices)


def for_evaluation(images: tf.Tensor, params: DataConfig) -> tf.Tensor:
  """Normalises uint8 `[batch, height, width, channels]` to `params.dtype`."""
  images = normalize(images, params.mean_rgb, params.stddev_rgb)
  return tf.cast(images, params.dtype)


def draw(
  params: DataConfig, seed: tf.Tensor, size: Sequence[int]
) -> list[tf.Tensor]:
  """Draws the choices for a whole global batch, a tensor an augmentation.

  Args:
    params: Training data.
    seed: int32 `[2]`.
    size: Height and width of the images.
  """
  steps = augmentations(params)
  return [
    step.draw(own_seed, params.global_batch_size, *size)
    for step, own_seed in zip(steps, _seeds(steps, seed), strict=True)
  ]


def draw_ranks(
  params: DataConfig, epoch: tf.Tensor, num_examples: int
) -> tf.Tensor | tuple[()]:
  """Draws the ranks of all images of an epoch, for `choose`.

  Args:
    params: Training data.
    epoch: int32 scalar.
    num_examples: Of the data set.

  Returns:
    int32 `[num_examples, n]` with n stratified augmentations, nothing without;
    each column is a random order of consecutive numbers, which begin anywhere,
    so that no choice is always one of those that one image more than the others
    gets.
  """
  steps = [step for step in augmentations(params) if step.is_stratified]
  if not steps:
    return ()
  seed = stateless_random.make_seed(params.seed or 0, epoch, _STRATIFY)
  *_, for_starts = stateless_random.split(seed, _SPLIT)
  starts = stateless_random.integers(for_starts, 1, [_MANY] * len(steps))
  orders = [
    stateless_random.permutation(own_seed, num_examples)
    for own_seed in _seeds(steps, seed)
  ]
  return tf.stack(orders, axis=-1) + starts


def _seeds(
  steps: Sequence[ImageAugmentation], seed: tf.Tensor
) -> list[tf.Tensor]:
  """Returns a seed for each augmentation, by its stream.

  So an augmentation draws the same whatever else there is. One that comes twice
  draws anew the second time.
  """
  shared = stateless_random.split(seed, _SPLIT)
  counts: collections.Counter[int] = collections.Counter()
  seeds = []
  for step in steps:
    stream = step.stream()
    own = shared[stream] if stream < _SPLIT else None
    if own is None:
      own = stateless_random.fold_in(seed, stream)
    if counts[stream]:
      own = stateless_random.fold_in(own, counts[stream])
    counts[stream] += 1
    seeds.append(own)
  return seeds


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
