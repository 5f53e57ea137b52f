"""Training on smaller images first."""

import dataclasses
import itertools
import sys
from collections.abc import Sequence

from official.modeling import hyperparams

from official_ext.errors import UserError
from official_ext.schema import fields, parts


@parts.part('progressive_resizing')
@dataclasses.dataclass
class ProgressiveResizing(hyperparams.Config):
  """Sizes of the training images, which grow to their own.

  A step on smaller images costs less, and early steps need no details
  (https://www.fast.ai/posts/2018-08-10-fastai-diu-imagenet.html). Images are
  brought to a size after their augmentation, see `official_ext.ops.resizing`;
  evaluation is at their own.

  Attributes:
    sides: Of each stage, the pixels of the shorter side.
    until: Of each stage, the share of all steps at which it ends; from the last
      one on, images have their own size.
  """

  sides: list[int] = fields.field([], fields.all_of(fields.AT_LEAST_1))
  until: list[float] = fields.field([], fields.all_of(fields.ABOVE_0))

  def check_together(self, place: str) -> None:
    """Raises where stages do not follow one another."""
    rising = all(a < b for a, b in itertools.pairwise([*self.until, 1.0]))
    if not (self.sides and rising and len(self.sides) == len(self.until)):
      raise UserError(
        f'{place[:-1]} has sides={self.sides} until={self.until}; give each '
        'side the share of the steps until which it is used, rising and less '
        'than 1, such as sides=[20, 24] until=[0.15, 0.5].'
      )


@dataclasses.dataclass(frozen=True)
class Stage:
  """A part of a training.

  Attributes:
    size: Height and width of the images.
    end: The step that is no longer of it; they count from 0.
  """

  size: tuple[int, int]
  end: int


def sizes(
  resizing: ProgressiveResizing | None, image_size: Sequence[int]
) -> list[tuple[int, int]]:
  """Returns height and width of the images of each stage but the last.

  Args:
    resizing: The config; None for images of their own size alone.
    image_size: Height and width of the images, and anything after.
  """
  height, width = image_size[:2]
  scales = (
    side / min(height, width) for side in (resizing.sides if resizing else [])
  )
  return [(round(height * scale), round(width * scale)) for scale in scales]


def stages(
  resizing: ProgressiveResizing | None,
  image_size: Sequence[int],
  train_steps: int,
) -> list[Stage]:
  """Returns the parts of a training, in their order, the last without an end.

  Args:
    resizing: As in `sizes`.
    image_size: As in `sizes`.
    train_steps: Steps of the training.
  """
  found, begin = [], 0
  shares = resizing.until if resizing else []
  for size, share in zip(sizes(resizing, image_size), shares, strict=True):
    end = round(share * train_steps)
    if end > begin:
      found.append(Stage(size, end))
    begin = end
  height, width = image_size[:2]
  return [*found, Stage((height, width), sys.maxsize)]
