"""Reads image files of any size for a network of one size.

Files are taken for untrusted: only plain formats are decoded, and the size that
a file states is checked before.
"""

import os
import pathlib
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageOps

from official_ext.errors import UserError
from official_ext.files import hidden, paths
from official_ext.local_data import image_folder

_FORMATS = ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP')
_SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.gif', '.bmp')
# Pillow's modes of 8 bits; it would cut deeper ones off at 255.
_MODES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'CMYK', 'YCbCr')
_TARGET_MODES = {1: 'L', 3: 'RGB'}  # By channels.


def find(arguments: Sequence[str]) -> list[str]:
  """Returns the files named, and in place of a folder the images in it.

  Args:
    arguments: Files and folders. A file's ending does not matter; one in a
      folder, or in one below it, is an image by its ending, unless it or a
      folder on the way is hidden.

  Raises:
    UserError: If a folder holds no image.
  """
  found = []
  for argument in map(os.path.expanduser, arguments):
    if not os.path.isdir(argument):
      found.append(argument)
      continue
    inside = sorted(map(str, _images_in(pathlib.Path(argument))))
    if not inside:
      raise UserError(
        f'{argument} holds no file named {", ".join(_SUFFIXES)}; name another '
        'folder, or the files.'
      )
    found += inside
  return found


def _images_in(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  for path in folder.rglob('*'):
    is_image = path.suffix.lower() in _SUFFIXES and not path.is_dir()
    if is_image and not hidden.is_hidden(path.relative_to(folder)):
      yield path


def read(
  path: str, shape: tuple[int, int, int]
) -> tuple[np.ndarray, list[str]]:
  """Reads an image and brings it to the shape.

  Turned as its camera noted; put on white where transparent; converted to RGB
  or grey; scaled, keeping its proportions, until the shape is covered (Lanczos)
  and cropped around its centre.

  Args:
    path: Its file.
    shape: Height, width, and 1 or 3 channels.

  Returns:
    uint8 of that shape, and what was done to the image, in words.

  Raises:
    UserError: If it is not an image of 8-bit channels, or is damaged.
  """
  if paths.is_remote(path):
    raise UserError(
      f'{path} is no file of this machine; download it, and name the file.'
    )
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('error', Image.DecompressionBombWarning)
      with Image.open(path, formats=_FORMATS) as file:
        _check_compression(file, path)
        return fit(file, path, shape)
  except UserError:
    raise
  except Exception as error:  # Of any type: damage comes in many kinds.
    raise UserError(f'{path} cannot be read: {_reason(error)}.') from error


def _check_compression(file: Image.Image, path: str) -> None:
  """Raises for a BMP of run lengths, whose 56 bytes can take eight seconds."""
  if file.format == 'BMP' and file.info.get('compression'):
    raise UserError(f'{path} is a compressed BMP; save it as PNG.')


def fit(
  image: Image.Image, name: str, shape: tuple[int, int, int]
) -> tuple[np.ndarray, list[str]]:
  """Brings an image to the shape, as `read` says.

  Args:
    image: Of any size.
    name: What to call it in messages.
    shape: Height, width, and 1 or 3 channels.

  Returns:
    uint8 of that shape, and what was done to the image, in words.

  Raises:
    UserError: If it is not an image of 8-bit channels.
  """
  if image_folder.has_16_bits(image):
    raise UserError(
      f'{name} has 16 bits a channel; save it with 8 bits a channel.'
    )
  image.load()
  height, width, channels = shape
  target = _TARGET_MODES.get(channels)
  if not target:
    raise UserError(f'{name} cannot be made {channels} channels, as asked for.')
  if image.mode not in _MODES:
    raise UserError(
      f'{name} has mode {image.mode}; save it with 8 bits a channel.'
    )
  changes = []
  if image.getexif().get(image_folder.ORIENTATION) in image_folder.TURNED:
    image = ImageOps.exif_transpose(image)
    changes.append('turned')
  if image.has_transparency_data:
    image = image.convert('RGBA')
    white = Image.new('RGBA', image.size, 'white')
    image = Image.alpha_composite(white, image).convert('RGB')
    changes.append('put on white')
  if image.mode != target:
    changes.append(f'{image.mode} to {target}')
    image = image.convert(target)
  if image.size != (width, height):
    changes.append(f'{image.width}×{image.height} to {width}×{height}')
    image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
  return np.asarray(image).reshape(shape), changes


def _reason(error: Exception) -> str:
  strerror = getattr(error, 'strerror', None)
  text = strerror or ' '.join(str(error).split()) or type(error).__name__
  return text.rstrip('.')
