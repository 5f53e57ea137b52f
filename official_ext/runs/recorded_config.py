"""The config that a run has written down, and the values in it."""

import pathlib
from collections.abc import Mapping
from typing import Any

import yaml

from official_ext.files import safe_yaml

MISSING = object()


def read(folder: pathlib.Path) -> Mapping[str, Any]:
  """Returns the config of the run whose folder it is.

  Args:
    folder: A run's, or any other.

  Returns:
    Nested dicts; an empty one where no config is, or none that can be read.
  """
  try:
    content = safe_yaml.load((folder / 'params.yaml').read_text())
  except (OSError, UnicodeDecodeError, yaml.YAMLError):
    return {}
  return content if isinstance(content, dict) else {}


def look_up(config: Any, place: str) -> Any:
  """Returns the value at a dotted place of nested dicts, or `MISSING`."""
  for key in place.split('.'):
    if not isinstance(config, Mapping) or key not in config:
      return MISSING
    config = config[key]
  return config
