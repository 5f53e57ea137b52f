"""What gin has bound and what it has made, which it keeps to itself."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import gin

MACRO = 'gin.macro'


def bound() -> dict[tuple[str, str], dict[str, Any]]:
  """Returns the arguments that are bound, by scope and full name."""
  return dict(gin.config._CONFIG)


def macros_in(config: Mapping[Any, Any]) -> set[str]:
  """Returns the names of the macros that bound values refer to."""
  macro = gin.get_configurable(MACRO)
  found = gin.config.iterate_references(config, to=macro)
  return {reference.config_key[0] for reference in found}


def made() -> set[tuple[str, str]]:
  """Returns scope and name of all that gin has made since it parsed."""
  return {
    (scope, full_name.rpartition('.')[2])
    for scope, full_name in gin.config._OPERATIVE_CONFIG
  }


@contextlib.contextmanager
def binding(config: Mapping[tuple[str, str], Any]) -> Iterator[None]:
  """Lets gin bind this alone for a while, and forget what it makes of it."""
  kept = gin.config._CONFIG, gin.config._OPERATIVE_CONFIG
  before = [state.copy() for state in kept]
  for state in kept:
    state.clear()
  gin.config._CONFIG.update(config)
  try:
    yield
  finally:
    for state, content in zip(kept, before, strict=True):
      state.clear()
      state.update(content)
