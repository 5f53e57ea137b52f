"""Counts what is found, by kind, and keeps the first of each."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from official_ext.errors import UserErrors

_Kind = TypeVar('_Kind', bound=Hashable)


class Tally(Generic[_Kind]):
  """How often each kind was found, and where first."""

  def __init__(self) -> None:
    """Begins with nothing."""
    self._found: dict[_Kind, tuple[int, str]] = {}

  def add(self, kind: _Kind, where: object) -> None:
    """Counts one more of a kind; `where` stays if it is the first."""
    count, first = self._found.get(kind, (0, printable(where)))
    self._found[kind] = count + 1, first

  def __iter__(self) -> Iterator[tuple[_Kind, int, str]]:
    """Yields kinds, in the order of their first, with count and first."""
    for kind, (count, first) in self._found.items():
      yield kind, count, first

  def __len__(self) -> int:
    """The number of kinds."""
    return len(self._found)


class Problems:
  """What is wrong with a source, gathered to be told at once."""

  def __init__(self) -> None:
    """Begins with nothing."""
    self._tally: Tally[tuple[str, str]] = Tally()

  def add(self, where: object, what: str, mend: str) -> None:
    """Notes one more; those with the same `what` and `mend` are counted.

    Args:
      where: The place, such as a path, with what only this one has.
      what: What is wrong there.
      mend: What to do about it.
    """
    self._tally.add((what, mend), where)

  def raise_any(self) -> None:
    """Raises `UserErrors` with a line for each kind, if there is any."""
    if self._tally:
      raise UserErrors(
        [
          f'{and_more(first, count)}: {what}; {mend}.'
          for (what, mend), count, first in self._tally
        ]
      )


def and_more(first: str, count: int) -> str:
  """Returns the name of the first and how many others there are."""
  return first if count == 1 else f'{first} and {count - 1:,} more'


def printable(where: object) -> str:
  """Returns a text of one line, whatever a file is called."""
  text = str(where)
  return text if text.isprintable() else repr(text)
