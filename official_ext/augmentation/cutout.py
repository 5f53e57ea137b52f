"""Cutout, as in cifar10-fast."""

import dataclasses

import tensorflow as tf

from official_ext.augmentation import base
from official_ext.configs.augmentation import Augmentation
from official_ext.errors import UserError
from official_ext.ops import stateless_random
from official_ext.schema import fields, parts


@parts.kind(Augmentation, 'cutout')
@dataclasses.dataclass
class Cutout(base.ImageAugmentation):
  """Sets a square of each image to zero (https://arxiv.org/abs/1708.04552).

  As in cifar10-fast, and unlike Garden's `augment.cutout`, the square lies
  wholly inside the image, and `size` is its side. Applied after normalisation,
  zero is the mean colour.

  Attributes:
    size: Side of the square in pixels. 8 is cifar10-fast's.
    inside: Whether all of the square lies in the image. Otherwise its centre is
      drawn from all of the image, and what is outside is cut off, as in
      Garden's.
    before_normalization: Whether the square is black instead of the mean.
  """

  size: int = fields.field(8, fields.AT_LEAST_1)
  inside: bool = True
  before_normalization: bool = False

  @classmethod
  def stream(cls) -> int:
    """Returns the third of the streams of cifar10-fast's three."""
    return 2

  @property
  def after_normalization(self) -> bool:  # type: ignore[override]
    """Whether zero is to be the mean."""
    return not self.before_normalization

  def check_fits(self, side: int, place: str) -> None:
    """Raises where the square is larger than the image."""
    if self.size > side:
      raise UserError(
        f'{place}size={self.size} is more than the {side} pixels of an image; '
        'use less (gin: cutout.size).'
      )

  def draw(
    self, seed: tf.Tensor, count: int, height: int, width: int
  ) -> tf.Tensor:
    """Draws where the squares lie.

    Returns:
      int32 `[count, 2]`, the (y, x) of the upper left corners, each uniform
      from 0 to the height or width less `size` inclusive; or, where squares are
      cut off, from `-(size // 2)` on, with as many values as there are pixels.

    Raises:
      ValueError: If the square is larger than the images.
    """
    if self.size > min(height, width):
      raise ValueError(
        f'cutout size={self.size} does not fit in images of {height}x{width}.'
      )
    if not self.inside:
      centres = stateless_random.integers(seed, count, [height, width])
      return centres - self.size // 2
    limits = [height - self.size + 1, width - self.size + 1]
    return stateless_random.integers(seed, count, limits)

  def apply(self, images: tf.Tensor, choices: tf.Tensor) -> tf.Tensor:
    """Sets the squares at the given corners to zero, in any numeric type."""
    height, width, channels = images.shape[1:]
    in_rows = self._covers(choices[:, 0], height)
    # A row of all its channels at a time, which vectorises.
    in_columns = tf.repeat(self._covers(choices[:, 1], width), channels, axis=1)
    hole = in_rows[:, :, tf.newaxis] & in_columns[:, tf.newaxis, :]
    rows = tf.reshape(images, [-1, height, width * channels])
    rows = tf.where(hole, tf.zeros([], images.dtype), rows)
    return tf.reshape(rows, [-1, height, width, channels])

  def _covers(self, begin: tf.Tensor, length: int) -> tf.Tensor:
    """Returns bool `[batch, length]`: which positions the square covers."""
    distance = tf.range(length) - begin[:, tf.newaxis]
    return (distance >= 0) & (distance < self.size)
