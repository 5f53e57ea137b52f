"""Whether two configs are of the same training, or of the same weights."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from official.modeling import hyperparams

from official_ext.schema import fields, garden_fields  # noqa: F401
from official_ext.schema.fields import Tie

_MISSING = object()


@dataclasses.dataclass(frozen=True)
class Difference:
  """A value that two configs do not have in common.

  Attributes:
    place: Its dotted place.
    before: The value that was recorded.
    now: The value that is asked for.
  """

  place: str
  before: Any
  now: Any


def differences(
  before: Mapping[str, Any],
  now: hyperparams.Config,
  tied_to: Tie,
  place: str = '',
  inherited: Tie = Tie.WEIGHTS,
) -> Iterator[Difference]:
  """Yields what differs, of all that is tied to something.

  A field that was not recorded, since it is newer, has had its default.

  Args:
    before: What a config's `as_dict` returned, as read from a file.
    now: A config.
    tied_to: The loosest tie that counts: `Tie.WEIGHTS` where weights are used,
      `Tie.RUN` where a run goes on, `Tie.FUTURE` for the same training.
    place: Dotted place of both, with a dot at its end.
    inherited: What they are tied to, where their fields do not say.
  """
  for key, value in fields.chosen(now, place):
    tie = fields.tie_of(type(now), key, inherited)
    recorded = before.get(key, _MISSING)
    if recorded is _MISSING:
      recorded = _plain(getattr(type(now)(), key, None))
    if isinstance(value, hyperparams.Config) and isinstance(recorded, Mapping):
      yield from differences(recorded, value, tied_to, f'{place}{key}.', tie)
    elif _are_configs(value) and _kinds(value) == _kinds(recorded):
      for index, pair in enumerate(zip(recorded, value, strict=True)):
        inner = f'{place}{key}[{index}].'
        yield from differences(*pair, tied_to, inner, tie)
    elif tie >= tied_to and _plain(value) != _plain(recorded):
      yield Difference(f'{place}{key}', recorded, _plain(value))


def _are_configs(value: Any) -> bool:
  return isinstance(value, list | tuple) and all(
    isinstance(item, hyperparams.Config) for item in value
  )


def _kinds(value: Any) -> list[Any] | None:
  """Returns the kind of each config in a list; None for another value."""
  items = _plain(value)
  if not isinstance(items, list):
    return None
  if not all(isinstance(item, Mapping) for item in items):
    return None
  return [item.get('type') for item in items]


def _plain(value: Any) -> Any:
  """Returns dicts for configs and lists for tuples, as a file has them."""
  if isinstance(value, hyperparams.Config):
    return _plain(value.as_dict())
  if isinstance(value, Mapping):
    return {key: _plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(item) for item in value]
  return value
