"""Keeps decoded images beside their data set, for the next process.

To decode 60,000 small PNG files takes seconds of each start; to read the bytes
that they hold takes a fraction of one.
"""

import contextlib
import fcntl
import hashlib
import math
import mmap
import os
import pathlib
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

from official_ext.dataloaders.image_source import ImageSource
from official_ext.files import whole

_FOLDER = 'decoded'

# In bytes, of a CRC-32.
_CHECKSUM_SIZE = 4

# Of a data set: training and test images, and those of another two splits.
_MAX_FILES = 4

# The run's own files need room, too.
_MAX_SHARE_OF_FREE_DISK = 1 / 2


class Decoded(NamedTuple):
  """Images, uint8 `[count, height, width, channels]`; labels, int32 `[count]`.

  Both are on the CPU.
  """

  images: tf.Tensor
  labels: tf.Tensor


def get(source: ImageSource, decode: Callable[[], Decoded]) -> Decoded:
  """Returns the images and labels of a split, decoded now or earlier.

  They are kept in a file each split in the data set's own folder. One that is
  damaged, or was made from other files than those that are there, is not used
  but replaced. Where none can be written, there is none.

  Args:
    source: Which data set and split.
    decode: Reads them from the data set; what it raises is raised.
  """
  try:
    path = _path(source)
  except OSError:  # It is not in a folder of this machine, for one.
    return decode()
  decoded = _read(path, [source.info.num_examples, *source.info.image_shape])
  if decoded is None:
    decoded = decode()
    _write(path, decoded)
  return decoded


def _path(source: ImageSource) -> pathlib.Path:
  """Returns a file whose name tells all that decides its content.

  Raises:
    OSError: If the files of the data set cannot be listed.
  """
  folder = pathlib.Path(source.builder.data_path)
  with os.scandir(folder) as entries:
    files = sorted(
      (entry.name, entry.stat().st_size, entry.stat().st_mtime_ns)
      for entry in entries
      if entry.is_file()
    )
  reading = (
    source.split,
    source.image_key,
    source.label_key,
    source.info.num_examples,
    source.info.image_shape,
    # They decide how a JPEG is decoded, and the order of several files.
    tf.__version__,
    tfds.__version__,
  )
  return folder / _FOLDER / f'{_digest(files)}-{_digest(reading)}.images'


def _digest(value: Any) -> str:
  return hashlib.blake2b(repr(value).encode(), digest_size=8).hexdigest()


def _read(path: pathlib.Path, shape: Sequence[int]) -> Decoded | None:
  """Returns what is in a file, if it is there and whole."""
  try:
    with path.open('rb') as file:
      # Of whole pages, as TensorFlow would have it: it takes them as they are,
      # so that the images are never in memory twice.
      pages = mmap.mmap(-1, math.prod(shape))
      images = np.frombuffer(pages, np.uint8).reshape(shape)
      labels = np.empty(shape[0], np.int32)
      parts = images.data, labels.data
      for part in parts:
        file.readinto(part)
      # A byte more, so that a file that goes on is not taken for this one.
      checksum = file.read(_CHECKSUM_SIZE + 1)
  except OSError:
    return None
  if checksum != _checksum(path, parts):
    return None
  # The capsule keeps the pages.
  tensor = tf.experimental.dlpack.from_dlpack(images.__dlpack__())
  with tf.device('CPU:0'):
    return Decoded(tensor, tf.constant(labels))


def _write(path: pathlib.Path, decoded: Decoded) -> None:
  """Writes a file, if another process does not just now and there is room."""
  parts = [np.asarray(part).data for part in decoded]
  try:
    path.parent.mkdir(exist_ok=True)
    with _alone(path.parent):
      _make_room(path, sum(part.nbytes for part in parts))
      with whole.file(path) as file:
        file.writelines([*parts, _checksum(path, parts)])
  except OSError as error:
    logging.info('What was decoded is not kept as %s: %s', path, error)


def _checksum(path: pathlib.Path, parts: Sequence[memoryview]) -> bytes:
  """Returns the last bytes of a file, of its name and all before them."""
  total = zlib.crc32(path.name.encode())
  for part in parts:
    total = zlib.crc32(part, total)
  return total.to_bytes(_CHECKSUM_SIZE, 'little')


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
  """Keeps other processes from writing there.

  Raises:
    BlockingIOError: If one does.
  """
  with (folder / '.lock').open('w') as file:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield


def _make_room(path: pathlib.Path, size: int) -> None:
  """Removes what is stale, what a kill left half-written, and the oldest.

  Raises:
    OSError: If the disk has no room for that many bytes even so.
  """
  made_from = path.name.partition('-')[0]
  fresh = [
    file for file in path.parent.glob(f'{made_from}-*.images') if file != path
  ]
  fresh.sort(key=lambda file: file.stat().st_mtime_ns)
  for file in path.parent.glob('*.images*'):
    if file not in fresh[1 - _MAX_FILES :]:
      file.unlink()
  if size > shutil.disk_usage(path.parent).free * _MAX_SHARE_OF_FREE_DISK:
    raise OSError('the disk is nearly full')
