"""The parts of a recipe on the gin surface.

A config class becomes a part by `@part('name')`: gin then binds its fields, as
in `head.logit_scale = 0.125`, and refers to one that is made of them as
`@head()`. A class that is one kind of several, such as a network, becomes that
and a part by `@kind(OneOf, 'name')`. So a new kind is one file, of this package
or of any other that a gin file imports.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import gin
from official.modeling import hyperparams

from official_ext.configs import fields
from official_ext.errors import UserError

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

  def __post_init__(self, default_params: Any, restrictions: Any) -> None:
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
  def choose(cls: type[_Config], config: hyperparams.Config) -> _Config:
    """Returns the one-of that has chosen a config of one of its kinds.

    Raises:
      UserError: If it is no kind of this one-of.
    """
    known = cls._get_annotations()  # type: ignore[attr-defined]
    for name, kind_class in known.items():
      if type(config) is kind_class:
        made = cls()
        made.type = name  # type: ignore[attr-defined]
        setattr(made, name, config)
        return made
    raise UserError(
      f'{fields.type_name(type(config))} is no {cls.__name__}; there are '
      f'{", ".join(name for name in known if name != "type")}.'
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
      own = one_of._kinds = {}  # type: ignore[attr-defined]
    _check_new(name, own.get(name), config)
    own[name] = config
    return part(name)(config)

  return register


def part(name: str) -> _ConfigClass:
  """Registers a config class as a part of the gin surface.

  Args:
    name: Its name in gin.
  """

  def register(config: type[_Config]) -> type[_Config]:
    there = {n: c for c, n in _NAMES.items()}.get(name)
    _check_new(name, there, config)
    if there is None:
      _MAKERS[config] = gin.external_configurable(
        _maker(config, name), name=name, module=_MODULE
      )
      _NAMES[config] = name
    return config

  return register


def make(config: type[_Config]) -> _Config:
  """Returns a config of a class that is a part, as gin binds its fields."""
  return _MAKERS[config]()


def names() -> set[str]:
  """Returns the names of all parts."""
  return set(_NAMES.values())


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
  own = {f.name: f for f in dataclasses.fields(config) if f.name != 'type'}

  def make_part(**values: Any) -> _Config:
    hints = config._get_annotations()
    for key, value in values.items():
      fields.check_value(config, key, value, hints, f'gin: {name}.{key}')
    return config(**{k: _plain(v) for k, v in values.items()})

  # Gin and `--help` read what there is from these.
  make_part.__name__ = make_part.__qualname__ = name
  make_part.__doc__ = config.__doc__
  make_part.__module__ = config.__module__
  make_part.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
      inspect.Parameter(
        key, inspect.Parameter.KEYWORD_ONLY, default=_default(declared)
      )
      for key, declared in own.items()
    ]
  )
  return make_part


def _default(declared: dataclasses.Field) -> Any:
  if declared.default_factory is not dataclasses.MISSING:
    return declared.default_factory()
  return declared.default


def _plain(value: Any) -> Any:
  """Returns lists for tuples, as configs have them."""
  return list(value) if isinstance(value, tuple) else value


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
  """Makes an experiment's factory raise where an argument is not of its type.

  Otherwise a wrong binding would fail somewhere inside, in words that name
  neither the binding nor the mend.
  """

  def wrapper(*args: Any, **kwargs: Any) -> Any:
    bound = inspect.signature(function).bind(*args, **kwargs)
    hints = inspect.get_annotations(function, eval_str=True)
    for key, value in bound.arguments.items():
      if callable(value) and not isinstance(value, hyperparams.Config):
        raise UserError(
          f'gin: {function.__name__}.{key} is a reference to a part; write '
          'parentheses behind it to make one, as in @resnet9().'
        )
      if not fields.fits(value, hints[key]):
        raise UserError(
          f'gin: {function.__name__}.{key}={value!r} is '
          f'{fields.type_name(type(value))}, but must be '
          f'{fields.type_name(hints[key])}.'
        )
    return function(*args, **kwargs)

  wrapper.__name__ = wrapper.__qualname__ = function.__name__
  wrapper.__doc__, wrapper.__module__ = function.__doc__, function.__module__
  wrapper.__wrapped__ = function  # type: ignore[attr-defined]
  return wrapper


def of_kind(one_of: type[Choice]) -> Mapping[str, type[hyperparams.Config]]:
  """Returns the kinds that a one-of has, ours and Garden's, by name."""
  return {k: v for k, v in one_of._get_annotations().items() if k != 'type'}
