"""Reads one picture from a file, as RGB of 8 bits.

The file is taken for untrusted: only plain formats are decoded, whatever its
name, and the size that it states is checked before.
"""

import dataclasses
import pathlib
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from official_ext.errors import UserError
from official_ext.local_data.examples import MIN_SIDE

FORMATS = ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP')
# In pixels; a larger one is to be scaled. A file of a few kilobytes can claim
# to hold gigabytes.
MAX_SIDE = 1024
# In pixels, of CIFAR-10's pictures: what the recipes are for.
USUAL_SIDE = 32
ORIENTATION = 0x0112  # The EXIF tag,
TURNED = range(2, 9)  # and its values of pictures that are not stored upright.

# Pillow's modes of 8 bits; it would cut deeper ones off at 255.
_MODES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'CMYK')
# What a JPEG is to Pillow whose camera has put a smaller copy, or a map of its
# brightness, behind it.
_WITH_COPY = 'MPO'
_OPAQUE = (255, 255)

_TURNED = 'Turned as their cameras noted'
_EXACT = 'Stored as RGB of the same colours (a palette, or opaque throughout)'
_FROM_CMYK = "CMYK, stored as RGB by Pillow's formula without a colour profile"
_MISNAMED = 'Read as what they are, which is not what their names end in'


@dataclasses.dataclass(frozen=True)
class Options:
  """What is done to each picture.

  Attributes:
    background: Colour behind transparent pixels, by a name or a number that
      Pillow knows.
    side: In pixels, of the square that each is brought to; None to leave
      sizes as they are.
  """

  background: str = 'white'
  side: int | None = None


def check_options(options: Options) -> None:
  """Raises a `UserError` unless the options can be used."""
  if options.side is not None and not MIN_SIDE <= options.side <= MAX_SIDE:
    raise UserError(
      f'--resize={options.side} is not between {MIN_SIDE} and {MAX_SIDE} '
      f'pixels; use {USUAL_SIDE}.'
    )
  try:
    channels = len(ImageColor.getrgb(options.background))
  except ValueError:
    channels = 0
  if channels != 3:
    raise UserError(
      f'--background={options.background} is no colour; use one such as white, '
      'black or #808080.'
    )


class Picture(NamedTuple):
  """A picture that was read.

  Attributes:
    pixels: uint8 `[height, width, 3]`.
    size: Width and height that it had before it was scaled, upright.
    changes: What was done to it besides, the same text for all pictures to
      which it was done.
  """

  pixels: np.ndarray
  size: tuple[int, int]
  changes: Sequence[str]


class PictureError(UserError):
  """A file that is not read.

  Attributes:
    where: The file, with what is its own.
    what: What is wrong, the same text for all files of which it is wrong.
    mend: What to do, likewise.
  """

  def __init__(self, where: str, what: str, mend: str):
    """Takes the attributes."""
    super().__init__(f'{where}: {what}; {mend}.')
    self.where, self.what, self.mend = where, what, mend


def read(path: pathlib.Path, options: Options) -> Picture:
  """Reads a picture, turns it upright and brings it to RGB and its size.

  Args:
    path: Its file, of one of `FORMATS`.
    options: What is done to it.

  Raises:
    PictureError: If it is damaged, or cannot be brought to 8-bit RGB in one
      way only.
  """
  try:
    if not path.stat().st_size:
      raise PictureError(str(path), 'empty', 'remove, or get anew')
    with warnings.catch_warnings():
      # Of EXIF that is damaged, mostly; the pixels are what counts.
      warnings.simplefilter('ignore')
      warnings.simplefilter('error', Image.DecompressionBombWarning)
      with Image.open(path, formats=FORMATS) as image:
        _check(image, path, options)
        return _convert(image, path, options)
  except PictureError:
    raise
  except UnidentifiedImageError as error:
    raise PictureError(
      str(path),
      'no picture in PNG, JPEG, WebP, GIF or BMP',
      'convert, or remove',
    ) from error
  except (
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
  ) as error:
    limit = Image.MAX_IMAGE_PIXELS
    raise PictureError(
      str(path), f'more than {limit:,} pixels', 'scale down'
    ) from error
  except Exception as error:  # Of any type: damage comes in many kinds.
    text = getattr(error, 'strerror', None) or str(error)
    reason = ' '.join(text.split()) or type(error).__name__
    raise PictureError(
      f'{path} ({reason})', 'cannot be read', 'remove, or get anew'
    ) from error


