"""Crop, flip and cutout of whole batches, as cifar10-fast applies them.

Each augmentation is in two parts: a draw of one choice for each image, a pure
function of a seed, and the application of given choices. All of it is
vectorised TensorFlow that runs eagerly, inside tf.data and under XLA, with the
same results.
"""

import tensorflow as tf
from official.vision.ops import augment

from official_ext.ops import stateless_random


def draw_offsets(seed: tf.Tensor, count: int, padding: int) -> tf.Tensor:
  """Draws where to crop images that are padded on all sides.

  Args:
    seed: int32 `[2]`.
    count: Number of images.
    padding: Pixels of padding on each side.

  Returns:
    int32 `[count, 2]`, (y, x), each uniform in 0 to 2 * padding inclusive.
  """
  return stateless_random.integers(seed, count, [2 * padding + 1] * 2)


def draw_flips(seed: tf.Tensor, count: int) -> tf.Tensor:
  """Draws which images to mirror: bool `[count]`, true for half of them."""
  return stateless_random.integers(seed, count, [2])[:, 0] == 1


def spread_offsets(ranks: tf.Tensor, padding: int) -> tf.Tensor:
  """Spreads crops evenly: each offset for as many images as any other.

  Args:
    ranks: int32 `[count]`, at least 0. Over images whose ranks follow one
      another without a gap, the counts differ by 1 at most.
    padding: Pixels of padding on each side.

  Returns:
    int32 `[count, 2]`, (y, x), each in 0 to 2 * padding inclusive.
  """
  side = 2 * padding + 1
  return tf.stack([ranks // side % side, ranks % side], axis=-1)


def spread_flips(ranks: tf.Tensor) -> tf.Tensor:
  """Mirrors half of the images: bool `[count]`, true for odd ranks."""
  return ranks % 2 == 1


def crop_and_flip(
  images: tf.Tensor,
  offsets: tf.Tensor,
  flips: tf.Tensor,
  padding: int,
  mode: str = 'reflect',
) -> tf.Tensor:
  """Pads, crops to the size before, then mirrors some images.

  cifar10-fast pads by reflection without repeating the border: NumPy's
  'reflect', not 'symmetric'. All three are one choice of where to read each row
  and each column.

  Args:
    images: `[batch, height, width, channels]` of any type.
    offsets: int32 `[batch, 2]` of `draw_offsets`.
    flips: bool `[batch]`, the images to mirror left to right.
    padding: Pixels of padding on each side; 0 for no crop.
    mode: One of `PADDING_MODES`.

  Returns:
    Images of the same shape and type.

  Raises:
    ValueError: If `padding` is negative or too large to be reflected.
  """
  _, height, width, _ = images.shape
  if not 0 <= padding < min(height, width):
    raise ValueError(
      f'padding={padding} cannot be reflected in images of {height}x{width}.'
    )
  rows = tf.range(height) + offsets[:, :1] - padding
  columns = tf.range(width)
  columns = tf.where(flips[:, tf.newaxis], columns[::-1], columns)
  columns += offsets[:, 1:] - padding
  find = PADDING_MODES[mode]
  padded = tf.gather(images, find(rows, height), axis=1, batch_dims=1)
  padded = tf.gather(padded, find(columns, width), axis=2, batch_dims=1)
  if mode == 'zero':
    inside = _is_inside(rows, height)[:, :, tf.newaxis, tf.newaxis]
    inside &= _is_inside(columns, width)[:, tf.newaxis, :, tf.newaxis]
    padded = tf.where(inside, padded, tf.zeros([], images.dtype))
  return padded


class Cutout(augment.ImageAugment):
  """Sets a square of each image to zero (https://arxiv.org/abs/1708.04552).

  As in cifar10-fast, and unlike Garden's `augment.cutout`, the square lies
  wholly inside the image, and `size` is its side. Applied after normalisation,
  zero is the mean colour.
  """

  def __init__(
    self, size: int = 8, seed: int | None = None, inside: bool = True
  ):
    """Makes a cutout.

    Args:
      size: Side of the square in pixels. 8 is cifar10-fast's.
      seed: Seed of `distort`, with the meaning that it has for
        `tf.random.uniform`.
      inside: Whether all of the square lies in the image. Otherwise its centre
        is drawn from all of the image, and what is outside is cut off, as in
        Garden's.

    Raises:
      ValueError: If `size` is less than 1.
    """
    if size < 1:
      raise ValueError(f'cutout size={size} must be at least 1.')
    self._size = size
    self._seed = seed
    self._inside_only = inside

  def draw(
    self, seed: tf.Tensor, count: int, height: int, width: int
  ) -> tf.Tensor:
    """Draws where the squares lie.

    Args:
      seed: int32 `[2]`.
      count: Number of images.
      height: Of the images.
      width: Of the images.

    Returns:
      int32 `[count, 2]`, the (y, x) of the upper left corners, each uniform
      from 0 to the height or width less `size` inclusive; or, where squares are
      cut off, from `-(size // 2)` on, with as many values as there are pixels.

    Raises:
      ValueError: If the square is larger than the images.
    """
    if self._size > min(height, width):
      raise ValueError(
        f'cutout size={self._size} does not fit in images of {height}x{width}.'
      )
    if not self._inside_only:
      centres = stateless_random.integers(seed, count, [height, width])
      return centres - self._size // 2
    limits = [height - self._size + 1, width - self._size + 1]
    return stateless_random.integers(seed, count, limits)

  def apply(self, images: tf.Tensor, corners: tf.Tensor) -> tf.Tensor:
    """Sets the squares at the given corners to zero.

    Args:
      images: `[batch, height, width, channels]` of any numeric type.
      corners: int32 `[batch, 2]` of `draw`.

    Returns:
      Images of the same shape and type.
    """
    height, width, channels = images.shape[1:]
    in_rows = self._inside(corners[:, 0], height)
    # A row of all its channels at a time, which vectorises.
    in_columns = tf.repeat(self._inside(corners[:, 1], width), channels, axis=1)
    hole = in_rows[:, :, tf.newaxis] & in_columns[:, tf.newaxis, :]
    rows = tf.reshape(images, [-1, height, width * channels])
    rows = tf.where(hole, tf.zeros([], images.dtype), rows)
    return tf.reshape(rows, [-1, height, width, channels])

  def distort(self, image: tf.Tensor) -> tf.Tensor:
    """Cuts a square drawn anew at each call, another one for each image.

    Args:
      image: `[height, width, channels]` or `[batch, height, width, channels]`.

    Returns:
      An image or images of the same shape and type.

    Raises:
      ValueError: If the square is larger than the image.
    """
    if image.shape.rank == 3:
      return self.distort(image[tf.newaxis])[0]
    seed = tf.random.uniform(
      [2], maxval=tf.int32.max, dtype=tf.int32, seed=self._seed
    )
    _, height, width, _ = image.shape
    corners = self.draw(seed, tf.shape(image)[0], height, width)
    return self.apply(image, corners)

  def _inside(self, begin: tf.Tensor, length: int) -> tf.Tensor:
    """Returns bool `[batch, length]`: which positions the square covers."""
    distance = tf.range(length) - begin[:, tf.newaxis]
    return (distance >= 0) & (distance < self._size)


def _reflect(positions: tf.Tensor, length: int) -> tf.Tensor:
  """Returns where in 0 to `length` - 1 positions beyond the ends reflect to."""
  return length - 1 - tf.abs(length - 1 - tf.abs(positions))


def _repeat_border(positions: tf.Tensor, length: int) -> tf.Tensor:
  """Returns where they reflect to if the border is counted twice."""
  positions = tf.where(positions < 0, -1 - positions, positions)
  beyond = 2 * length - 1 - positions
  return tf.where(positions >= length, beyond, positions)


def _is_inside(positions: tf.Tensor, length: int) -> tf.Tensor:
  return (positions >= 0) & (positions < length)


# Where to read what is beyond the border; with 'zero' it is then blackened, as
# by the padding of torchvision's RandomCrop.
PADDING_MODES = {
  'reflect': _reflect,
  'symmetric': _repeat_border,
  'zero': _reflect,
}
