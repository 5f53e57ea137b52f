"""Reads images and labels from a NumPy archive, such as Keras' mnist.npz."""

import contextlib
import pathlib
import textwrap
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from official_ext.errors import UserError
from official_ext.local_data import labelled_arrays
from official_ext.local_data.examples import LabelledImages
from official_ext.local_data.labelled_arrays import Arrays
from official_ext.local_data.tally import printable

KEYS = 'x_train,y_train,x_test,y_test'
_SPLITS = ('train', 'test', 'validation')


def read(
  path: pathlib.Path, keys: str, options: labelled_arrays.Options
) -> LabelledImages:
  """Reads the arrays of some names; no pickle is.

  Args:
    path: The archive.
    keys: Names of arrays, separated by commas: images and labels to train on,
      then, if there are any, to test on, then to validate on.
    options: How they are read.

  Raises:
    UserError: If arrays are missing, damaged, or not of images and labels.
  """
  names = [name.strip() for name in keys.split(',')]
  if len(names) not in (2, 4, 6) or not all(names):
    raise UserError(
      f'--npz_keys={keys} does not name images and labels, in pairs; for '
      f'example {KEYS}.'
    )
  arrays = _load(path, names)
  places = [f'{path}:{name}' for name in names]
  splits = {
    split: Arrays(*pair, *of_pair)
    for split, pair, of_pair in zip(
      _SPLITS, _pairs(arrays), _pairs(places), strict=False
    )
  }
  return labelled_arrays.labelled(splits, options, str(path))


def _pairs(values: Sequence[Any]) -> list[tuple[Any, Any]]:
  return list(zip(values[::2], values[1::2], strict=True))


def _load(path: pathlib.Path, names: Sequence[str]) -> list[np.ndarray]:
  if not path.is_file():
    raise UserError(f'{path} is not a file; name one that numpy.savez wrote.')
  with _reading(str(path)):
    archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
      raise ValueError('it holds one array without a name')
  with archive:
    lacking = [name for name in names if name not in archive.files]
    if lacking:
      there = textwrap.shorten(printable(', '.join(archive.files)), 200)
      raise UserError(
        f'{path} has no {", ".join(lacking)}, but {there}; name the images and '
        f'the labels with --npz_keys, as in {KEYS}.'
      )
    return [_member(archive, name, path) for name in names]


def _member(
  archive: np.lib.npyio.NpzFile, name: str, path: pathlib.Path
) -> np.ndarray:
  """Returns an array, once its size is known to fit the memory."""
  place = f'{path}:{name}'
  with _reading(place):
    with zipfile.ZipFile(path) as members:
      size = members.getinfo(f'{name}.npy').file_size
    labelled_arrays.check_memory(size, place)
    array = archive[name]
    if not isinstance(array, np.ndarray):
      raise ValueError('it is no array')
    return array


@contextlib.contextmanager
def _reading(place: str) -> Iterator[None]:
  """Turns an error of any kind, as hostile content may raise, into one line."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    reason = ' '.join(str(error).split()) or type(error).__name__
    raise UserError(
      f'{place} cannot be read ({textwrap.shorten(reason, 200)}); save arrays '
      'of numbers with numpy.savez_compressed.'
    ) from error
