"""What a field of a config may hold, and what depends on it.

A field says so where it is declared::

  filters: int = fields.field(64, fields.AT_LEAST_1)

Its type is the annotation, its rule the second argument, and `tied_to` what
depends on it; `check` holds all fields of a config to all of that, and
`comparison` decides by it whether two configs are of the same training.
"""

import copy
import dataclasses
import enum
import math
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from official.modeling import hyperparams

from official_ext.errors import UserError


class Tie(enum.IntEnum):
  """What a value is tied to, the loosest first.

  Attributes:
    PLACE: Where a run takes place and what it writes. Nothing that it computes
      depends on it.
    FUTURE: What is yet to come. It may change while a run goes on, and is then
      another training.
    RUN: The run as a whole, from its beginning to its end.
    WEIGHTS: With another value, the same weights compute something else, or are
      of something else. It stays the same wherever they are used.
  """

  PLACE = 0
  FUTURE = 1
  RUN = 2
  WEIGHTS = 3


@dataclasses.dataclass(frozen=True)
class Rule:
  """What a value has to be, besides of its type.

  Attributes:
    accepts: Whether a value will do.
    requirement: What it must be, to complete 'must be'.
  """

  accepts: Callable[[Any], bool]
  requirement: str


def field(default: Any, rule: Rule | None = None, tied_to: Any = None) -> Any:
  """Declares a field of a config, as `dataclasses.field` does.

  Args:
    default: Its default, of which each config gets a copy; or the class of a
      config, of which each gets one. It is made only then, when all kinds of a
      one-of in it are registered.
    rule: What a value has to be.
    tied_to: A `Tie`; by default that of the config it is in, and
      `Tie.WEIGHTS` where nothing else is said.
  """
  metadata = {'rule': rule, 'tied_to': tied_to}
  if isinstance(default, type):
    return dataclasses.field(default_factory=default, metadata=metadata)
  if isinstance(default, list):
    return dataclasses.field(
      default_factory=lambda: copy.deepcopy(default), metadata=metadata
    )
  return dataclasses.field(default=default, metadata=metadata)


def one_of(*values: Any) -> Rule:
  """Returns the rule that a value is one of these."""
  return Rule(lambda v: v in values, f'one of {", ".join(map(str, values))}')


def optional(rule: Rule) -> Rule:
  """Returns the rule that a value is None or obeys another."""
  return Rule(
    lambda v: v is None or rule.accepts(v), f'{rule.requirement}, or None'
  )


def all_of(rule: Rule, what: str = 'numbers') -> Rule:
  """Returns the rule that all values of a list obey another.

  Args:
    rule: Of a value.
    what: What to call them, before what they must be.
  """
  return Rule(
    lambda values: all(map(rule.accepts, values)), f'{what} {rule.requirement}'
  )


AT_LEAST_0 = Rule(lambda v: 0 <= v < math.inf, 'at least 0')
AT_LEAST_1 = Rule(lambda v: 1 <= v < math.inf, 'at least 1')
ABOVE_0 = Rule(lambda v: 0 < v < math.inf, 'more than 0')
SHARE = Rule(lambda v: 0 <= v < 1, 'at least 0 and less than 1')
SEED = Rule(lambda v: 0 <= v < 2**32, 'at least 0 and less than 2**32')
THREE = Rule(lambda v: len(v) == 3, 'three numbers')
THREE_ABOVE_0 = Rule(
  lambda v: len(v) == 3 and all_of(ABOVE_0).accepts(v),
  'three numbers more than 0',
)

PRECISIONS = ('float32', 'bfloat16', 'float16')
PRECISION = one_of('auto', *PRECISIONS)

# Rules and ties of fields that are Garden's own: by the name of the class that
# declares them, or of one that inherits them, and by the field's name.
_OF_GARDEN: dict[type, dict[str, Mapping[str, Any]]] = {}


def of_garden(
  config: type[hyperparams.Config],
  rules: Mapping[str, Rule] | None = None,
  ties: Mapping[str, Tie] | None = None,
) -> None:
  """Says of fields that Garden declares what `field` says of ours.

  Args:
    config: Garden's class; it holds for those that inherit from it too.
    rules: By field.
    ties: By field; '*' for all fields that are not named.
  """
  known = _OF_GARDEN.setdefault(config, {})
  for key, rule in (rules or {}).items():
    known[key] = {**known.get(key, {}), 'rule': rule}
  for key, tie in (ties or {}).items():
    known[key] = {**known.get(key, {}), 'tied_to': tie}


def rule_of(config: type, key: str) -> Rule | None:
  """Returns what a field's values have to be, if anything is said of it."""
  return _said(config, key, 'rule')


def tie_of(config: type, key: str, inherited: Tie) -> Tie:
  """Returns what a field is tied to.

  Args:
    config: The class of the config.
    key: The field.
    inherited: What the config itself is tied to in the one around it.
  """
  tie = _said(config, key, 'tied_to')
  return inherited if tie is None else tie


