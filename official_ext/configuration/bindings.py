"""Where the bindings of gin files stand, which gin itself forgets."""

import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gin import config_parser


@dataclasses.dataclass(frozen=True)
class Binding:
  """A line that binds a value.

  Attributes:
    scope: Of the configurable; empty for none.
    name: The configurable and its argument, such as 'run.epochs'; of a macro,
      its name.
    place: File and line, or the command line.
    included: Whether it stands in a file that another includes.
  """

  scope: str
  name: str
  place: str
  included: bool = False

  @property
  def configurable(self) -> str:
    """Name of the configurable without its module; empty for a macro."""
    return self.name.rpartition('.')[0].rpartition('.')[2]


class _Anything(config_parser.ParserDelegate):
  """Takes references for what they are; gin has looked them up."""

  def configurable_reference(
    self, scoped_configurable_name: str, evaluate: bool
  ) -> Any:
    return None

  def macro(self, scoped_name: str) -> Any:
    return None


def read(
  files: Sequence[str], lines: Sequence[str], find: Callable[[str], str]
) -> list[list[Binding]]:
  """Returns the bindings of each file, those it includes first, and of lines.

  Args:
    files: That gin has parsed.
    lines: Bindings of the command line, parsed after them.
    find: Returns the path at which gin finds a file.

  Returns:
    A list for each file in turn, and one for the lines.
  """
  sources = [list(_of_file(file, find)) for file in files]
  sources.append([*_parse(io.StringIO('\n'.join(lines)), 'command line', find)])
  return sources


def _of_file(file: str, find: Callable[[str], str]) -> Iterator[Binding]:
  with open(find(file), encoding='utf-8') as opened:
    yield from _parse(opened, file, find)


def _parse(
  text: Any, name: str, find: Callable[[str], str]
) -> Iterator[Binding]:
  for statement in config_parser.ConfigParser(text, _Anything()):
    if isinstance(statement, config_parser.IncludeStatement):
      for binding in _of_file(statement.filename, find):
        yield dataclasses.replace(binding, included=True)
    elif isinstance(statement, config_parser.BindingStatement):
      argument = f'.{statement.arg_name}' if statement.arg_name else ''
      place = name
      if name != 'command line':
        place = f'{name}, line {statement.location.line_num}'
      yield Binding(statement.scope, f'{statement.selector}{argument}', place)
