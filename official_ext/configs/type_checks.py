"""Checks that values are of the types that a config or a function declares."""

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from official.modeling import hyperparams

from official_ext.errors import UserError

_Function = TypeVar('_Function', bound=Callable[..., Any])


def checked(function: _Function) -> _Function:
  """Makes a gin configurable raise where an argument is not of its type.

  Otherwise a wrong binding would fail somewhere inside, in words that name
  neither the binding nor the mend.
  """

  @functools.wraps(function)
  def wrapper(*args: Any, **kwargs: Any) -> Any:
    hints = typing.get_type_hints(function)
    bound = inspect.signature(function).bind(*args, **kwargs)
    for key, value in bound.arguments.items():
      if not _fits(value, hints[key]):
        raise UserError(
          f'gin: {function.__name__}.{key}={value!r} is {_name(type(value))}, '
          f'but must be {_name(hints[key])}.'
        )
    return function(*args, **kwargs)

  return typing.cast(_Function, wrapper)


def check_types(
  config: hyperparams.Config, place: str = '', made: Any = None
) -> None:
  """Raises where a value is not of its field's type.

  Garden assigns whatever YAML or gin gives it, and YAML has surprises: `off` is
  a boolean.

  Args:
    config: Any Garden config.
    place: Dotted path of `config`, with a dot at its end.
    made: The config as its experiment made it. What is as it was passes:
      Garden declares some fields as `str` and leaves them None.

  Raises:
    UserError: At the first such value.
  """
  hints = type(config)._get_annotations()
  for key, value in list(vars(config).items()):
    before = getattr(made, key, None)
    if isinstance(value, hyperparams.Config):
      check_types(value, f'{place}{key}.', before)
      _check_choice(value, f'{place}{key}.')
    elif _is_list_of_configs(value):
      for index, item in enumerate(value):
        check_types(item, f'{place}{key}[{index}].')
    unchanged = made is not None and value == before
    if key in hints and not unchanged and not _fits(value, hints[key]):
      raise UserError(
        f'{place}{key}={value!r} is {_name(type(value))}, but must be '
        f'{_name(hints[key])}.'
      )


def _is_list_of_configs(value: Any) -> bool:
  return isinstance(value, list | tuple) and any(
    isinstance(item, hyperparams.Config) for item in value
  )


def _check_choice(config: hyperparams.Config, place: str) -> None:
  """Raises where a one-of chooses what it does not have."""
  if not isinstance(config, hyperparams.OneOfConfig) or config.type is None:
    return
  known = [f.name for f in dataclasses.fields(config) if f.name != 'type']
  if config.type not in known:
    raise UserError(
      f"{place}type='{config.type}' does not exist; there are "
      f'{", ".join(known)}.'
    )


def _fits(value: Any, hint: Any) -> bool:
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if origin in (typing.Union, types.UnionType):
    return any(_fits(value, arg) for arg in args)
  if hint is float:
    return isinstance(value, int | float) and not isinstance(value, bool)
  if hint is int:
    return isinstance(value, int) and not isinstance(value, bool)
  if hint in (str, bool, type(None)):
    return isinstance(value, hint)
  if origin in (list, tuple, Sequence):
    inner = [arg for arg in args if arg is not ...] or [Any]
    return isinstance(value, list | tuple) and all(
      any(_fits(item, arg) for arg in inner) for item in value
    )
  if origin is Mapping:
    return isinstance(value, Mapping)
  if isinstance(hint, type) and issubclass(hint, hyperparams.Config):
    return isinstance(value, hint)
  return True


def _name(hint: Any) -> str:
  if typing.get_origin(hint):
    return str(hint).replace('typing.', '')
  return 'None' if hint is type(None) else hint.__name__
