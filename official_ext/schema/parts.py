"""The parts of a recipe on the gin surface.

A config class becomes a part by `@part('name')`: gin then binds its fields, as
in `head.logit_scale = 0.125`, and refers to one that is made of them as
`@head()`. A class that is one kind of several, such as a network, becomes that
and a part by `@kind(OneOf, 'name')`. So a new kind is one file, of this package
or of any other that a gin file imports.
"""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import gin
from official.modeling import hyperparams

from official_ext.errors import UserError
from official_ext.schema import fields

_Config = TypeVar('_Config', bound=hyperparams.Config)
_ConfigClass = Callable[[type[_Config]], type[_Config]]

_MODULE = 'official_ext'
# What gin makes a part with, and what it is called, by its class.
_MAKERS: dict[type, Callable[..., Any]] = {}
_NAMES: dict[type, str] = {}


@dataclasses.dataclass
class Choice(hyperparams.OneOfConfig):
  """A one-of whose kinds are registered by `kind`, each in its own file.

  Garden's own one-ofs name all kinds in one class. This one may inherit from
  such a class, and then has its kinds too.
  """

  def __post_init__(  # type: ignore[override]
    self, default_params: Any, restrictions: Any
  ) -> None:
    """Gives each kind its place, as a field of a Garden one-of has it."""
    for name, config in self.kinds().items():
      setattr(self, name, config())
    super().__post_init__(default_params, restrictions)

  @classmethod
  def kinds(cls) -> dict[str, type[hyperparams.Config]]:
    """Returns the registered kinds, by name."""
    return {
      name: config
      for one_of in reversed(cls.__mro__)
      for name, config in vars(one_of).get('_kinds', {}).items()
    }

  @classmethod
  def _get_annotations(cls) -> dict[str, Any]:
    return super()._get_annotations() | cls.kinds()

  @classmethod
  def choose(
    cls: type[_Config], config: hyperparams.Config, place: str = ''
  ) -> _Config:
    """Returns the one-of that has chosen a config of one of its kinds.

    Args:
      config: What is chosen.
      place: Where it was, to begin a message with.

    Raises:
      UserError: If it is no kind of this one-of.
    """
    known = cls._get_annotations()
    for name, kind_class in known.items():
      if type(config) is kind_class:
        made = cls()
        made.type = name
        setattr(made, name, config)
        return made
    names = ', '.join(name for name in known if name != 'type')
    raise UserError(
      f'{place}{fields.type_name(type(config))} is no {cls.__name__}; there '
      f'are {names}.'
    )


def kind(one_of: type[Choice], name: str) -> _ConfigClass:
  """Registers a config class as a kind of a one-of, and as a part of its name.

  Args:
    one_of: The one-of.
    name: Its name in configs and in gin.
  """

  def register(config: type[_Config]) -> type[_Config]:
    own = vars(one_of).get('_kinds')
    if own is None:
      own = one_of._kinds = {}
    _check_new(name, own.get(name), config)
    own[name] = part(name)(config)
    return config

  return register


def part(name: str) -> _ConfigClass:
  """Registers a config class as a part of the gin surface.

  Args:
    name: Its name in gin.
  """

  def register(config: type[_Config]) -> type[_Config]:
    there = {n: c for c, n in _NAMES.items()}.get(name)
    _check_new(name, there, config)
    if there:  # Gin takes a name a second time from an interactive session.
      _NAMES.pop(there)
      gin.enter_interactive_mode()
    _MAKERS[config] = gin.external_configurable(
      _maker(config, name), name=name, module=_MODULE
    )
    _NAMES[config] = name
    return config

  return register


def make(config: type[_Config]) -> _Config:
  """Returns a config of a class that is a part, as gin binds its fields."""
  return _MAKERS[config]()


def by_name() -> dict[str, type[hyperparams.Config]]:
  """Returns the classes of all parts."""
  return {name: config for config, name in _NAMES.items()}


def defaults(config: type[hyperparams.Config]) -> dict[str, Any]:
  """Returns the fields of a part and their defaults."""
  return {
    f.name: _default(f) for f in dataclasses.fields(config) if f.name != 'type'
  }


def names() -> set[str]:
  """Returns the names of all parts."""
  return set(_NAMES.values())


def with_field(field: str) -> list[str]:
  """Returns the names of the parts that have a field."""
  return sorted(
    name
    for config, name in _NAMES.items()
    if field in {f.name for f in dataclasses.fields(config)}
  )


def _check_new(
  name: str, there: type | None, config: type[hyperparams.Config]
) -> None:
  # A module may be loaded again, as in a notebook.
  if there and (there.__module__, there.__qualname__) != (
    config.__module__,
    config.__qualname__,
  ):
    raise KeyError(
      f'{name!r} is registered already, by {there.__module__}; name it '
      'otherwise.'
    )


def _maker(config: type[_Config], name: str) -> Callable[..., _Config]:
  """Returns a function of a config's fields that makes it, for gin."""

  def make_part(**values: Any) -> _Config:
    hints = config._get_annotations()
    made = {}
    for key, value in values.items():
      place = f'gin: {name}.{key}'
      _check_made(value, place)
      made[key] = _made_of_dicts(value, hints[key], place)
      fields.check_value(config, key, made[key], hints, place)
    return config(**made)

  # Gin and `--help` read what there is from these.
  make_part.__name__ = make_part.__qualname__ = name
  make_part.__doc__ = config.__doc__
  make_part.__module__ = config.__module__
  make_part.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
      inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default)
      for key, default in defaults(config).items()
    ]
  )
  return make_part


def _default(declared: dataclasses.Field) -> Any:
  if declared.default_factory is not dataclasses.MISSING:
    return declared.default_factory()
  return declared.default


def _check_made(value: Any, place: str) -> None:
  """Raises for a reference without parentheses, which is not a part yet."""
  for item in value if isinstance(value, list | tuple) else [value]:
    if inspect.isfunction(item):
      raise UserError(
        f'{place} is a reference to {item.__name__}; write parentheses behind '
        f'it to make one, as in @{item.__name__}().'
      )


def _made_of_dicts(value: Any, hint: Any, place: str) -> Any:
  """Returns a list, and the dicts in it as the configs that it is to hold.

  Raises:
    UserError: If a dict has a key that the config does not.
  """
  if not isinstance(value, list | tuple):
    return value
  (inner,) = typing.get_args(hint)[:1] or (None,)
  if not (isinstance(inner, type) and issubclass(inner, hyperparams.Config)):
    return list(value)
  known = [f.name for f in dataclasses.fields(inner)]
  for item in value:
    for key in set(item).difference(known) if isinstance(item, dict) else ():
      raise UserError(
        f'{place}: {key!r} is unknown; there are {", ".join(known)}.'
      )
  return [inner(**i) if isinstance(i, dict) else i for i in value]


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
  """Makes an experiment's factory raise where an argument is not of its type.

  Otherwise a wrong binding would fail somewhere inside, in words that name
  neither the binding nor the mend.
  """

  @functools.wraps(function)
  def wrapper(*args: Any, **kwargs: Any) -> Any:
    bound = inspect.signature(function).bind(*args, **kwargs)
    hints = typing.get_type_hints(function)
    for key, value in bound.arguments.items():
      name = f'gin: {function.__name__}.{key}'
      _check_made(value, name)
      fields.check_type(value, hints[key], name)
    return function(*args, **kwargs)

  return wrapper
