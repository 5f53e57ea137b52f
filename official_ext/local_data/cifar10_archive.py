"""Reads CIFAR-10 from its binary or its Python archive, packed or unpacked.

The layouts are described at https://www.cs.toronto.edu/~kriz/cifar.html. The
files are taken for untrusted: they are read into memory, never unpacked to
disk, and every size, shape, label and name is checked.
"""

import contextlib
import dataclasses
import gzip
import io
import math
import pathlib
import posixpath
import tarfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from official_ext.errors import UserError
from official_ext.local_data import examples, restricted_pickle
from official_ext.local_data.examples import Example, LabelledImages

CLASS_NAMES = (
  'airplane',
  'automobile',
  'bird',
  'cat',
  'deer',
  'dog',
  'frog',
  'horse',
  'ship',
  'truck',
)
BATCH_SIZE = 10_000  # images in each of the six files
IMAGE_SHAPE = (32, 32, 3)
_PIXELS = math.prod(IMAGE_SHAPE)

# The largest true file, a pickle, has 31 MB, and the largest archive 187 MB.
_MAX_FILE_BYTES = 2**26
_MAX_ARCHIVE_BYTES = 2**28
_GZIP_MAGIC = b'\x1f\x8b'

_MEND = 'get CIFAR-10 anew from https://www.cs.toronto.edu/~kriz/cifar.html.'


def read(source: pathlib.Path) -> LabelledImages:
  """Reads all of CIFAR-10.

  Args:
    source: `cifar-10-binary.tar.gz` or `cifar-10-python.tar.gz`, gzipped or
      not, or a folder with the files of one of them, or with its folder.

  Returns:
    The splits 'train', 50,000 images in the order of the batches, and 'test',
    10,000 images.

  Raises:
    UserError: If the source is missing, damaged, unsafe, or not CIFAR-10.
  """
  if not source.exists():
    raise UserError(
      f'{source} does not exist; give cifar-10-binary.tar.gz, '
      'cifar-10-python.tar.gz, or a folder with either unpacked.'
    )
  files = _read_folder(source) if source.is_dir() else _read_tar(source)
  layout = _BINARY if _BINARY.test_file in files else _PYTHON
  missing = sorted(layout.files - files.keys())
  if missing:
    raise UserError(f'{source} lacks {", ".join(missing)}; {_MEND}')
  with _parsing(f'{source}: {layout.meta_file}'):
    names = layout.parse_names(files[layout.meta_file])
    if names != CLASS_NAMES:
      raise _MalformedError(f'its classes are {names}')
  splits = {
    'train': _join(source, layout, layout.train_files, files),
    'test': _join(source, layout, (layout.test_file,), files),
  }
  return LabelledImages(CLASS_NAMES, IMAGE_SHAPE, splits)


class _MalformedError(Exception):
  """Content that is not CIFAR-10's; the text says what is wrong."""


@contextlib.contextmanager
def _parsing(place: str) -> Iterator[None]:
  """Turns an error of any kind, as hostile content may raise, into one line."""
  try:
    yield
  except Exception as error:
    reason = textwrap.shorten(str(error), 200) or type(error).__name__
    raise UserError(
      f'{place} is damaged or not of CIFAR-10 ({reason}); {_MEND}'
    ) from error


def _join(
  source: pathlib.Path,
  layout: '_Layout',
  names: tuple[str, ...],
  files: Mapping[str, bytes],
) -> list[Example]:
  """Parses batches and puts them one after the other."""
  joined: list[Example] = []
  for name in names:
    with _parsing(f'{source}: {name}'):
      batch_images, batch_labels = layout.parse_batch(files[name])
      if batch_labels.min() < 0 or batch_labels.max() >= len(CLASS_NAMES):
        raise _MalformedError(
          f'labels from {batch_labels.min()} to {batch_labels.max()}, not 0 '
          f'to {len(CLASS_NAMES) - 1}'
        )
    images = batch_images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    joined += examples.of_array(images, batch_labels, name)
  return joined


def _parse_binary_batch(content: bytes) -> tuple[np.ndarray, np.ndarray]:
  """Splits records of one label byte and the pixels, red plane first."""
  record = 1 + _PIXELS
  if len(content) != BATCH_SIZE * record:
    raise _MalformedError(
      f'{len(content):,} bytes, not {BATCH_SIZE:,} records of {record:,}'
    )
  records = np.frombuffer(content, np.uint8).reshape(BATCH_SIZE, record)
  return records[:, 1:], records[:, 0].astype(np.int64)


def _parse_binary_names(content: bytes) -> tuple[str, ...]:
  return tuple(content.decode().split())


def _parse_pickled_batch(content: bytes) -> tuple[np.ndarray, np.ndarray]:
  """Takes the array of pixels and the list of labels out of a pickled dict."""
  batch = _unpickle_dict(content)
  if not {'data', 'labels'} <= batch.keys():
    raise _MalformedError('no data or no labels')
  data, labels = batch['data'], batch['labels']
  if not isinstance(data, restricted_pickle.Array):
    raise _MalformedError(f'data is a {type(data).__name__}, not an array')
  if data.value.shape != (BATCH_SIZE, _PIXELS):
    raise _MalformedError(
      f'data has shape {data.value.shape}, not {(BATCH_SIZE, _PIXELS)}'
    )
  if not isinstance(labels, list) or {int} != set(map(type, labels)):
    raise _MalformedError('labels is not a list of integers')
  if len(labels) != BATCH_SIZE:
    raise _MalformedError(f'{len(labels):,} labels, not {BATCH_SIZE:,}')
  return data.value, np.array(labels, np.int64)


