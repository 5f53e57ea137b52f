"""Reads images sorted into folders: FOLDER/{train,test}/CLASS/*.{png,jpg,jpeg}.

The folder is taken for untrusted: an image's size is checked before it is
decoded, and each image is decoded once before anything is made of any.
"""

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import tqdm
from PIL import Image, ImageOps

from official_ext.errors import UserError

SPLITS = ('train', 'test')
# In pixels. A file of a few kilobytes can claim to hold gigabytes.
MAX_SIDE = 1024

_SUFFIXES = ('.png', '.jpg', '.jpeg')
_FORMATS = ('PNG', 'JPEG')
# Pillow's modes that 8-bit RGB can hold exactly where nothing is transparent.
_EXACT_MODES = ('RGB', 'RGBA', 'L', 'LA', 'P', '1')
ORIENTATION = 0x0112  # The EXIF tag,
TURNED = range(2, 9)  # and its values of images that are not stored upright.


@dataclasses.dataclass(frozen=True)
class ImageFolder:
  """Images in class folders, each decoded once and found to be sound.

  Attributes:
    class_names: Sorted names of the class folders; a label is an index of it.
    files: Image files and their labels, by split.
    image_shape: Height, width and 3 channels of every image.
    num_converted: Number of images that are not stored as RGB.
    num_turned: Number of images that are not stored as their camera was held.
    mean_rgb: Mean of each channel over the training images, in 0 to 255.
    stddev_rgb: Standard deviation of each channel, likewise.
  """

  class_names: tuple[str, ...]
  files: Mapping[str, Sequence[tuple[pathlib.Path, int]]]
  image_shape: tuple[int, int, int]
  num_converted: int
  num_turned: int
  mean_rgb: tuple[float, ...]
  stddev_rgb: tuple[float, ...]


def scan(folder: pathlib.Path) -> ImageFolder:
  """Lists the images of a folder and checks each, behind a progress bar.

  Args:
    folder: Holds the folders train and test, which hold the same class folders.

  Raises:
    UserError: If a folder is missing or empty, or a file is not an image, or
      not one that `read` takes, or not of the size of the others.
  """
  class_names = _class_names(folder)
  files = {split: _list_files(folder, split, class_names) for split in SPLITS}
  height, width, _ = _decode(files['train'][0][0])[0].shape
  shape = (height, width, 3)
  sums, squares = np.zeros((2, 3), np.int64)
  num_converted = num_turned = 0
  for split in SPLITS:
    for path, _ in tqdm.tqdm(files[split], f'Checking {split}', unit=' images'):
      image, mode, turned = _decode(path)
      _check_shape(path, image, shape)
      num_converted += mode != 'RGB'
      num_turned += turned
      if split == 'train':
        pixels = image.reshape(-1, 3).astype(np.int64)
        sums += pixels.sum(axis=0)
        squares += (pixels**2).sum(axis=0)
  count = len(files['train']) * shape[0] * shape[1]
  mean = sums / count
  stddev = np.sqrt(squares / count - mean**2)
  return ImageFolder(
    class_names,
    files,
    shape,
    num_converted,
    num_turned,
    tuple(mean.round(2).tolist()),
    tuple(stddev.round(2).tolist()),
  )


def read(path: pathlib.Path, shape: tuple[int, int, int]) -> np.ndarray:
  """Reads an image.

  Greyscale and palette images, and those with an alpha channel that is opaque
  throughout, become RGB; no pixel changes its colour. It is turned as its
  camera noted.

  Args:
    path: A PNG or JPEG file.
    shape: Height, width and 3 channels that it must have.

  Returns:
    uint8 of that shape.

  Raises:
    UserError: If it is damaged, or is another image than that.
  """
  image = _decode(path)[0]
  _check_shape(path, image, shape)
  return image


def has_16_bits(image: Image.Image) -> bool:
  """Whether a PNG, not decoded yet, has colours of 16 bits.

  Pillow calls them RGB like those of 8 bits, and leaves out the lower eight.
  """
  tiles = getattr(image, 'tile', [])
  return image.mode in _EXACT_MODES and any(
    str(tile[-1]).endswith(';16B') for tile in tiles
  )


