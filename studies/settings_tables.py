"""Tables of settings, made of the code that declares them."""

import inspect
import re
from typing import Any

from official.core import exp_factory

from official_ext.errors import UserError
from official_ext.schema import parts
from studies import markdown

_HEAD = ('setting', 'default', '')
# An entry of `Attributes:` or `Args:`, with the lines that it goes on in.
_ENTRY = re.compile(r'^ {2}(\w+): (.*(?:\n {4,}.*)*)', re.MULTILINE)


def part(name: str) -> str:
  """Returns the settings of a part of the gin surface.

  Args:
    name: Of the part.

  Raises:
    UserError: If there is no such part.
  """
  known = parts.by_name()
  if name not in known:
    raise UserError(
      f'there is no part {name}; there are {", ".join(sorted(known))}.'
    )
  config = known[name]
  defaults = parts.defaults(config)
  described = _entries(config) or dict.fromkeys(
    defaults, f"As in Garden's `{config.__name__}`."
  )
  rows = [
    (f'`{name}.{key}`', _shown(default), described[key])
    for key, default in defaults.items()
    # What only Garden's own class documents, few people set here.
    if key in described
  ]
  return markdown.table(_HEAD, rows)


def experiment(name: str) -> str:
  """Returns the arguments of an experiment's factory.

  Args:
    name: Of the experiment.
  """
  factory = inspect.unwrap(exp_factory._REGISTERED_CONFIGS[name])
  described = _entries(factory)
  rows = [
    (f'`{name}.{key}`', _shown(parameter.default), described[key])
    for key, parameter in inspect.signature(factory).parameters.items()
  ]
  return markdown.table(_HEAD, rows)


def _entries(documented: Any) -> dict[str, str]:
  """Returns what a docstring says of each attribute or argument."""
  text = inspect.cleandoc(documented.__doc__ or '')
  _, _, listed = text.partition(
    'Args:' if inspect.isfunction(documented) else 'Attributes:'
  )
  listed = listed.split('\n\nRaises:')[0]
  return {
    found[1]: ' '.join(found[2].split()) for found in _ENTRY.finditer(listed)
  }


def _shown(default: Any) -> str:
  if default in (None, '') or default == []:
    return ''
  return f'`{default!r}`'
