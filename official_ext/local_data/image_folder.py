"""Reads images sorted into the folders of their classes.

Each image is decoded once before anything is made of any, and all that is wrong
is told at once.
"""

import functools
import pathlib
from collections.abc import Sequence

import numpy as np
import tqdm

from official_ext.errors import UserError
from official_ext.local_data import examples, folder_layout, picture, test_split
from official_ext.local_data.examples import Example, LabelledImages
from official_ext.local_data.picture import ORIENTATION, TURNED, has_16_bits
from official_ext.local_data.tally import Problems, Tally, and_more

__all__ = ['ORIENTATION', 'TURNED', 'has_16_bits', 'read']

_SIZES_TOLD = 3
# Of images that are kept in memory, so that they are not read once more when
# they are written: 350,000 of CIFAR-10's size.
_KEPT_BYTES = 2**30


def read(
  folder: pathlib.Path,
  options: picture.Options,
  test_share: float | None = None,
) -> LabelledImages:
  """Lists the images of a folder and reads each, behind a progress bar.

  Args:
    folder: See `folder_layout`.
    options: What is done to each image.
    test_share: Share of the images that is to be drawn for test, or None.

  Returns:
    Images of three channels.

  Raises:
    UserError: With all that is wrong: a folder is missing or empty, a file is
      not an image that `picture.read` takes, the images have several sizes.
  """
  problems = Problems()
  layout = folder_layout.find(folder, problems)
  test_split.check(layout.files, test_share, str(folder), problems)
  reader = _Reader(options, problems)
  splits = {
    split: reader.read(split, files) for split, files in layout.files.items()
  }
  reader.check_sizes(folder)
  problems.raise_any()
  width, height = reader.stored_size()
  return LabelledImages(
    layout.class_names,
    (height, width, 3),
    splits,
    (*layout.notes, *reader.notes()),
  )


class _Reader:
  """Reads pictures, and counts what was done to them."""

  def __init__(self, options: picture.Options, problems: Problems):
    self._options = options
    self._problems = problems
    self._room = _KEPT_BYTES
    self._changes: Tally[str] = Tally()
    self._sizes: Tally[tuple[int, int]] = Tally()

  def read(self, split: str, files: folder_layout.Files) -> list[Example]:
    """Returns the pictures of a split that can be read."""
    found = []
    for path, label in tqdm.tqdm(files, f'Checking {split}', unit=' images'):
      try:
        found.append(self._example(path, label))
      except picture.PictureError as error:
        self._problems.add(error.where, error.what, error.mend)
    return found

  def _example(self, path: pathlib.Path, label: int) -> Example:
    pixels, size, changes = picture.read(path, self._options)
    for change in changes:
      self._changes.add(change, path)
    self._sizes.add(size, path)
    digest = examples.digest(pixels)
    again = functools.partial(_read_again, path, self._options, digest)
    self._room -= pixels.nbytes
    read = again if self._room < 0 else lambda: pixels
    return Example(read, label, str(path), digest, examples.is_grey(pixels))

  def check_sizes(self, folder: pathlib.Path) -> None:
    """Adds to the problems where the images would not be of one size."""
    sizes = sorted(self._sizes, key=lambda found: -found[1])
    if self._options.side or len(sizes) < 2:
      return
    told = [
      f'{count:,} of {width}×{height} (the first: {first})'
      for (width, height), count, first in sizes[:_SIZES_TOLD]
    ]
    if len(sizes) > _SIZES_TOLD:
      told.append(f'and {len(sizes) - _SIZES_TOLD:,} other sizes')
    self._problems.add(
      folder,
      f'images of several sizes, {", ".join(told)}',
      f'give --resize {_side_for(sizes)}, or bring them to one size',
    )

  def stored_size(self) -> tuple[int, int]:
    """Returns the width and the height of every image that was read."""
    if self._options.side:
      return self._options.side, self._options.side
    ((size, _, _),) = self._sizes
    return size

  def notes(self) -> list[str]:
    """Returns what was done to the images, a line for each kind."""
    lines = [
      f'{change}: {and_more(first, count)}.'
      for change, count, first in self._changes
    ]
    return lines + self._scaling()

  def _scaling(self) -> list[str]:
    """Returns a line that says how many images were scaled, and how."""
    side = self._options.side
    if not side:
      return []
    counts = {size: count for size, count, _ in self._sizes}
    total = sum(counts.values())
    scaled = total - counts.get((side, side), 0)
    enlarged = sum(count for size, count in counts.items() if min(size) < side)
    return [
      f'Brought to {side}×{side}: {scaled:,} of {total:,} images, by scaling '
      'the shorter side (antialiased, Lanczos) and cropping around the centre; '
      f'{enlarged:,} of them were smaller.'
    ]


def _side_for(sizes: Sequence[tuple[tuple[int, int], int, str]]) -> int:
  """Returns a side to offer: about that of most images, but not a large one."""
  sides = [min(size) for size, _, _ in sizes]
  usual = np.median(np.repeat(sides, [count for _, count, _ in sizes]))
  nearest = round(usual / examples.MIN_SIDE) * examples.MIN_SIDE
  return min(picture.USUAL_SIDE, max(nearest, examples.MIN_SIDE))


def _read_again(
  path: pathlib.Path, options: picture.Options, digest: bytes
) -> np.ndarray:
  """Reads an image that was read before.

  Raises:
    UserError: If it is another one.
  """
  pixels = picture.read(path, options).pixels
  if examples.digest(pixels) != digest:
    raise UserError(
      f'{path} has changed while the images were read; run the same command '
      'again.'
    )
  return pixels
