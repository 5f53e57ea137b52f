"""Paths as people write them: from their home, or from where they are."""

import os
import re

from official_ext.errors import UserError

_FILE_OF_CHECKPOINT = re.compile(r'\.(index|data-\d{5}-of-\d{5})$')


def is_remote(path: str | os.PathLike[str]) -> bool:
  """Whether it is an address, such as one that begins with `gs://`."""
  return '://' in os.fspath(path)


def local(path: str | os.PathLike[str], name: str) -> str:
  """Returns a path on this machine, with the home in place of `~`.

  Args:
    path: What the user wrote.
    name: Flag or field in which it stands, for errors.

  Raises:
    UserError: If it is not on this machine.
  """
  if is_remote(path):
    raise UserError(
      f'{name}={path} is no folder of this machine; mount it, and name the '
      'folder.'
    )
  return os.path.expanduser(os.fspath(path))


def settled(path: str) -> str:
  """Returns a path that means the same from any folder.

  An address stays as it is, and so does an empty path.
  """
  if not path or is_remote(path):
    return path
  return os.path.abspath(os.path.expanduser(path))


def checkpoint(path: str) -> str:
  """Returns what TensorFlow calls a checkpoint, which has several files.

  Args:
    path: That name, or one of the files.
  """
  return _FILE_OF_CHECKPOINT.sub('', path)
