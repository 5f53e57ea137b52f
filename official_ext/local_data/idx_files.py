"""Reads images and labels in the IDX files of MNIST and of its relatives.

The format is described at http://yann.lecun.com/exdb/mnist/: two zero bytes, a
byte for the type, a byte for the number of axes, the length of each as a
big-endian integer of four bytes, and the values.
"""

import gzip
import io
import math
import pathlib
import re
import struct

import numpy as np

from official_ext.errors import UserError
from official_ext.local_data import labelled_arrays
from official_ext.local_data.examples import LabelledImages
from official_ext.local_data.labelled_arrays import Arrays

# `train-images-idx3-ubyte.gz`, or `emnist-letters-test-labels-idx1-ubyte`.
_NAME = re.compile(
  r'(?:(?P<set>.+)-)?(?P<split>train|t10k|test)-(?P<what>images|labels)'
  r'[-.]idx[13]-ubyte(?:\.gz)?'
)
_SPLITS = {'train': 'train', 't10k': 'test', 'test': 'test'}
_UINT8 = 8
_AXES = {'images': 3, 'labels': 1}
_GZIP_MAGIC = b'\x1f\x8b'
_EXAMPLE = 'train-images-idx3-ubyte and train-labels-idx1-ubyte'


def read(
  source: pathlib.Path, options: labelled_arrays.Options
) -> LabelledImages:
  """Reads the training and, where they are there, the test images.

  Args:
    source: The folder with the files, gzipped or not; where it holds several
      sets, the folder and what the names of one begin with, such as
      `gzip/emnist-letters`.
    options: How they are read.

  Raises:
    UserError: If files are missing, damaged, or do not fit one another.
  """
  name, files = _choose(source)
  lacking = [
    f'{split}-{what}'
    for split in sorted({'train', *(split for split, _ in files)})
    for what in _AXES
    if (split, what) not in files
  ]
  if lacking:
    raise UserError(
      f'{source} lacks the {" and the ".join(lacking)}; name the folder with '
      f'{_EXAMPLE}, gzipped or not.'
    )
  splits = {
    split: Arrays(
      _read(files[split, 'images'], _AXES['images']),
      _read(files[split, 'labels'], _AXES['labels']),
      str(files[split, 'images']),
      str(files[split, 'labels']),
    )
    for split in dict.fromkeys(_SPLITS.values())
    if (split, 'images') in files
  }
  images = labelled_arrays.labelled(splits, options, str(source))
  if name.startswith('emnist') and not options.transpose:
    # https://www.tensorflow.org/datasets/catalog/emnist
    return images.noting(
      "EMNIST's images are stored with rows and columns exchanged, so they lie "
      'on their side; --transpose turns them upright.'
    )
  return images


def _choose(
  source: pathlib.Path,
) -> tuple[str, dict[tuple[str, str], pathlib.Path]]:
  """Returns the name of a set, and its files by split and by what they hold."""
  folder = source if source.is_dir() else source.parent
  sets = _find(folder)
  if not source.is_dir():
    sets = {name: files for name, files in sets.items() if name == source.name}
  if len(sets) > 1:
    names = sorted(filter(None, sets))
    raise UserError(
      f'{source} holds {len(sets)} sets of IDX files; name one, such as '
      f'--idx {source / names[0]} (of {", ".join(names)}).'
    )
  if not sets:
    raise UserError(
      f'{source} is no folder with IDX files; name the one with {_EXAMPLE}, '
      'gzipped or not.'
    )
  return sets.popitem()


def _find(
  folder: pathlib.Path,
) -> dict[str, dict[tuple[str, str], pathlib.Path]]:
  """Returns the files of a folder that are named as IDX files are, by set."""
  sets: dict[str, dict[tuple[str, str], pathlib.Path]] = {}
  for path in sorted(folder.iterdir()) if folder.is_dir() else ():
    match = _NAME.fullmatch(path.name)
    if match and path.is_file():
      files = sets.setdefault(match['set'] or '', {})
      key = _SPLITS[match['split']], match['what']
      if key in files:
        raise UserError(
          f'{path} and {files[key].name} are both the {match["split"]} '
          f'{match["what"]}; leave one of them there.'
        )
      files[key] = path
  return sets


def _read(path: pathlib.Path, num_axes: int) -> np.ndarray:
  """Reads an array of uint8.

  Raises:
    UserError: If it is another one, or damaged.
  """
  try:
    with path.open('rb') as file:
      packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    with gzip.open(path) if packed else path.open('rb') as file:
      return _parse(file, num_axes, path)
  except UserError:
    raise
  except Exception as error:  # Of several types: gzip's, zlib's, the disk's.
    reason = ' '.join(str(error).split()) or type(error).__name__
    raise UserError(
      f'{path} cannot be read ({reason}); get it anew.'
    ) from error


def _parse(
  file: io.BufferedIOBase, num_axes: int, path: pathlib.Path
) -> np.ndarray:
  zeros, kind, axes = struct.unpack('>HBB', file.read(4))
  if (zeros, kind, axes) != (0, _UINT8, num_axes):
    raise UserError(
      f'{path} is no IDX file of {num_axes} axes of unsigned bytes; get it '
      'anew, or save its array with numpy.savez and use --npz.'
    )
  shape = struct.unpack(f'>{axes}I', file.read(4 * axes))
  size = math.prod(shape)
  labelled_arrays.check_memory(size, str(path))
  content = file.read(size + 1)
  if len(content) != size:
    more_or_less = 'fewer' if len(content) < size else 'more'
    raise UserError(
      f'{path} holds {more_or_less} than the {size:,} bytes of '
      f'{"×".join(map(str, shape))} that it states; get it anew.'
    )
  return np.frombuffer(content, np.uint8).reshape(shape)
