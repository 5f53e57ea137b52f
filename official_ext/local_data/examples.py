"""What every reader of pictures returns, and what the data sets are made of."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

# In pixels, of the network's input, which is halved three times.
MIN_SIDE = 8


class Example(NamedTuple):
  """An image that is read when it is needed.

  Attributes:
    read: Returns it, uint8 `[height, width, channels]`; raises a `UserError` if
      it is no longer what it was.
    label: Index of its class.
    origin: Where it comes from, for messages.
    digest: Equal where all pixels are equal.
    is_grey: Whether its channels are equal, or there is only one.
  """

  read: Callable[[], np.ndarray]
  label: int
  origin: str
  digest: bytes
  is_grey: bool


@dataclasses.dataclass(frozen=True)
class LabelledImages:
  """Images of one shape, sorted into splits and classes.

  Attributes:
    class_names: A label is an index of it.
    image_shape: Height, width and channels of every image.
    splits: Examples by the name of their split; 'train' is among them.
    notes: What was done to the images or is remarkable, a line each.
  """

  class_names: tuple[str, ...]
  image_shape: tuple[int, int, int]
  splits: Mapping[str, Sequence[Example]]
  notes: tuple[str, ...] = ()

  def noting(self, *lines: str) -> 'LabelledImages':
    """Returns the same with more notes."""
    return dataclasses.replace(self, notes=(*self.notes, *lines))


def of_array(
  images: np.ndarray, labels: np.ndarray, place: str
) -> list[Example]:
  """Returns the examples of an array that is in memory.

  Args:
    images: uint8 `[n, height, width, channels]`.
    labels: Integers `[n]`.
    place: Where they come from.
  """
  return [
    Example(
      functools.partial(images.__getitem__, index),
      int(label),
      f'{place}[{index}]',
      digest(image),
      is_grey(image),
    )
    for index, (image, label) in enumerate(zip(images, labels, strict=True))
  ]


def digest(image: np.ndarray) -> bytes:
  """Returns what is equal for images of one shape if all pixels are."""
  return hashlib.sha256(image.tobytes()).digest()


def is_grey(image: np.ndarray) -> bool:
  """Whether all channels of `[height, width, channels]` are equal."""
  return bool((image == image[..., :1]).all())


def with_one_number_of_channels(
  images: LabelledImages, keep_rgb: bool
) -> LabelledImages:
  """Gives one channel to images that are all grey, and three to others.

  Args:
    images: Each of one or three channels.
    keep_rgb: Whether grey ones get three channels in any case.
  """
  examples = [one for split in images.splits.values() for one in split]
  num_grey = sum(one.is_grey for one in examples)
  all_grey = num_grey == len(examples)
  if all_grey and not keep_rgb:
    channels = 1
    note = 'All images are grey: they are stored with one channel.'
  elif num_grey:
    channels = 3
    note = (
      f'{num_grey:,} of {len(examples):,} images are grey; they are stored as '
      f'RGB, {"by --rgb" if all_grey else "as the others have colours"}.'
    )
  else:
    return images
  splits = {
    name: [
      one._replace(read=functools.partial(_read_as, channels, one.read))
      for one in split
    ]
    for name, split in images.splits.items()
  }
  shape = (*images.image_shape[:2], channels)
  return dataclasses.replace(images, splits=splits, image_shape=shape).noting(
    note
  )


def _read_as(channels: int, read: Callable[[], np.ndarray]) -> np.ndarray:
  """Reads a grey image with a number of channels, or one of colours."""
  image = read()
  if image.shape[-1] < channels:
    return np.repeat(image, channels, axis=-1)
  return image[..., :channels]