def _said(config: type, key: str, what: str) -> Any:
  for kind in config.__mro__:
    own = vars(kind).get('__annotations__', {})
    declared = getattr(kind, '__dataclass_fields__', {}).get(key)
    if key in own and declared and declared.metadata.get(what) is not None:
      return declared.metadata[what]
    of_kind = _OF_GARDEN.get(kind, {})
    for name in (key, '*'):
      if of_kind.get(name, {}).get(what) is not None:
        return of_kind[name][what]
  return None


def check(
  config: hyperparams.Config, place: str = '', made: Any = None
) -> None:
  """Raises where a value is not of its field's type, or against its rule.

  Garden assigns whatever YAML or gin gives it, and YAML has surprises: `off` is
  a boolean. What a one-of has not chosen is not looked at. A config that has
  more to say of its fields together has a method `check_together`, which takes
  its place and raises.

  Args:
    config: Any Garden config.
    place: Dotted path of `config`, with a dot at its end.
    made: The config as its experiment made it. What is as it was passes:
      Garden declares some fields as `str` and leaves them None.

  Raises:
    UserError: At the first such value.
  """
  hints = type(config)._get_annotations()
  for key, value in chosen(config, place):
    before = getattr(made, key, None)
    if isinstance(value, hyperparams.Config):
      check(value, f'{place}{key}.', before)
    elif _is_list_of_configs(value):
      for index, item in enumerate(value):
        check(item, f'{place}{key}[{index}].')
    if made is None or value != before:
      check_value(type(config), key, value, hints, f'{place}{key}')
    elif value is not None:
      _check_rule(type(config), key, value, f'{place}{key}')
  if hasattr(config, 'check_together'):
    config.check_together(place)


def check_value(
  config: type[hyperparams.Config],
  key: str,
  value: Any,
  hints: Mapping[str, Any],
  name: str,
) -> None:
  """Raises where one value is not of its field's type, or against its rule.

  Args:
    config: The class of the config.
    key: The field.
    value: Its value.
    hints: The types of the class's fields.
    name: What to call it in the message.

  Raises:
    UserError: If it is not.
  """
  if key in hints:
    check_type(value, hints[key], name)
  _check_rule(config, key, value, name)


def check_type(value: Any, hint: Any, name: str) -> None:
  """Raises where a value is not of a type.

  Args:
    value: The value.
    hint: The type.
    name: What to call the value in the message.

  Raises:
    UserError: If it is not.
  """
  if not fits(value, hint):
    shown = '' if isinstance(value, hyperparams.Config) else f'={value!r}'
    raise UserError(
      f'{name}{shown} is {type_name(type(value))}, but must be '
      f'{type_name(hint)}.'
    )


def _check_rule(config: type, key: str, value: Any, name: str) -> None:
  rule = rule_of(config, key)
  if rule and not rule.accepts(value):
    raise UserError(f'{name}={value!r} must be {rule.requirement}.')


def chosen(
  config: hyperparams.Config, place: str = ''
) -> Iterator[tuple[str, Any]]:
  """Yields the fields of a config and their values; of a one-of, its choice.

  Args:
    config: Any Garden config.
    place: Dotted path of `config`, with a dot at its end.

  Raises:
    UserError: If a one-of chooses what it does not have.
  """
  reserved = config.RESERVED_ATTR
  values = {k: v for k, v in vars(config).items() if k not in reserved}
  if isinstance(config, hyperparams.OneOfConfig):
    kind = config.type
    if kind is not None and (kind not in values or kind == 'type'):
      known = ', '.join(key for key in values if key != 'type')
      raise UserError(
        f"{place}type='{kind}' does not exist; there are {known}."
      )
    values = {k: v for k, v in values.items() if k in ('type', kind)}
  yield from values.items()


def _is_list_of_configs(value: Any) -> bool:
  return isinstance(value, list | tuple) and any(
    isinstance(item, hyperparams.Config) for item in value
  )


def fits(value: Any, hint: Any) -> bool:
  """Whether a value is of a type, as far as configs and gin have such."""
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if origin in (typing.Union, types.UnionType):
    return any(fits(value, arg) for arg in args)
  if hint is float:
    return isinstance(value, int | float) and not isinstance(value, bool)
  if hint is int:
    return isinstance(value, int) and not isinstance(value, bool)
  if hint in (str, bool, type(None)):
    return isinstance(value, hint)
  if origin in (list, tuple, Sequence):
    inner = [arg for arg in args if arg is not ...] or [Any]
    return isinstance(value, list | tuple) and all(
      any(fits(item, arg) for arg in inner) for item in value
    )
  if origin is Mapping:
    return isinstance(value, Mapping)
  if isinstance(hint, type) and issubclass(hint, hyperparams.Config):
    return isinstance(value, hint)
  return True


def type_name(hint: Any) -> str:
  """Returns what to call a type in a message."""
  if typing.get_origin(hint):
    return re.sub(r'\w+\.', '', str(hint))  # Without the modules.
  return 'None' if hint is type(None) else hint.__name__
