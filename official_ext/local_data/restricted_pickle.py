"""Reads plain data and byte arrays from pickles of unknown origin.

A pickle is a program that may call anything by name. This reader knows the few
names under which NumPy 1 and 2 store an array, and puts a class of its own in
the place of each: no code of NumPy or of anything else is called.
"""

import io
import pickle
import pickletools
from typing import Any

import numpy as np


class _StandIn:
  """Takes what a pickle passes to a name; has no state unless a class says so.

  Without `__setstate__` a pickle could set attributes of the class itself.
  """

  def __setstate__(self, state: Any) -> None:
    raise pickle.UnpicklingError(f'{type(self).__name__} has no state')


class Array(_StandIn):
  """A `numpy.ndarray` of uint8, in `value`."""

  def __init__(self, *unused_args: Any):
    """Stands for `_reconstruct(ndarray, shape, typecode)`, which is empty."""
    self.value = np.empty(0, np.uint8)

  def __setstate__(self, state: Any) -> None:
    """Takes `(version, shape, dtype, is_fortran, bytes)`."""
    _, shape, dtype, is_fortran, content = state
    _check(isinstance(dtype, _ByteType) and isinstance(content, bytes))
    flat = np.frombuffer(content, np.uint8)
    self.value = flat.reshape(shape, order='F' if is_fortran else 'C')


class _FromBuffer(_StandIn):
  """Stands for NumPy's `_frombuffer`, used from pickle protocol 5 on."""

  def __new__(cls, content: Any, dtype: Any, shape: Any, order: Any) -> Any:
    array = Array()
    array.__setstate__((1, shape, dtype, order == 'F', bytes(content)))
    return array


class _ByteType(_StandIn):
  """Stands for `numpy.dtype('u1')`."""

  def __init__(self, name: Any, *unused_args: Any):
    _check(name in ('u1', b'u1'))

  def __setstate__(self, state: Any) -> None:
    """Ignores the byte order: single bytes have none."""


class _Encoded(_StandIn):
  """Stands for `_codecs.encode`: how Python 3 writes bytes in protocol 2."""

  def __new__(cls, text: Any, encoding: Any) -> Any:
    _check(isinstance(text, str) and encoding == 'latin1')
    return text.encode('latin1')


_STAND_INS = {
  ('_codecs', 'encode'): _Encoded,
  ('numpy', 'ndarray'): Array,
  ('numpy', 'dtype'): _ByteType,
  ('numpy.core.multiarray', '_reconstruct'): Array,
  ('numpy._core.multiarray', '_reconstruct'): Array,
  ('numpy.core.numeric', '_frombuffer'): _FromBuffer,
  ('numpy._core.numeric', '_frombuffer'): _FromBuffer,
}


def _check(is_byte_array: bool) -> None:
  if not is_byte_array:
    raise pickle.UnpicklingError('it holds an array of other values than bytes')


# The C implementation sizes its memo by a number in the file, so that a few
# bytes can take gigabytes; this one keeps a dict.
class _Unpickler(pickle._Unpickler):
  def find_class(self, module: str, name: str) -> Any:
    if (module, name) not in _STAND_INS:
      wanted = f'{module}.{name}'
      raise pickle.UnpicklingError(f'it asks for {wanted!r}')
    return _STAND_INS[module, name]


def load(content: bytes) -> Any:
  """Returns the data in a pickle; strings of Python 2 become bytes.

  Args:
    content: A pickle of any protocol that holds dicts, lists, tuples, strings,
      bytes, numbers, and NumPy arrays of uint8, which become `Array`.

  Raises:
    Exception: Of any kind, if the content is damaged or holds anything else.
  """
  # An unpickler would make room for as many bytes as are announced.
  for _ in pickletools.genops(content):
    pass
  return _Unpickler(io.BytesIO(content), encoding='bytes').load()
