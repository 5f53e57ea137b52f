"""Pictures in files: sound ones, and such as no program would write."""

import struct
import zlib

import numpy as np
from PIL import Image


def noise(seed, shape=(8, 10, 3)):
  """Returns uint8 pixels of any shape, different for each seed."""
  return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels, mode=None, **options):
  """Saves an array or an image, in a mode, and makes the folders."""
  path.parent.mkdir(parents=True, exist_ok=True)
  image = pixels
  if isinstance(pixels, np.ndarray):
    image = Image.fromarray(pixels)
  image.convert(mode or image.mode).save(path, **options)
  return path


def png(width, height, bits, kind, data):
  """A PNG of any header: `kind` is 2 of RGB, 4 of LA, 6 of RGBA."""

  def chunk(content):
    checksum = zlib.crc32(content)
    return (
      struct.pack('>I', len(content) - 4)
      + content
      + struct.pack('>I', checksum)
    )

  header = struct.pack('>IIBBBBB', width, height, bits, kind, 0, 0, 0)
  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR' + header)
    + chunk(b'IDAT' + data)
    + chunk(b'IEND')
  )


def bomb(width, height):
  """A PNG of a few bytes that states any size."""
  return png(width, height, 8, 2, zlib.compress(b''))
