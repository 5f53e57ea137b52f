"""Crops of padded images, as in cifar10-fast."""

import dataclasses

import tensorflow as tf

from official_ext.augmentation import base
from official_ext.configs.augmentation import Augmentation
from official_ext.errors import UserError
from official_ext.ops import stateless_random
from official_ext.schema import fields, parts


def _reflect(positions: tf.Tensor, length: int) -> tf.Tensor:
  """Returns where in 0 to `length` - 1 positions beyond the ends reflect to."""
  return length - 1 - tf.abs(length - 1 - tf.abs(positions))


def _repeat_border(positions: tf.Tensor, length: int) -> tf.Tensor:
  """Returns where they reflect to if the border is counted twice."""
  positions = tf.where(positions < 0, -1 - positions, positions)
  beyond = 2 * length - 1 - positions
  return tf.where(positions >= length, beyond, positions)


def _or_nothing(positions: tf.Tensor, length: int) -> tf.Tensor:
  """Returns the positions, and -1 for those beyond the ends."""
  inside = (positions >= 0) & (positions < length)
  return tf.where(inside, positions, -1)


# Where to read what is beyond the border; with 'zero' it is black, as by the
# padding of torchvision's RandomCrop.
PADDING_MODES = {
  'reflect': _reflect,
  'symmetric': _repeat_border,
  'zero': _or_nothing,
}


@parts.kind(Augmentation, 'crop')
@dataclasses.dataclass
class Crop(base.Move):
  """Pads an image on all sides, and crops it to its size at random.

  cifar10-fast pads by reflection without repeating the border: NumPy's
  'reflect', not 'symmetric'. All of it is one choice of where to read each row
  and each column.

  Attributes:
    padding: Pixels of padding on each side.
    mode: 'reflect', 'symmetric' (which repeats the border) or 'zero' (black).
    stratified: Whether an epoch has each crop equally often, instead of drawing
      for each image by itself.
  """

  padding: int = fields.field(4, fields.AT_LEAST_0)
  mode: str = fields.field('reflect', fields.one_of(*PADDING_MODES))
  stratified: bool = False

  @classmethod
  def stream(cls) -> int:
    """Returns the first of the streams of cifar10-fast's three."""
    return 0

  def check_fits(self, side: int, place: str) -> None:
    """Raises where the image is too small to be reflected."""
    if self.padding >= side and not self.blackens:
      raise UserError(
        f'{place}padding={self.padding} cannot be reflected in images of '
        f'{side} pixels; use less (gin: crop.padding).'
      )

  def draw(
    self, seed: tf.Tensor, count: int, height: int, width: int
  ) -> tf.Tensor:
    """Draws int32 `[count, 2]`: (y, x), uniform in 0 to 2 * padding."""
    del height, width
    return stateless_random.integers(seed, count, [2 * self.padding + 1] * 2)

  def spread(self, ranks: tf.Tensor) -> tf.Tensor:
    """Returns the same as `draw`, each offset as often as any other."""
    side = 2 * self.padding + 1
    return tf.stack([ranks // side % side, ranks % side], axis=-1)

  @property
  def blackens(self) -> bool:
    """Whether what is beyond the border is black."""
    return self.mode == 'zero'

  def source(
    self,
    rows: tf.Tensor,
    columns: tf.Tensor,
    choices: tf.Tensor,
    size: base.Size,
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where crops at the given offsets are read; see `Move`.

    Raises:
      ValueError: If the padding is too large to be reflected.
    """
    height, width = size
    if not (0 <= self.padding < min(size) or self.blackens):
      raise ValueError(
        f'padding={self.padding} cannot be reflected in images of '
        f'{height}x{width}.'
      )
    find, before = PADDING_MODES[self.mode], choices - self.padding
    return (
      find(rows + before[:, :1], height),
      find(columns + before[:, 1:], width),
    )