def has_16_bits(image: Image.Image) -> bool:
  """Whether a PNG, not decoded yet, has colours of 16 bits.

  Pillow calls them RGB like those of 8 bits, and leaves out the lower eight.
  """
  tiles = getattr(image, 'tile', [])
  return image.mode in _MODES and any(
    str(tile[-1]).endswith(';16B') for tile in tiles
  )


def _check(image: Image.Image, path: pathlib.Path, options: Options) -> None:
  """Raises for what is not to be decoded."""
  if image.format == 'BMP' and image.info.get('compression'):
    # 56 bytes of run lengths can take eight seconds.
    raise PictureError(str(path), 'a compressed BMP', 'save as PNG')
  if has_16_bits(image) or image.mode == 'I;16':
    # A range of 4,096 or of 65,536 values is stored the same way.
    raise PictureError(
      str(path),
      'of 16 bits a channel, which 8 can stand for in several ways',
      'scale to 0 to 255 and save with 8',
    )
  if image.mode not in _MODES:
    raise PictureError(
      str(path), f"in Pillow's mode {image.mode}", 'save as 8-bit RGB'
    )
  if image.format != _WITH_COPY and getattr(image, 'is_animated', False):
    raise PictureError(
      str(path), 'an animation', 'keep one of its pictures, as PNG'
    )
  if not options.side:
    _check_side(image.size, path)


def _check_side(size: tuple[int, int], path: pathlib.Path) -> None:
  """Raises for a size that is not to be stored."""
  where = f'{path} ({size[0]}×{size[1]})'
  if max(size) > MAX_SIDE:
    raise PictureError(
      where,
      f'more than {MAX_SIDE:,} pixels a side',
      f'give --resize {USUAL_SIDE}',
    )
  if min(size) < MIN_SIDE:
    raise PictureError(
      where,
      f'less than {MIN_SIDE} pixels a side, which the network halves three '
      'times',
      f'give --resize {USUAL_SIDE}',
    )


def _convert(
  image: Image.Image, path: pathlib.Path, options: Options
) -> Picture:
  changes = []
  if _is_misnamed(image, path):
    changes.append(_MISNAMED)
  if image.getexif().get(ORIENTATION) in TURNED:
    image = ImageOps.exif_transpose(image)
    changes.append(_TURNED)
  rgb, change = _to_rgb(image, options.background)
  if change:
    changes.append(change)
  if options.side:
    rgb = fit(rgb, (options.side, options.side))
  return Picture(np.asarray(rgb), image.size, changes)


def _is_misnamed(image: Image.Image, path: pathlib.Path) -> bool:
  named = Image.registered_extensions().get(path.suffix.lower())
  found = 'JPEG' if image.format == _WITH_COPY else image.format
  return named not in (None, found)


def _to_rgb(
  image: Image.Image, background: str
) -> tuple[Image.Image, str | None]:
  """Returns the image as RGB, and the change that this is, if it is one."""
  if image.has_transparency_data:
    with_alpha = image.convert('RGBA')
    if with_alpha.getchannel('A').getextrema() == _OPAQUE:
      return with_alpha.convert('RGB'), _EXACT
    behind = Image.new('RGBA', image.size, background)
    flat = Image.alpha_composite(behind, with_alpha).convert('RGB')
    return flat, f'Put on {background} where transparent (--background)'
  change = {'P': _EXACT, 'CMYK': _FROM_CMYK}.get(image.mode)
  return image.convert('RGB'), change


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
  """Scales until the size is covered, and crops around the centre.

  Antialiased, by Lanczos' filter; proportions are kept.

  Args:
    image: Of 8 bits a channel, and no palette.
    size: Width and height to bring it to.
  """
  if image.size == size:
    return image
  return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