def _parse_pickled_names(content: bytes) -> tuple[str, ...]:
  return tuple(map(_text, _unpickle_dict(content)['label_names']))


def _unpickle_dict(content: bytes) -> dict[str, Any]:
  content_dict = restricted_pickle.load(content)
  if not isinstance(content_dict, dict):
    raise _MalformedError(f'a {type(content_dict).__name__}, not a dict')
  return {_text(key): value for key, value in content_dict.items()}


def _text(value: str | bytes) -> str:
  """Returns a string: Python 2, which wrote the official files, wrote bytes."""
  return value.decode() if isinstance(value, bytes) else value


@dataclasses.dataclass(frozen=True)
class _Layout:
  """Names and contents of the files of one of the two archives."""

  folder: str
  extension: str
  meta_file: str
  parse_batch: Callable[[bytes], tuple[np.ndarray, np.ndarray]]
  parse_names: Callable[[bytes], tuple[str, ...]]

  @property
  def train_files(self) -> tuple[str, ...]:
    return tuple(f'data_batch_{i}{self.extension}' for i in range(1, 6))

  @property
  def test_file(self) -> str:
    return f'test_batch{self.extension}'

  @property
  def files(self) -> set[str]:
    return {*self.train_files, self.test_file, self.meta_file}


_BINARY = _Layout(
  folder='cifar-10-batches-bin',
  extension='.bin',
  meta_file='batches.meta.txt',
  parse_batch=_parse_binary_batch,
  parse_names=_parse_binary_names,
)
_PYTHON = _Layout(
  folder='cifar-10-batches-py',
  extension='',
  meta_file='batches.meta',
  parse_batch=_parse_pickled_batch,
  parse_names=_parse_pickled_names,
)


def _read_folder(folder: pathlib.Path) -> dict[str, bytes]:
  """Reads the files of a layout from a folder, or from its folder in it."""
  for layout in (_BINARY, _PYTHON):
    for place in (folder, folder / layout.folder):
      if (place / layout.test_file).exists():
        paths = [place / name for name in layout.files]
        links = [path for path in paths if path.is_symlink()]
        if links:
          raise UserError(f'{links[0]} is a link; put the file in its place.')
        return {
          path.name: _read_file(path, _MAX_FILE_BYTES)
          for path in paths
          if path.exists()
        }
  raise UserError(
    f'{folder} has neither {_BINARY.test_file} nor {_PYTHON.test_file}, also '
    f'not in {_BINARY.folder} or {_PYTHON.folder}; give the folder that '
    'CIFAR-10 was unpacked to.'
  )


def _read_file(path: pathlib.Path, max_bytes: int) -> bytes:
  if not path.is_file():
    raise UserError(f'{path} is not a file; {_MEND}')
  if path.stat().st_size > max_bytes:
    raise UserError(f'{path} is larger than {max_bytes:,} bytes; {_MEND}')
  try:
    return path.read_bytes()
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror}.') from error


def _read_tar(path: pathlib.Path) -> dict[str, bytes]:
  """Reads the files of both layouts from an archive."""
  packed = _read_file(path, _MAX_ARCHIVE_BYTES)
  wanted = _BINARY.files | _PYTHON.files
  files: dict[str, bytes] = {}
  with _parsing(str(path)):
    content = _unzip(packed) if packed.startswith(_GZIP_MAGIC) else packed
    with tarfile.open(fileobj=io.BytesIO(content), mode='r:') as archive:
      for member in archive:
        _check_member(member)
        name = posixpath.basename(member.name)
        if name not in wanted:
          continue
        if name in files:
          raise _MalformedError(f'{name} is in it twice')
        stream = archive.extractfile(member)
        files[name] = stream.read() if stream else b''
  return files


def _unzip(packed: bytes) -> bytes:
  with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
    content = file.read(_MAX_ARCHIVE_BYTES + 1)
  if len(content) > _MAX_ARCHIVE_BYTES:
    raise _MalformedError(
      f'it unpacks to more than {_MAX_ARCHIVE_BYTES:,} bytes'
    )
  return content


def _check_member(member: tarfile.TarInfo) -> None:
  """Refuses what no archive of CIFAR-10 holds, even in files not wanted."""
  parts = pathlib.PurePosixPath(member.name).parts
  if member.name.startswith('/') or '..' in parts:
    raise _MalformedError(f'{member.name!r} leads out of the archive')
  if not member.isfile() and not member.isdir():
    raise _MalformedError(f'{member.name!r} is a link or a device')
  if member.size > _MAX_FILE_BYTES:
    raise _MalformedError(
      f'{member.name!r} is larger than {_MAX_FILE_BYTES:,} bytes'
    )
