"""The config that a run has written down, and the values in it."""

import importlib
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from official_ext.errors import UserError
from official_ext.files import safe_yaml
from official_ext.runs import description

MISSING = object()


def read(folder: pathlib.Path) -> Mapping[str, Any]:
  """Returns the config of the run whose folder it is.

  Args:
    folder: A run's, or any other.

  Returns:
    Nested dicts; an empty one where no config is, or none that can be read.
  """
  try:
    content = safe_yaml.load((folder / description.PARAMS).read_text())
  except (OSError, UnicodeDecodeError, yaml.YAMLError):
    return {}
  return content if isinstance(content, dict) else {}


def import_modules(folder: pathlib.Path) -> None:
  """Imports what the run's gin files did, such as a network of one's own.

  Raises:
    UserError: If one cannot be imported.
  """
  requested = folder / description.GIN
  text = requested.read_text(encoding='utf-8') if requested.is_file() else ''
  for module in re.findall(r'^import ([\w.]+)$', text, re.MULTILINE):
    try:
      importlib.import_module(module)
    except ImportError as error:
      raise UserError(
        f'{requested} imports {module}, which cannot be imported here '
        f'({error}); put its folder into PYTHONPATH.'
      ) from error


def look_up(config: Any, place: str) -> Any:
  """Returns the value at a dotted place of nested dicts, or `MISSING`."""
  for key in place.split('.'):
    if not isinstance(config, Mapping) or key not in config:
      return MISSING
    config = config[key]
  return config
