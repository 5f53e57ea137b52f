"""What augmentations choose for each image, drawn on the host.

All of it is a function of the run's seed and of the epoch, with one of three
more: the step, an image's place in the order of the epoch, or, in what goes on
from epoch to epoch, its place in the data set. So it is the same after a
resume, and however many workers there are.
"""

import collections
from collections.abc import Sequence

import tensorflow as tf

from official_ext.augmentation.base import ImageAugmentation
from official_ext.configs.image_classification import DataConfig
from official_ext.ops import stateless_random

# Stand in a seed where augmentation has the step, which counts from 0, and the
# order of the images has -1.
_STRATIFY = -2
_ALTERNATE = -3
# Stands there where an epoch, which counts from 0, has its number.
_BEFORE_THE_FIRST = -1
# More than there are choices, by far.
_MANY = 2**24
# The streams of cifar10-fast's augmentations, which share a split of the seed;
# others fold their own number into it.
_SPLIT = 3


def augmentations(params: DataConfig) -> list[ImageAugmentation]:
  """Returns what is done to training images, in order."""
  return [one.get() for one in params.augmentations]


def choose(
  params: DataConfig,
  epoch: tf.Tensor,
  step: tf.Tensor,
  rows: tf.Tensor,
  size: Sequence[int],
  of_epoch: Sequence[tf.Tensor] = (),
) -> tuple[tf.Tensor, ...]:
  """Makes the choices for some rows of a global batch.

  They are drawn for the whole batch, so that each of several replicas makes its
  rows as a single one would. What compiles for an accelerator is told of them:
  random numbers would be half of its code.

  Args:
    params: Training data. A `seed` of None is 0.
    epoch: int32 scalar.
    step: int32 scalar, the step within the epoch.
    rows: int32 `[rows]`, places in the global batch.
    size: Height and width of the images.
    of_epoch: Those choices, for each row, that are not drawn by the step; see
      `choose_for_epoch`.

  Returns:
    A tensor an augmentation, with a choice for each row.
  """
  seed = stateless_random.make_seed(params.seed or 0, epoch, step)
  made = iter(of_epoch)
  return tuple(
    next(made) if _is_of_epoch(one) else tf.gather(drawn, rows)
    for one, drawn in zip(
      augmentations(params), draw(params, seed, size), strict=True
    )
  )


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


def choose_for_epoch(
  params: DataConfig, epoch: tf.Tensor, order: tf.Tensor, size: Sequence[int]
) -> tuple[tf.Tensor, ...]:
  """Makes the choices that are those of an epoch as a whole, for `choose`.

  Args:
    params: Training data. A `seed` of None is 0.
    epoch: int32 scalar.
    order: int32 `[num_examples]`, the places in the data set of the images, in
      the order of the epoch.
    size: Height and width of the images.

  Returns:
    For each augmentation that is stratified or alternating, a tensor with a
    choice for each image, in the order of the epoch.
  """
  steps = [step for step in augmentations(params) if _is_of_epoch(step)]
  alternating = [step for step in steps if step.is_alternating]
  others = [step for step in steps if not step.is_alternating]
  run_seed, count = params.seed or 0, order.shape[0]
  before = stateless_random.make_seed(run_seed, _BEFORE_THE_FIRST, _ALTERNATE)
  now = stateless_random.make_seed(run_seed, epoch, _STRATIFY)
  of_images = iter(_choose_for_all(alternating, before, count, size))
  of_places = iter(_choose_for_all(others, now, count, size))
  return tuple(
    step.alternate(tf.gather(next(of_images), order), epoch)
    if step.is_alternating
    else next(of_places)
    for step in steps
  )


def _is_of_epoch(step: ImageAugmentation) -> bool:
  return step.is_stratified or step.is_alternating


def _choose_for_all(
  steps: Sequence[ImageAugmentation],
  seed: tf.Tensor,
  count: int,
  size: Sequence[int],
) -> list[tf.Tensor]:
  """Makes a choice of each augmentation for each of `count` images."""
  stratified = [step for step in steps if step.is_stratified]
  evenly = iter(_spread(stratified, seed, count))
  return [
    next(evenly) if step.is_stratified else step.draw(own_seed, count, *size)
    for step, own_seed in zip(steps, _seeds(steps, seed), strict=True)
  ]


def _spread(
  steps: Sequence[ImageAugmentation], seed: tf.Tensor, count: int
) -> list[tf.Tensor]:
  """Spreads the choices of each augmentation evenly over `count` images.

  By ranks that are a random order of consecutive numbers, which begin anywhere,
  so that no choice is always one of those that one image more than the others
  gets.
  """
  if not steps:
    return []
  *_, for_starts = stateless_random.split(seed, _SPLIT)
  starts = stateless_random.integers(for_starts, 1, [_MANY] * len(steps))[0]
  return [
    step.spread(stateless_random.permutation(own_seed, count) + start)
    for step, own_seed, start in zip(
      steps, _seeds(steps, seed), tf.unstack(starts), strict=True
    )
  ]


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
