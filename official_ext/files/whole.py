"""Files and folders that come to be whole or not at all; old ones are kept."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def file(path: pathlib.Path) -> Iterator[BinaryIO]:
  """Yields a file to fill, which takes its name when all is in it.

  Until then, and where that fails, an old one stays. Only a process that is
  killed leaves its part, under another name, which the next one overwrites.

  Raises:
    OSError: If it cannot be written.
  """
  new = path.with_name(f'.{path.name}.new')
  try:
    with new.open('wb') as unfinished:
      yield unfinished
    new.replace(path)
  finally:
    with contextlib.suppress(OSError):
      new.unlink(missing_ok=True)


def write(path: pathlib.Path, text: str) -> None:
  """Writes a file, in UTF-8; where that fails, the old one stays.

  Raises:
    OSError: If it cannot be written.
  """
  with file(path) as new:
    new.write(text.encode())


def link(path: str, name: str) -> None:
  """Gives a file that nobody changes another name, in place of what has it.

  Where there are no hard links, the other is a copy.

  Raises:
    OSError: If it cannot be made.
  """
  new = f'{name}.new'
  with contextlib.suppress(FileNotFoundError):
    os.unlink(new)
  try:
    os.link(path, new)
  except OSError:
    copy(path, name)
  else:
    os.replace(new, name)


def copy(path: str, name: str) -> None:
  """Copies a file to another name, in place of what has it.

  Raises:
    OSError: If it cannot be made.
  """
  new = f'{name}.new'
  shutil.copyfile(path, new)
  os.replace(new, name)


def remove(path: pathlib.Path) -> None:
  """Removes a file, or a folder with all that is in it.

  Raises:
    OSError: If it cannot be removed.
  """
  if path.is_dir():
    shutil.rmtree(path)
  else:
    path.unlink()


def write_anew(path: pathlib.Path, text: str) -> pathlib.Path | None:
  """Writes a file; an old one that says something else is set aside.

  Returns:
    Where the old one is now; None where nothing else was there.

  Raises:
    OSError: If it cannot be written.
  """
  differs = path.exists() and path.read_bytes() != text.encode()
  aside = set_aside(path) if differs else None
  write(path, text)
  return aside


def set_aside(path: pathlib.Path) -> pathlib.Path:
  """Gives a file or folder a number in its name, and returns its new path."""
  number = 1
  while (aside := path.with_suffix(f'.{number}{path.suffix}')).exists():
    number += 1
  return path.rename(aside)


def earlier(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns what `set_aside` has made of a file, the oldest first."""
  kept = path.parent.glob(f'{path.stem}.[0-9]*{path.suffix}')
  return sorted(kept, key=lambda file: int(file.suffixes[-2][1:]))


def make_writable(folder: pathlib.Path) -> None:
  """Makes a folder where there is none.

  Raises:
    OSError: If it cannot be made, or written to.
  """
  folder.mkdir(parents=True, exist_ok=True)
  tempfile.TemporaryFile(dir=folder).close()


@contextlib.contextmanager
def folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a folder to fill, which takes its name when all is in it.

  Raises:
    OSError: If it cannot be made.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  unfinished = path.with_name(f'.{path.name}.{os.getpid()}')
  unfinished.mkdir()
  try:
    yield unfinished
    unfinished.rename(path)
  finally:
    shutil.rmtree(unfinished, ignore_errors=True)
