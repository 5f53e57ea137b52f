"""Mirror images."""

import dataclasses

import tensorflow as tf

from official_ext.augmentation import base
from official_ext.configs.augmentation import Augmentation
from official_ext.ops import stateless_random
from official_ext.schema import parts


@parts.kind(Augmentation, 'flip')
@dataclasses.dataclass
class Flip(base.Move):
  """Mirrors half of the images left to right.

  Alternating flips are airbench's (https://arxiv.org/abs/2404.00498, section
  3.6): two epochs in a row have both sides of each image.

  Attributes:
    stratified: Whether it is exactly half of the images of an epoch, instead of
      a draw for each image by itself.
    alternating: Whether each image is drawn once, before the first epoch, and
      turned in every epoch from then on, instead of drawn for each.
  """

  stratified: bool = False
  alternating: bool = False

  @classmethod
  def stream(cls) -> int:
    """Returns the second of the streams of cifar10-fast's three."""
    return 1

  def draw(
    self, seed: tf.Tensor, count: int, height: int, width: int
  ) -> tf.Tensor:
    """Draws bool `[count]`, true for half of the images."""
    del height, width
    return stateless_random.integers(seed, count, [2])[:, 0] == 1

  def spread(self, ranks: tf.Tensor) -> tf.Tensor:
    """Returns bool `[count]`, true for odd ranks."""
    return ranks % 2 == 1

  def alternate(self, choices: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """Returns bool `[count]`, turned in odd epochs."""
    return choices ^ (epoch % 2 == 1)

  def source(
    self,
    rows: tf.Tensor,
    columns: tf.Tensor,
    choices: tf.Tensor,
    size: base.Size,
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Reads the columns of chosen images from the right; see `Move`."""
    _, width = size
    mirrored = width - 1 - columns
    return rows, tf.where(choices[:, tf.newaxis], mirrored, columns)
