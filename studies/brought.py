"""What a change sets, as a person reads it."""

import collections
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from official_ext.repeats import settings
from official_ext.repeats.settings import Settings
from official_ext.schema import comparison
from official_ext.schema.comparison import Difference
from official_ext.schema.fields import Tie

# What a recipe sets under a name that is not of its place.
_IN_GIN = {
  'runtime.mixed_precision_dtype': 'run.precision',
  'trainer.epochs': 'run.epochs',
}


def by_change(changed: Settings, base: Settings) -> list[str]:
  """Returns what a change sets, apart from the seed, in the config's order.

  Args:
    changed: Settings with it.
    base: Settings without it.

  Returns:
    A line for each value, such as `head.pooling = 'avg'`, with as much of its
    place as tells it from all others.
  """
  names = _short_names(changed, base)
  return [
    f'{_IN_GIN.get(each.place) or names.get(each.place, each.place)} = '
    f'{each.now!r}'
    for found in settings.differences(base, changed)
    for each in _inside(found, changed)
  ]


def _inside(found: Difference, changed: Settings) -> Iterator[Difference]:
  """Yields a difference, or what it is made of.

  Of a config that was not there, that is what is not its default.
  """
  if found.before is None and isinstance(found.now, Mapping):
    config = functools.reduce(
      getattr, found.place.split('.'), settings.config(changed)
    )
    own = comparison.differences({}, config, Tie.FUTURE, f'{found.place}.')
    yield from list(own) or [Difference(found.place, None, {})]
  else:
    yield found


def _short_names(*several: Settings) -> dict[str, str]:
  """Returns the shortest end of each place that no other place has."""
  places = {
    place
    for each in several
    for key, value in each.items()
    for place in _places(key, value)
  }
  count = collections.Counter(end for place in places for end in _ends(place))
  return {
    place: next(end for end in _ends(place) if count[end] == 1 or end == place)
    for place in places
  }


def _places(place: str, value: Any) -> Iterator[str]:
  """Yields the place of a value, and those of the values in it."""
  yield place
  if isinstance(value, Mapping):
    for key, inner in value.items():
      yield from _places(f'{place}.{key}', inner)
  elif isinstance(value, list | tuple):
    for index, inner in enumerate(value):
      if isinstance(inner, Mapping):
        yield from _places(f'{place}[{index}]', inner)


def _ends(place: str) -> list[str]:
  """Returns the ends of a dotted place, the shortest first.

  A value is told with what it is of, at least, as gin names most of them.
  """
  keys = place.split('.')
  return [
    '.'.join(keys[first:]) for first in range(max(len(keys) - 2, 0), -1, -1)
  ]
