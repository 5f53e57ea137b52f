"""The folder of a run: chosen, made, and held while it is used."""

import contextlib
import fcntl
import itertools
import os
import pathlib
import platform
import shutil
import time
from collections.abc import Iterator, Sequence

from official_ext.errors import UserError
from official_ext.files import paths, whole

_LOCK_FILE = '.lock'


@contextlib.contextmanager
def chosen(
  model_dir: str | None, gin_files: Sequence[str], name: str
) -> Iterator[str]:
  """Yields the folder that the user named, or a new one, made in `runs`.

  A new one goes again if nothing comes to lie in it.

  Args:
    model_dir: What the user named, if anything.
    gin_files: The run's gin files; the first one names a new folder.
    name: Names a new folder where there is no gin file.

  Raises:
    UserError: If it is not a folder of this machine, or cannot be made.
  """
  if model_dir:
    yield paths.local(model_dir, '--model_dir')
    return
  folder = _new_folder(pathlib.Path(gin_files[0]).stem if gin_files else name)
  try:
    yield folder
  finally:
    with contextlib.suppress(OSError):  # It is not empty.
      os.rmdir(folder)


def _new_folder(stem: str) -> str:
  """Makes a folder of this second in `runs`, and returns its path."""
  first = f'{stem}-{time.strftime("%Y%m%d-%H%M%S")}'
  # Another run may begin in the same second.
  for folder in itertools.chain(
    [first], (f'{first}-{n}' for n in range(2, 99))
  ):
    try:
      (pathlib.Path('runs') / folder).mkdir(parents=True)
    except FileExistsError:
      continue
    except OSError as error:
      raise _unwritable('runs', error) from error
    return os.path.join('runs', folder)
  raise UserError('runs has 99 folders of this second; name a --model_dir.')


class _InUseError(UserError):
  """The folder is another process's, and so is all that lies in it."""


@contextlib.contextmanager
def created(model_dir: str) -> Iterator[None]:
  """Makes the folder; unmakes a new one if what is done inside fails.

  Raises:
    UserError: If the folder cannot be written to.
  """
  folder = pathlib.Path(model_dir)
  try:
    fresh = not folder.exists() or not any(folder.iterdir())
    whole.make_writable(folder)
  except OSError as error:
    raise _unwritable(model_dir, error) from error
  try:
    yield
  except _InUseError:
    raise
  except BaseException:
    if fresh:
      shutil.rmtree(folder, ignore_errors=True)
    raise


@contextlib.contextmanager
def held(model_dir: str) -> Iterator[None]:
  """Keeps every other process from training in the folder.

  The hold is the process's own: however it ends, the system lifts it.

  Args:
    model_dir: The run's folder.

  Raises:
    UserError: If another process trains there.
  """
  path = pathlib.Path(model_dir) / _LOCK_FILE
  with path.open('a+') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      file.seek(0)
      raise _InUseError(
        f'--model_dir={model_dir} is in use by {file.read().strip()}; wait for '
        'it, or name another folder.'
      ) from error
    file.truncate(0)
    since = time.strftime('%Y-%m-%d %H:%M:%S')
    file.write(f'process {os.getpid()} on {platform.node()} since {since}\n')
    file.flush()
    yield


def _unwritable(model_dir: str, error: OSError) -> UserError:
  return UserError(
    f'--model_dir={model_dir} cannot be written to ({error.strerror}); name '
    'another folder.'
  )
