"""Compiles a step before the clock starts, and leaves no trace of it."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def without_trace(roots: Sequence[Any], run: Callable[[], Any]) -> None:
  """Runs something, then undoes what it did to all variables of some objects.

  Args:
    roots: Trackable objects, such as a checkpoint, or variables.
    run: What to run.
  """
  variables = {id(v): v for root in roots for v in _variables(root)}
  parts = [part for v in variables.values() for part in _parts(v)]
  kept = [tf.identity(part) for part in parts]
  try:
    run()
  finally:
    for part, value in zip(parts, kept, strict=True):
      part.assign(value)


def _variables(root: Any) -> list[tf.Variable]:
  found = tf.train.TrackableView(root).descendants()
  return [item for item in found if isinstance(item, tf.Variable)]


def _parts(variable: tf.Variable) -> tuple[tf.Variable, ...]:
  """Returns the copies that the replicas of this process have of a variable."""
  return tuple(getattr(variable, 'values', (variable,)))
