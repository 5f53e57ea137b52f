"""Makes labelled images of arrays, whichever files they were in."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import psutil

from official_ext.errors import UserError
from official_ext.local_data import class_names, examples, test_split
from official_ext.local_data.examples import MIN_SIDE, LabelledImages
from official_ext.local_data.tally import Problems


@dataclasses.dataclass(frozen=True)
class Options:
  """How arrays are read.

  Attributes:
    classes: See `class_names.of`.
    transpose: Whether rows and columns of each image change places.
    test_share: Share of the images that is to be drawn for test, or None.
  """

  classes: str | None = None
  transpose: bool = False
  test_share: float | None = None


@dataclasses.dataclass(frozen=True)
class Arrays:
  """The arrays of a split as they were stored, of any type and shape.

  Attributes:
    images: The images.
    labels: Their labels.
    images_place: Where the images come from.
    labels_place: Where the labels come from.
  """

  images: np.ndarray
  labels: np.ndarray
  images_place: str
  labels_place: str


def check_memory(num_bytes: int, place: str) -> None:
  """Raises a `UserError` where an array would take most of the memory."""
  available = psutil.virtual_memory().available
  if num_bytes > available / 2:
    raise UserError(
      f'{place} takes {num_bytes / 2**30:.1f} GiB, more than half of the '
      f'{available / 2**30:.1f} GiB of memory available; store fewer images.'
    )


def labelled(
  splits: Mapping[str, Arrays], options: Options, place: str
) -> LabelledImages:
  """Checks arrays and makes labelled images of them.

  Args:
    splits: Arrays by split, 'train' among them.
    options: How they are read.
    place: The file or folder that holds them.

  Raises:
    UserErrors: With all that is wrong with them.
  """
  problems = Problems()
  test_split.check(splits, options.test_share, place, problems)
  for arrays in splits.values():
    _check_images(arrays, problems)
    _check_labels(arrays, problems)
  problems.raise_any()
  images = {
    split: _four_axes(arrays.images, options.transpose)
    for split, arrays in splits.items()
  }
  _check_one_shape(images, splits)
  labels = {name: arrays.labels.reshape(-1) for name, arrays in splits.items()}
  names, values, notes = class_names.of(labels, options.classes, place)
  return LabelledImages(
    names,
    images['train'].shape[1:],
    {
      split: examples.of_array(
        images[split],
        np.searchsorted(values, labels[split]),
        arrays.images_place,
      )
      for split, arrays in splits.items()
    },
    notes,
  )


def _check_images(arrays: Arrays, problems: Problems) -> None:
  """Adds to the problems unless images are uint8 of 1 or 3 channels."""
  images, place = arrays.images, arrays.images_place
  if images.dtype != np.uint8:
    scale = ', scaled to 0 to 255,' if images.dtype.kind == 'f' else ''
    problems.add(
      f'{place} ({images.dtype})',
      'images of another type than uint8',
      f"store them{scale} as x.astype('uint8')",
    )
  where = f'{place} (shape {list(images.shape)})'
  channels_first = images.ndim == 4 and images.shape[1] in (1, 3)
  channels_last = images.ndim == 4 and images.shape[3] in (1, 3)
  if images.ndim != 3 and not channels_last:
    problems.add(
      where,
      'not [n, height, width] or [n, height, width, 1 or 3]',
      'store x.transpose(0, 2, 3, 1)' if channels_first else 'reshape them',
    )
  elif not len(images) or min(images.shape[1:3]) < MIN_SIDE:
    problems.add(
      where,
      f'no images of {MIN_SIDE} pixels a side or more, which the network '
      'halves three times',
      'scale them',
    )


def _check_labels(arrays: Arrays, problems: Problems) -> None:
  """Adds to the problems unless there is a whole number for each image."""
  labels, place = arrays.labels, arrays.labels_place
  where = f'{place} ({labels.dtype}, shape {list(labels.shape)})'
  count = len(np.atleast_1d(arrays.images))
  if labels.ndim == 2 and labels.shape[1] > 1:
    problems.add(
      where, 'several numbers for an image', 'store y.argmax(axis=1)'
    )
  elif labels.dtype.kind not in 'iu':
    problems.add(
      where, 'labels that are no integers', "store y.astype('int64')"
    )
  elif labels.shape not in ((count,), (count, 1)):
    problems.add(
      where,
      f'not a label for each of the {count:,} images of {arrays.images_place}',
      'store one for each',
    )
  elif labels.size and labels.min() < 0:
    problems.add(
      f'{place} ({labels.min()})',
      'a label below 0',
      'leave unlabelled images out',
    )


def _four_axes(images: np.ndarray, transpose: bool) -> np.ndarray:
  """Returns `[n, height, width, channels]`."""
  images = images if images.ndim == 4 else images[..., np.newaxis]
  return images.swapaxes(1, 2) if transpose else images


def _check_one_shape(
  images: Mapping[str, np.ndarray], splits: Mapping[str, Arrays]
) -> None:
  shape = images['train'].shape[1:]
  for split, each in images.items():
    if each.shape[1:] != shape:
      raise UserError(
        f'{splits[split].images_place} has images of {list(each.shape[1:])}, '
        f'but {splits["train"].images_place} of {list(shape)}; bring them to '
        'one shape.'
      )
