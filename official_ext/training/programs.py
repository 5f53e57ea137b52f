"""What one traced program is told from another by."""

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

# Attributes that hold a name, such as of a gradient registered in tracing.
_NAMES = {'_gradient_op_type', '_forward_func_name', '_user_specified_name'}


def digest(traced: Any) -> str:
  """Returns what is the same for programs that compute the same alike.

  Names, which TensorFlow counts through a process, do not matter.

  Args:
    traced: A concrete function.
  """
  graph = traced.graph.as_graph_def()
  functions = {each.signature.name: each for each in graph.library.function}

  @functools.cache
  def of_function(name: str) -> str:
    function = functions[name]
    ends = [function.ret[arg.name] for arg in function.signature.output_arg]
    arguments = [arg.name for arg in function.signature.input_arg]
    types = [arg.type for arg in function.signature.input_arg]
    nodes = list(function.node_def)
    place = _places([*arguments, *(node.name for node in nodes)])
    results = [place(end) for end in ends]
    return _hash([repr(types), repr(results), *lines(nodes, place)])

  def plain(value: Any) -> str:
    found = [value.func] if value.HasField('func') else value.list.func
    if found:
      return ' '.join(of_function(f.name) + repr(f.attr.items()) for f in found)
    return value.SerializeToString(deterministic=True).hex()

  def lines(nodes: Sequence[Any], place: Callable[[str], str]) -> Iterable[str]:
    for node in nodes:
      operation = node.op if node.op not in functions else of_function(node.op)
      yield repr((operation, node.device, [place(name) for name in node.input]))
      for key, value in sorted(node.attr.items()):
        if key not in _NAMES:
          yield f'{key}={plain(value)}'

  nodes = list(graph.node)
  return _hash(lines(nodes, _places([node.name for node in nodes])))


def _places(names: Sequence[str]) -> Callable[[str], str]:
  """Returns what turns names of tensors into the places of their nodes."""
  numbers = {name: str(number) for number, name in enumerate(names)}

  def place(tensor: str) -> str:
    control = '^' if tensor.startswith('^') else ''
    name, *output = tensor.removeprefix('^').split(':')
    return ':'.join([control + numbers[name], *output])

  return place


def draws(traced: Any) -> bool:
  """Whether random numbers are drawn by operations that have a seed of a run.

  A stateful operation has it among its attributes.

  Args:
    traced: A concrete function.
  """
  graph = traced.graph.as_graph_def()
  of_functions = (each.node_def for each in graph.library.function)
  nodes = itertools.chain(graph.node, *of_functions)
  return any('seed2' in node.attr for node in nodes)


def constants(traced: Any) -> list[bytes | int]:
  """Returns what the tensors are told from others by that a program holds.

  Variables are left out. Of a scalar it is the value; of others, such as the
  images on a device, that it is the same tensor.
  """
  return [
    id(tensor) if tensor.shape.rank else tensor.numpy().tobytes()
    for tensor in traced.captured_inputs
    if tensor.dtype != tf.resource
  ]


def _hash(texts: Iterable[str]) -> str:
  total = hashlib.sha256()
  for text in texts:
    total.update(text.encode() + b'\0')
  return total.hexdigest()