def _decode(path: pathlib.Path) -> tuple[np.ndarray, str, bool]:
  """Returns an image as RGB, Pillow's mode of its file, if it was turned."""
  with _open(path) as image:
    mode = f'{image.mode} of 16 bits' if has_16_bits(image) else image.mode
    try:
      # Where there is no alpha channel, the conversion adds an opaque one.
      exact = mode in _EXACT_MODES and (
        image.convert('RGBA').getchannel('A').getextrema() == (255, 255)
      )
      turned = image.getexif().get(ORIENTATION) in TURNED
      rgb = np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
    except Exception as error:  # Of any type: damage comes in many kinds.
      raise _damaged(path, error) from error
    if not exact:
      raise UserError(
        f'{path} has mode {mode} or transparent pixels, which 8-bit RGB '
        'cannot hold exactly; save it as 8-bit RGB.'
      )
    return rgb, mode, turned


def _check_shape(
  path: pathlib.Path, image: np.ndarray, shape: tuple[int, ...]
) -> None:
  if image.shape != shape:
    raise UserError(
      f'{path} is {image.shape[1]}×{image.shape[0]} pixels, but others are '
      f'{shape[1]}×{shape[0]}; bring all images to one size.'
    )


def _open(path: pathlib.Path) -> Image.Image:
  """Reads the header of an image and checks the size that it states."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('error', Image.DecompressionBombWarning)
      image = Image.open(path, formats=_FORMATS)
  except Exception as error:  # Of any type: damage comes in many kinds.
    raise _damaged(path, error) from error
  if max(image.size) > MAX_SIDE:
    image.close()
    raise UserError(
      f'{path} is {image.width}×{image.height} pixels; scale it down to '
      f'{MAX_SIDE}×{MAX_SIDE} or less.'
    )
  return image


def _damaged(path: pathlib.Path, error: Exception) -> UserError:
  reason = ' '.join(str(error).split())
  return UserError(
    f'{path} cannot be read as PNG or JPEG ({reason}); mend or remove it.'
  )


def _class_names(folder: pathlib.Path) -> tuple[str, ...]:
  """Returns the names of the class folders, the same in both splits."""
  train, test = (
    {entry.name for entry in _entries(folder / split, folder)}
    for split in SPLITS
  )
  for name in sorted(train ^ test):
    there, lacking = SPLITS if name in train else SPLITS[::-1]
    raise UserError(
      f'{folder / there / name} has no counterpart in {folder / lacking}; both '
      'must hold the same class folders.'
    )
  if len(train) < 2:
    raise UserError(
      f'{folder / "train"} has {len(train)} class folders; sort the images '
      'into at least two.'
    )
  return tuple(sorted(train))


def _list_files(
  folder: pathlib.Path, split: str, class_names: Sequence[str]
) -> list[tuple[pathlib.Path, int]]:
  """Returns the image files of a split and their labels, in a fixed order."""
  files = []
  for label, name in enumerate(class_names):
    entries = _entries(folder / split / name, folder)
    for path in entries:
      if not path.is_file() or path.suffix.lower() not in _SUFFIXES:
        raise UserError(
          f'{path} is not a file named {", ".join(_SUFFIXES)}; convert or '
          'remove it.'
        )
      files.append((path, label))
  return files


def _entries(place: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns what lies in a place inside `folder`, hidden files left out."""
  if not place.is_dir():
    raise UserError(
      f'{place} is not a folder; sort the images as '
      f'{folder}/train/CLASS/*.png and {folder}/test/CLASS/*.png.'
    )
  try:
    entries = sorted(p for p in place.iterdir() if not p.name.startswith('.'))
  except OSError as error:
    raise UserError(f'{place} cannot be read: {error.strerror}.') from error
  if not entries:
    raise UserError(f'{place} is empty; put images there, or remove it.')
  root = os.path.realpath(folder)
  for path in entries:
    # TFDS stores the names of the classes one a line.
    if not path.name.isprintable() or path.name != path.name.strip():
      raise UserError(
        f'{place} holds {path.name!r}; rename it without line breaks, control '
        'characters and outer spaces.'
      )
    if not pathlib.Path(os.path.realpath(path)).is_relative_to(root):
      raise UserError(
        f'{path} is a link out of {folder}; put what it leads to in its place.'
      )
  return entries
