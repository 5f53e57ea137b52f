"""Reads gin files and bindings, from a checkout or from the installed wheel."""

import contextlib
import dataclasses
import pathlib
import re
import tokenize
from collections.abc import Mapping, Sequence
from typing import Any

import gin
from official.core import exp_factory

from official_ext.configuration import bindings as bindings_of
from official_ext.configuration import (
  gin_errors,
  gin_files,
  gin_state,
  without_effect,
)
from official_ext.errors import UserError

# What parsing raises; a user's own module, which a gin file imports, might
# raise others.
_BY_GIN = (ValueError, SyntaxError, tokenize.TokenError, ImportError)

# A change without a file of its own: what it is called, and what it binds.
_NAMED_BINDING = re.compile(r'([\w.-]+):\s*(\S+\.\w+\s*=.+)', re.DOTALL)

# All bindings, as `bindings.read` returns them: kept, as gin's own, until the
# next `parse`.
_SOURCES: list[list[bindings_of.Binding]] = []

# What gin calls the overrides of an experiment that has no arguments.
ANY = f'{without_effect.ANY}.overrides'


@gin.configurable
def any_experiment(overrides: Mapping[str, Any] | None = None) -> dict:
  """Returns what gin overrides in whichever experiment runs.

  Args:
    overrides: Values by their dotted place, as in
      `{'task.model.backbone.type': 'resnet9'}`.

  Returns:
    The same as nested dicts.

  Raises:
    UserError: If two places contradict each other.
  """
  nested: dict[str, Any] = {}
  for place, value in (overrides or {}).items():
    *parents, last = place.split('.')
    inner = nested
    for key in parents:
      inner = inner.setdefault(key, {})
      if not isinstance(inner, dict):
        raise UserError(
          f"gin: {ANY} sets '{place}' inside of a value; leave one out."
        )
    inner[last] = value
  return nested


def parse(files: Sequence[str], bindings: Sequence[str]) -> None:
  """Parses gin files, then bindings, in place of all that was bound before.

  Args:
    files: Paths; `gin/resnet9_v100.gin` is found from anywhere, and so are the
      files that a gin file includes.
    bindings: Lines such as `run.epochs = 10`.

  Raises:
    UserError: If a file is missing, or names or values can't be parsed.
  """
  gin.clear_config()  # It is locked after parsing; a notebook parses again.
  _SOURCES.clear()
  try:
    with gin_files.opened_for_gin():
      gin.parse_config_files_and_bindings(
        list(files), list(bindings), finalize_config=False
      )
    _SOURCES.extend(bindings_of.read(files, bindings))
    without_effect.check_macros(_SOURCES)
    gin.finalize()
  except _BY_GIN as error:
    raise gin_errors.told(error) from error


def place_of(name: str) -> str:
  """Returns where a setting was bound last; '' if that is not known.

  Args:
    name: The configurable and its argument, such as 'run.epochs'.
  """
  places = [
    binding.place
    for source in _SOURCES
    for binding in source
    if f'.{binding.name}'.endswith(f'.{name}')
  ]
  return places[-1] if places else ''


def check_used(experiment: str) -> None:
  """Raises for a binding of a part that the experiment is not made of.

  To be called once gin has made the experiment.

  Args:
    experiment: Its name.

  Raises:
    UserError: At the first such binding.
  """
  without_effect.check_parts(
    _SOURCES, lambda: exp_factory.get_exp_config(experiment)
  )


def bound() -> set[str]:
  """Returns the names of the configurables that have an argument bound."""
  return {name.rpartition('.')[2] for _, name in gin_state.bound()}


def unbound() -> contextlib.AbstractContextManager[None]:
  """Lets gin bind nothing for a while, as where defaults are asked for."""
  return gin_state.binding({})


@dataclasses.dataclass(frozen=True)
class Change:
  """What goes on top of a recipe; nothing, for the recipe itself.

  Attributes:
    name: What the recipe with the change is called.
    files: Of gin, after those of the recipe.
    bindings: Of gin, before those of all variants.
  """

  name: str
  files: tuple[str, ...] = ()
  bindings: tuple[str, ...] = ()

  def __str__(self) -> str:
    """Returns its files, or else its name, for messages."""
    return ', '.join(self.files) or self.name


def named_changes(recipe: str, changes: Sequence[str]) -> list[Change]:
  """Returns changes to a recipe with what they are called.

  Args:
    recipe: What the recipe is called.
    changes: Of the command line. Each is a gin file, called by its name without
      folder and ending, or a name with one binding:
      `no_nesterov: sgd_coupled_decay.nesterov = False`.

  Raises:
    UserError: If one is neither, two are called the same, or one as the recipe
      is.
  """
  named = [_change(text) for text in changes]
  if len({recipe, *(change.name for change in named)}) <= len(changes):
    raise UserError(
      'two of these have the same name, and so would what comes of them: '
      f'{", ".join([recipe, *changes])}; rename one.'
    )
  return named


def _change(text: str) -> Change:
  found = _NAMED_BINDING.fullmatch(text)
  if found:
    return Change(found[1], bindings=(found[2].strip(),))
  if '=' in text and not pathlib.Path(text).exists():
    raise UserError(
      f'{text!r} is neither a gin file nor a name with a binding, such as '
      'no_nesterov:sgd_coupled_decay.nesterov=False; mend it.'
    )
  return Change(pathlib.Path(text).stem, (text,))
