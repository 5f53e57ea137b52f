"""Finds the gin files of a user and of this package, and opens them for gin."""

import contextlib
import difflib
import io
import os
import pathlib
import tokenize
from collections.abc import Iterator

import gin

from official_ext.errors import UserError, reason

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# The wheel carries the gin files inside the package, a checkout beside it.
_SHIPPED_IN = (_PACKAGE, _PACKAGE.parent)


def find(name: str, included_by: str = '') -> str:
  """Returns the path of a gin file; '' where there is none.

  It is looked for beside the file that includes it, in the working directory
  and among the files of this package, in this order.

  Args:
    name: As a user or an `include` has it.
    included_by: The path of the file with the `include`.
  """
  beside = [pathlib.Path(included_by).parent] if included_by else []
  folders = (*beside, pathlib.Path(), *_SHIPPED_IN)
  there = (folder / os.path.expanduser(name) for folder in folders)
  return str(next((path for path in there if path.is_file()), ''))


def open_text(path: str) -> io.StringIO:
  """Returns the text of a gin file, whose `name` is what messages call it.

  Raises:
    UserError: If it cannot be read.
  """
  try:
    # Editors of Windows begin a file with a mark, which is no part of it.
    text = io.StringIO(pathlib.Path(path).read_text(encoding='utf-8-sig'))
  except UnicodeDecodeError as error:
    raise UserError(f'{path} is not in UTF-8; save it as UTF-8.') from error
  except OSError as error:
    raise UserError(f'{path} cannot be read ({reason(error)}).') from error
  text.name = _name(path)
  return text


def _name(path: str) -> str:
  """Returns what to call a file: a shipped one by what finds it anywhere."""
  for folder in _SHIPPED_IN:
    with contextlib.suppress(ValueError):
      return str(pathlib.Path(path).relative_to(folder))
  return path


def shipped() -> list[str]:
  """Returns the names by which `find` finds the package's own gin files."""
  return sorted(
    {
      str(file.relative_to(path))
      for path in _SHIPPED_IN
      for file in (path / 'gin').rglob('*.gin')
    }
  )


def missing(name: str) -> UserError:
  """Returns the error that there is no such file."""
  known = shipped()
  close = difflib.get_close_matches(name, known, n=1)
  recipes = [file for file in known if file.count('/') == 1]
  meant = f'the recipes of this package are {", ".join(recipes)}.'
  if close:
    meant = f'did you mean {close[0]}?'
  return UserError(f'there is no gin file {name}; {meant}')


@contextlib.contextmanager
def opened_for_gin() -> Iterator[None]:
  """Lets gin find and open files, included ones too, as this module does.

  Gin itself looks for all of them from the working directory, and takes what
  Windows' editors begin a file with for a part of it.
  """
  readers = gin.config._FILE_READERS
  of_gin = readers.copy()
  reader = _Reader()
  readers[:] = [(reader.open, reader.finds)]
  try:
    yield
  finally:
    readers[:] = of_gin


class _Reader:
  """A reader as gin has them, which knows what is being read."""

  def __init__(self) -> None:
    # The file that is being read, behind those that include it.
    self._paths: list[str] = []

  def _find(self, name: str) -> str:
    return find(name, *self._paths[-1:])

  def finds(self, name: str) -> bool:
    """Whether the file is there; gin's own error says less."""
    path = self._find(name)
    if not path:
      raise missing(name)
    if any(os.path.samefile(path, other) for other in self._paths):
      raise UserError(f'{name} includes itself; leave that out.')
    return True

  @contextlib.contextmanager
  def open(self, name: str) -> Iterator[io.StringIO]:
    """Opens a file until gin has parsed it, and what it includes."""
    path = self._find(name)
    text = open_text(path)
    self._paths.append(path)
    try:
      yield text
    except tokenize.TokenError as error:  # It does not say of which file.
      message, (line, column) = error.args
      place = text.name, line, column, ''
      raise SyntaxError(message, place) from error
    finally:
      self._paths.pop()
