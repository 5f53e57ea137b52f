"""YAML of plain data, without Python's objects."""

import re
from typing import Any

import yaml

# A run's params.yaml has about three hundred.
_MAX_VALUES = 100_000


class _Loader(yaml.SafeLoader):
  """PyYAML's safe loader, with the two things Garden's own files need."""


def _construct_list(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
  if not isinstance(node, yaml.SequenceNode):
    raise yaml.YAMLError(f'{node.tag} is not a sequence')
  return loader.construct_sequence(node, deep=True)


# Garden writes tuples into params.yaml; as lists they mean the same there.
_Loader.add_constructor('tag:yaml.org,2002:python/tuple', _construct_list)
# YAML 1.1, and so PyYAML, takes 1e-4 and 1.0e4 for strings; YAML 1.2 does not.
_Loader.add_implicit_resolver(
  'tag:yaml.org,2002:float',
  re.compile(r'^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$'),
  list('-+.0123456789'),
)


class _Dumper(yaml.SafeDumper):
  """PyYAML's safe dumper; it writes a tuple as a list already."""

  def ignore_aliases(self, data: Any) -> bool:
    """Writes equal values out each time, for people to read."""
    return True


def dump(data: Any) -> str:
  """Returns YAML text that any YAML reader takes."""
  return yaml.dump(data, Dumper=_Dumper, default_flow_style=None)


def load(text: str) -> Any:
  """Returns the plain data in YAML or JSON text.

  Raises:
    yaml.YAMLError: If the text is not YAML, asks for a Python object, or stands
      for far more than it holds.
  """
  loader = _Loader(text)
  try:
    node = loader.get_single_node()
    if node is None:
      return None
    if _count_values(node, {}) > _MAX_VALUES:
      raise yaml.YAMLError(f'it has more than {_MAX_VALUES:,} values')
    return loader.construct_document(node)
  except yaml.YAMLError:
    raise
  except Exception as error:  # A date of month 13 is a ValueError, for one.
    reason = str(error) or type(error).__name__
    raise yaml.YAMLError(f'it cannot be read: {reason}') from error
  finally:
    loader.dispose()


def _count_values(node: yaml.Node, counts: dict[yaml.Node, int]) -> int:
  """Counts values, those behind an alias each time it is used.

  Args:
    node: Of the text.
    counts: Of the nodes that are counted; too many while they still are.
  """
  if node not in counts:
    counts[node] = _MAX_VALUES  # What holds itself has no end.
    inner = node.value if isinstance(node, yaml.CollectionNode) else []
    if isinstance(node, yaml.MappingNode):
      inner = [part for pair in node.value for part in pair]
    counts[node] = 1 + sum(_count_values(part, counts) for part in inner)
  return counts[node]
