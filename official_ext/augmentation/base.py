"""What every augmentation of training images is."""

import dataclasses
import zlib
from collections.abc import Sequence

import tensorflow as tf
from official.modeling import hyperparams
from official.vision.ops import augment

# Height and width.
Size = tuple[int, int]


@dataclasses.dataclass
class ImageAugmentation(hyperparams.Config, augment.ImageAugment):
  """An augmentation of whole batches, and its config; a Garden `ImageAugment`.

  It is in two parts: a draw of one choice for each image, a pure function of a
  seed, and the application of given choices. Both are vectorised TensorFlow
  that runs eagerly, inside tf.data and under XLA, with the same results.

  A subclass is a dataclass of options that `parts.kind(Augmentation, NAME)`
  registers, with `draw` and `apply`. If it can spread its choices evenly over
  an epoch, it has an option `stratified`, and `spread`; if it can go on from
  what an image got in the epoch before, `alternating`, and `alternate`.

  Attributes:
    after_normalization: Whether it is applied to normalised images, in which 0
      is the mean colour, instead of bytes.
  """

  after_normalization = False

  @classmethod
  def stream(cls) -> int:
    """Returns what tells its random numbers from another augmentation's."""
    return zlib.crc32(f'{cls.__module__}.{cls.__name__}'.encode()) >> 1

  @property
  def is_stratified(self) -> bool:
    """Whether the choices of an epoch are spread evenly over its images."""
    return getattr(self, 'stratified', False)

  @property
  def is_alternating(self) -> bool:
    """Whether an epoch's choices follow from an image's first one."""
    return getattr(self, 'alternating', False)

  def check_fits(self, side: int, place: str) -> None:
    """Raises where it cannot be applied to images of a size.

    Args:
      side: The smaller of height and width, in pixels.
      place: Dotted place of this config, with a dot at its end.

    Raises:
      UserError: If an option is too large.
    """

  def draw(
    self, seed: tf.Tensor, count: int, height: int, width: int
  ) -> tf.Tensor:
    """Draws a choice for each image.

    Args:
      seed: int32 `[2]`.
      count: Number of images.
      height: Of the images.
      width: Of the images.

    Returns:
      A tensor whose first dimension is `count`.
    """
    raise NotImplementedError

  def spread(self, ranks: tf.Tensor) -> tf.Tensor:
    """Makes the choices of some images evenly, instead of drawing them.

    Args:
      ranks: int32 `[count]`, at least 0. Over images whose ranks follow one
        another without a gap, the counts of the choices differ by 1 at most.

    Returns:
      As `draw`.
    """
    raise NotImplementedError

  def alternate(self, choices: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """Makes the choices of an epoch from those that the images began with.

    Args:
      choices: Of `draw` or `spread`, the same in every epoch.
      epoch: int32 scalar, counted from 0.

    Returns:
      As `draw`.
    """
    raise NotImplementedError

  def apply(self, images: tf.Tensor, choices: tf.Tensor) -> tf.Tensor:
    """Applies given choices.

    Args:
      images: `[batch, height, width, channels]`, uint8, or float32 after the
        normalisation.
      choices: Of `draw`, `spread` or `alternate`, one for each image.

    Returns:
      Images of the same shape and type.
    """
    raise NotImplementedError

  def distort(self, image: tf.Tensor) -> tf.Tensor:
    """Augments with choices drawn anew at each call.

    Args:
      image: `[height, width, channels]` or `[batch, height, width, channels]`.

    Returns:
      An image or images of the same shape and type.
    """
    if image.shape.rank == 3:
      return self.distort(image[tf.newaxis])[0]
    seed = tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)
    _, height, width, _ = image.shape
    choices = self.draw(seed, tf.shape(image)[0], height, width)
    return self.apply(image, choices)


@dataclasses.dataclass
class Move(ImageAugmentation):
  """An augmentation that says where each row and each column is read.

  Several of them, one after another, read an image once.
  """

  def source(
    self, rows: tf.Tensor, columns: tf.Tensor, choices: tf.Tensor, size: Size
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where rows and columns of the result are in the images.

    Args:
      rows: int32 `[batch, n]`.
      columns: int32 `[batch, m]`.
      choices: Of `draw` or `spread`, one for each image.
      size: Height and width of the images.

    Returns:
      Two tensors of the same shapes, less than 0 where there is only black,
      which is for a class that says in `blackens` that there may be.
    """
    raise NotImplementedError

  @property
  def blackens(self) -> bool:
    """Whether some of it may be black."""
    return False

  def apply(self, images: tf.Tensor, choices: tf.Tensor) -> tf.Tensor:
    """Applies given choices; see `ImageAugmentation`."""
    return move(images, [(self, choices)])


def move(
  images: tf.Tensor, steps: Sequence[tuple[Move, tf.Tensor]]
) -> tf.Tensor:
  """Moves the pixels of images by several augmentations at once.

  Args:
    images: `[batch, height, width, channels]` of any numeric type.
    steps: Each with its choices, in the order in which they are applied.

  Returns:
    Images of the same shape and type.
  """
  _, height, width, _ = images.shape
  count = tf.shape(images)[0]
  rows, columns = (
    tf.tile(tf.range(length)[tf.newaxis], [count, 1])
    for length in (height, width)
  )
  black = any(step.blackens for step, _ in steps)
  # From the result back to what it is made of.
  for step, choices in reversed(steps):
    before = rows, columns
    rows, columns = step.source(rows, columns, choices, (height, width))
    if black:  # It stays so, whatever is beneath.
      rows, columns = (
        tf.where(old < 0, -1, new)
        for old, new in zip(before, (rows, columns), strict=True)
      )
  if not black:
    return _read(images, rows, columns)
  inside = (rows >= 0)[:, :, tf.newaxis] & (columns >= 0)[:, tf.newaxis]
  read = _read(images, tf.maximum(rows, 0), tf.maximum(columns, 0))
  return tf.where(inside[..., tf.newaxis], read, tf.zeros([], images.dtype))


def _read(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
  images = tf.gather(images, rows, axis=1, batch_dims=1)
  return tf.gather(images, columns, axis=2, batch_dims=1)
