"""Reads gin files and bindings, from a checkout or from the installed wheel."""

import contextlib
import dataclasses
import difflib
import functools
import importlib.util  # noqa: F401  gin looks files up with it, unimported.
import inspect
import pathlib
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gin
from absl import logging

from official_ext.configuration import bindings as bindings_of
from official_ext.errors import UserError
from official_ext.schema import parts

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# gin tries the working directory first, then these: the wheel carries the gin
# files inside the package, a checkout beside it.
_SEARCH_PATHS = (_PACKAGE, _PACKAGE.parent)

# A change without a file of its own: what it is called, and what it binds.
_NAMED_BINDING = re.compile(r'([\w.-]+):\s*(\S+\.\w+\s*=.+)', re.DOTALL)

# All bindings, as `bindings.read` returns them: kept, as gin's own, until the
# next `parse`.
_SOURCES: list[list[bindings_of.Binding]] = []

# What gin calls the overrides of an experiment that has no arguments.
ANY = 'any_experiment.overrides'


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
  _add_search_paths()
  for file in files:
    # Gin looks for it in packages too, and fails at one that is only a folder.
    if not pathlib.Path(_find(file)).exists():
      raise _missing(file)
  verbosity = logging.get_verbosity()
  # Gin logs an error for each place where it does not find a file.
  logging.set_verbosity(logging.FATAL)
  try:
    gin.parse_config_files_and_bindings(list(files), list(bindings))
    _SOURCES.extend(bindings_of.read(files, bindings, _find))
    _check_macros()
  except OSError as error:
    raise _unopened(files, error) from error
  except (ValueError, SyntaxError, tokenize.TokenError) as error:
    raise UserError(f'gin: {one_line(error)}{_suggestion(error)}') from error
  finally:
    logging.set_verbosity(verbosity)


def _find(file: str) -> str:
  """Returns the path at which gin has found a file."""
  there = (path / file for path in (pathlib.Path(), *_SEARCH_PATHS))
  return str(next((path for path in there if path.exists()), file))


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


def _unopened(files: Sequence[str], error: OSError) -> UserError:
  """Names the file, be it included by another, and what may have been meant."""
  found = re.search(r'Unable to open file: (.*?)\. Searched', str(error))
  if not found:
    return UserError(f'{", ".join(files)}: {one_line(error)}; mend the file.')
  return _missing(found[1])


def _missing(file: str) -> UserError:
  shipped = shipped_files()
  close = difflib.get_close_matches(file, shipped, n=1)
  meant = f'the files of this package are {", ".join(shipped)}.'
  if close:
    meant = f'did you mean {close[0]}?'
  return UserError(f'there is no gin file {file}; {meant}')


@functools.cache  # gin keeps a path as often as it is added.
def _add_search_paths() -> None:
  for path in _SEARCH_PATHS:
    gin.add_config_file_search_path(str(path))


def _check_macros() -> None:
  """Raises for a binding without a dot: a macro, which nothing refers to."""
  macro = gin.get_configurable('gin.macro')
  references = gin.config.iterate_references(gin.config._CONFIG, to=macro)
  used = {reference.config_key[0] for reference in references}
  for name, selector in gin.config._CONFIG:
    if selector == 'gin.macro' and name not in used:
      value = gin.config._CONFIG[name, selector]['value']
      known = [f'{part}.{name}' for part in parts.with_field(name)]
      raise ValueError(
        f"'{name}={value!r}' binds the macro {name}, which nothing uses; a "
        f'setting has a dot, as {" and ".join(known) or "run.epochs"} has.'
      )


def check_used() -> None:
  """Raises for a binding of a part that the experiment is not made of.

  To be called once gin has made the experiment. What a file binds may be
  replaced by one that comes after it, so the last one is looked at, or else the
  command line's bindings, as far as they stand there themselves.

  Raises:
    UserError: At the first such binding.
  """
  *files, lines = _SOURCES
  made = {
    (scope, selector.rpartition('.')[2])
    for scope, selector in gin.config._OPERATIVE_CONFIG
  }
  for binding in lines or (files[-1] if files else []):
    scope, part = binding.scope, binding.configurable
    known = part in parts.names() and not binding.included
    if known and not any(
      name == part and f'{at}/'.startswith(f'{scope}/' if scope else '')
      for at, name in made
    ):
      prefix = f'{scope}/' if scope else ''
      raise UserError(
        f'gin: {prefix}{binding.name} ({binding.place}) has no effect: the '
        f'experiment is not made of @{prefix}{part}(); leave it out, or refer '
        'to that part.'
      )


def bound() -> set[str]:
  """Returns the names of the configurables that have an argument bound."""
  return {selector.rpartition('.')[2] for _, selector in gin.config._CONFIG}


@contextlib.contextmanager
def unbound() -> Iterator[None]:
  """Lets gin bind nothing for a while, as where defaults are asked for."""
  bound = gin.config._CONFIG.copy()
  gin.config._CONFIG.clear()
  try:
    yield
  finally:
    gin.config._CONFIG.update(bound)


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


def shipped_files() -> list[str]:
  """Returns the names by which `parse` finds the package's own gin files."""
  return sorted(
    {
      str(file.relative_to(path))
      for path in _SEARCH_PATHS
      for file in (path / 'gin').rglob('*.gin')
    }
  )


def one_line(error: Exception) -> str:
  """Returns the message of an error that gin spread over several lines."""
  return ' '.join(str(error).split())


def _suggestion(error: Exception) -> str:
  """Names the parameter that was most likely meant."""
  words = str(error).split("'")
  if "doesn't have a parameter named" not in str(error) or len(words) < 5:
    return ''
  configurable, wrong = words[1], words[4]
  known = inspect.signature(gin.get_configurable(configurable)).parameters
  close = difflib.get_close_matches(wrong, known, n=1)
  if close:
    return f' Did you mean {configurable}.{close[0]}?'
  return f' It has {", ".join(known)}.'
