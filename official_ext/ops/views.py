"""Ways to look at an image: test-time augmentation by their mean logits."""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import tensorflow as tf

from official_ext.errors import UserError


class Look(Hashable, Protocol):
  """What is looked at in the place of images.

  Two that are equal are looked at once, whatever views they are in.
  """

  def __call__(self, images: tf.Tensor) -> tf.Tensor:
    """Returns images of the same shape and type."""


# Each with its weight. The weights add up to 1.
View = Sequence[tuple[float, Look]]


@dataclasses.dataclass(frozen=True)
class Moved:
  """Images that are shifted by some pixels, then mirrored.

  Attributes:
    down: Pixels by which the window on the image goes down; up where negative.
      Beyond the border the image is reflected, without repeating the border.
    right: The same to the right.
    mirrored: Whether left and right are exchanged, after that.
  """

  down: int = 0
  right: int = 0
  mirrored: bool = False

  def __call__(self, images: tf.Tensor) -> tf.Tensor:
    """Moves `[batch, height, width, channels]`."""
    if self.down or self.right:
      images = self._shift(images)
    return images[:, :, ::-1] if self.mirrored else images

  def _shift(self, images: tf.Tensor) -> tf.Tensor:
    _, height, width, _ = images.shape
    rows, columns = abs(self.down), abs(self.right)
    pads = [(0, 0), (rows, rows), (columns, columns), (0, 0)]
    padded = tf.pad(images, pads, 'REFLECT')
    top, left = rows + self.down, columns + self.right
    return padded[:, top : top + height, left : left + width]


PLAIN = Moved()

_VIEWS: dict[str, View] = {}
_WORDS: dict[str, str] = {}


def register(name: str, words: str, view: View) -> None:
  """Registers a view.

  Args:
    name: For `evaluation.views` to name it, and for its column.
    words: What an accuracy over it is said to be, such as 'with the mirror
      image'.
    view: What is looked at, `PLAIN` for the images themselves.
  """
  _VIEWS[name], _WORDS[name] = view, words


def with_mirror_images(view: Sequence[tuple[float, Moved]]) -> View:
  """Returns a view of the same moves, each with its mirror image."""
  return [
    (weight / 2, dataclasses.replace(move, mirrored=mirrored))
    for weight, move in view
    for mirrored in (False, True)
  ]


def get(name: str) -> View:
  """Returns a view.

  Raises:
    UserError: If there is none of that name.
  """
  if name not in _VIEWS:
    raise UserError(
      f"task.evaluation.views: there is no view '{name}'; there are "
      f'{", ".join(_VIEWS)} (gin: evaluation.views).'
    )
  return _VIEWS[name]


def words(name: str) -> str:
  """Returns what an accuracy over a view is said to be."""
  return _WORDS.get(name, f'over the view {name}')


def metric_name(name: str) -> str:
  """Returns what the accuracy over a view is reported as."""
  return f'accuracy_{name}'


def logits(
  model: Callable[[tf.Tensor], tf.Tensor],
  images: tf.Tensor,
  seen: dict[Look, tf.Tensor],
  name: str,
) -> tf.Tensor:
  """Returns the mean logits over a view.

  Args:
    model: From images to logits.
    images: `[batch, height, width, channels]`, normalised.
    seen: The logits of what has been looked at, which are not computed again;
      those that are computed are added.
    name: Of the view.
  """
  view = get(name)
  for _, look in view:
    if look not in seen:
      seen[look] = model(look(images))
  return tf.add_n([weight * seen[look] for weight, look in view])


# As in cifar10-fast's `new_dawn.py`.
register('mirror', 'with the mirror image', with_mirror_images([(1.0, PLAIN)]))

# As in airbench (https://arxiv.org/abs/2404.00498, section 3.5): six views.
register(
  'mirror_translate',
  'with mirror images and shifts by a pixel',
  with_mirror_images(
    [
      (0.5, PLAIN),
      (0.25, Moved(down=-1, right=-1)),
      (0.25, Moved(down=1, right=1)),
    ]
  ),
)
