"""Where the bindings of gin files stand, which gin itself forgets."""

import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gin import config_parser

from official_ext.configuration import gin_files

_COMMAND_LINE = 'command line'
# What gin calls a macro where its name is that of a scope.
_AS_SCOPE = ('macro.value', 'gin.macro.value')


@dataclasses.dataclass(frozen=True)
class Reference:
  """What a value refers to.

  Attributes:
    name: A part with its scope, such as 'mild/crop', or a macro.
    is_macro: Which of them.
  """

  name: str
  is_macro: bool = False

  def __repr__(self) -> str:
    """Returns it as gin has it, but for the parentheses."""
    return f'{"%" if self.is_macro else "@"}{self.name}'


@dataclasses.dataclass(frozen=True)
class Binding:
  """A line that binds a value.

  Attributes:
    scope: Of the configurable; empty for none.
    name: The configurable and its argument, such as 'run.epochs'; of a macro,
      its name.
    place: File and line, or the command line.
    value: The value, with a `Reference` for each reference in it.
    included: Whether it stands in a file that another includes.
  """

  scope: str
  name: str
  place: str
  value: Any = None
  included: bool = False

  @property
  def configurable(self) -> str:
    """Name of the configurable without its module; empty for a macro."""
    return self.name.rpartition('.')[0].rpartition('.')[2]

  @property
  def scoped_name(self) -> str:
    """The name behind its scope, as the line has it."""
    return f'{self.scope}/{self.name}' if self.scope else self.name

  @property
  def macro(self) -> str:
    """Name of the macro that is bound; empty for a setting."""
    if self.name in _AS_SCOPE:
      return self.scope
    return '' if '.' in self.name else self.scoped_name

  def refers_to(self, macros: bool) -> set[str]:
    """Returns the names of the macros, or else the parts, in its value."""
    found = _references(self.value)
    return {one.name for one in found if one.is_macro == macros}


def _references(value: Any) -> Iterator[Reference]:
  if isinstance(value, Reference):
    yield value
  if isinstance(value, Mapping):
    value = [*value.keys(), *value.values()]
  if isinstance(value, list | tuple):
    for item in value:
      yield from _references(item)


class _References(config_parser.ParserDelegate):
  """Takes references for what they are; gin has looked them up."""

  def configurable_reference(
    self, scoped_configurable_name: str, evaluate: bool
  ) -> Any:
    return Reference(scoped_configurable_name)

  def macro(self, scoped_name: str) -> Any:
    return Reference(scoped_name, is_macro=True)


def read(files: Sequence[str], lines: Sequence[str]) -> list[list[Binding]]:
  """Returns the bindings of each file, those it includes first, and of lines.

  Args:
    files: That gin has parsed.
    lines: Bindings of the command line, parsed after them.

  Returns:
    A list for each file in turn, and one for the lines.
  """
  sources = [list(_of_file(gin_files.find(file))) for file in files]
  sources.append([*_parse(io.StringIO('\n'.join(lines)), '')])
  return sources


def _of_file(path: str) -> Iterator[Binding]:
  yield from _parse(gin_files.open_text(path), path)


def _parse(text: Any, path: str) -> Iterator[Binding]:
  """Yields the bindings of a file, or of the command line.

  Args:
    text: Its lines.
    path: Of the file; empty for the command line.
  """
  for statement in config_parser.ConfigParser(text, _References()):
    if isinstance(statement, config_parser.IncludeStatement):
      for binding in _of_file(gin_files.find(statement.filename, path)):
        yield dataclasses.replace(binding, included=True)
    elif isinstance(statement, config_parser.BindingStatement):
      argument = f'.{statement.arg_name}' if statement.arg_name else ''
      location = statement.location
      place = _COMMAND_LINE
      if path:
        place = f'{location.filename}, line {location.line_num}'
      yield Binding(
        statement.scope,
        f'{statement.selector}{argument}',
        place,
        statement.value,
      )
