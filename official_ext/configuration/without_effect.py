"""Bindings that come to nothing: refused, and left out of what is written down.

A binding may be replaced by one that comes after it, and a file that others
include may bind what only some of them use. So a line of the command line, or
else of the last file, has to have an effect; one of a file before it has to be
such that it may have had one; and one of an included file only has to be no
slip, as `epochs = 3` is one for `run.epochs = 3`.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import gin
from official.core import exp_factory

from official_ext.configuration import gin_state
from official_ext.configuration.bindings import Binding
from official_ext.errors import UserError
from official_ext.schema import parts

# What gin calls the overrides of an experiment that has no arguments.
ANY = 'any_experiment'

_Sources = Sequence[Sequence[Binding]]
_Links = Mapping[str, Iterable[str]]


def check_macros(sources: _Sources) -> None:
  """Raises where a macro is missing, made of itself, or used by nothing.

  Args:
    sources: The bindings of each file, and of the command line; gin has them.

  Raises:
    UserError: At the first such macro.
  """
  everything = [binding for source in sources for binding in source]
  _check_bound(everything)
  _check_cycles(everything)
  mentioned = {m for b in everything for m in b.refers_to(macros=True)}
  used = _used_macros(gin_state.bound())
  for binding, is_last in _with_rank(sources):
    macro = binding.macro
    if not macro or macro in (used if is_last else mentioned):
      continue
    meant = [f'{part}.{macro}' for part in parts.with_field(macro)]
    if meant or not binding.included:
      raise UserError(
        f"gin: '{macro}={binding.value!r}' ({binding.place}) binds the macro "
        f'{macro}, which nothing uses; a setting has a dot, as '
        f'{" and ".join(meant) or "run.epochs"} has.'
      )


def _check_bound(everything: Sequence[Binding]) -> None:
  """Raises where something refers to a macro that there is not."""
  config = gin_state.bound()
  known = {scope for scope, name in config if name == gin_state.MACRO}
  for macro in sorted(gin_state.macros_in(config) - known):
    users = [b for b in everything if macro in b.refers_to(macros=True)]
    user = f'{users[-1].scoped_name} ({users[-1].place})' if users else 'it'
    close = difflib.get_close_matches(macro, known, n=1)
    mend = f'did you mean %{close[0]}?' if close else 'bind it, or use a value.'
    raise UserError(
      f'gin: {user} refers to the macro {macro}, which nothing binds; {mend}'
    )


def _check_cycles(everything: Sequence[Binding]) -> None:
  """Raises where a macro stands for a value with itself in it."""
  last = {binding.macro: binding for binding in everything if binding.macro}
  links = {name: b.refers_to(macros=True) for name, b in last.items()}
  for name, binding in last.items():
    if name in _reached(links[name], links):
      raise UserError(
        f'gin: {name} ({binding.place}) is a macro that is made of itself; '
        'bind a value.'
      )


def _used_macros(config: Mapping[tuple[str, str], Any]) -> set[str]:
  """Returns the macros that settings refer to, or such macros."""
  links = {
    scope: gin_state.macros_in(bound)
    for (scope, name), bound in config.items()
    if name == gin_state.MACRO
  }
  settings = {k: v for k, v in config.items() if k[1] != gin_state.MACRO}
  return _reached(gin_state.macros_in(settings), links)


def _reached(names: Iterable[str], links: _Links) -> set[str]:
  """Returns the names, and what their links lead to."""
  found: set[str] = set()
  left = list(names)
  while left:
    name = left.pop()
    if name not in found:
      found.add(name)
      left += links.get(name, ())
  return found


def _with_rank(sources: _Sources) -> Iterator[tuple[Binding, bool]]:
  """Yields bindings, and whether nothing but a line beside them comes after."""
  *files, lines = sources or [[]]
  last = lines or (files[-1] if files else [])
  for source in sources:
    for binding in source:
      yield binding, source is last and not binding.included


def check_parts(sources: _Sources, make: Callable[[], Any]) -> None:
  """Raises for a binding of a part that the experiment is not made of.

  Args:
    sources: The bindings of each file, and of the command line; gin has made
      the experiment of them.
    make: Makes the experiment.

  Raises:
    UserError: At the first such binding.
  """
  made = gin_state.made()
  for binding, is_last in _with_rank(sources):
    scope, part = binding.scope, binding.configurable
    if binding.included or not _is_known(part) or _is_in(made, scope, part):
      continue
    if is_last or not _may_have_been(binding, sources, make):
      at = f'{scope}/' if scope else ''
      raise UserError(
        f'gin: {binding.scoped_name} ({binding.place}) has no effect: the '
        f'experiment is not made of @{at}{part}(); leave it out, or refer to '
        'that part.'
      )


def _is_known(name: str) -> bool:
  """Whether it is of this package, and used where an experiment is made."""
  experiments = exp_factory._REGISTERED_CONFIGS
  return name == ANY or name in parts.names() or name in experiments


def _is_in(made: Iterable[tuple[str, str]], scope: str, part: str) -> bool:
  """Whether a binding of a part is one of what was made, by scope and name."""
  begins = f'{scope}/' if scope else ''
  return any(name == part and f'{at}/'.startswith(begins) for at, name in made)


def _may_have_been(
  binding: Binding, sources: _Sources, make: Callable[[], Any]
) -> bool:
  """Whether a part was referred to, or is there where nothing is bound."""
  references = [
    name.rpartition('/')
    for source in sources
    for other in source
    for name in other.refers_to(macros=False)
  ]
  if binding.scope:
    # What is made inside of a scope, without one of its own, is in it too.
    return any(
      f'{at}/'.startswith(f'{binding.scope}/') for at, _, _ in references
    )
  part = binding.configurable
  if any(name.rpartition('.')[2] == part for _, _, name in references):
    return True
  with gin_state.binding({}):
    make()
    return _is_in(gin_state.made(), '', part)


def effective_text() -> str:
  """Returns gin text of all that is bound, but for what came to nothing.

  Gin has to have made the experiment.
  """
  made = gin_state.made()
  settings = {
    (scope, full_name): value
    for (scope, full_name), value in gin_state.bound().items()
    if not _is_known(name := full_name.rpartition('.')[2])
    or _is_in(made, scope, name)
  }
  used = _used_macros(settings)
  kept = {
    key: value
    for key, value in settings.items()
    if key[1] != gin_state.MACRO or key[0] in used
  }
  with gin_state.binding(kept):
    return gin.config_str()
