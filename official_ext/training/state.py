"""All variables that a training changes."""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf


def variables(roots: Iterable[Any]) -> list[tf.Variable]:
  """Returns the variables of some objects, on each device of this process.

  Args:
    roots: Trackable objects, such as a checkpoint, or variables.

  Returns:
    Each once, in an order that is the same for objects that are made alike.
  """
  found = {id(v): v for root in roots for v in _variables(root)}
  return [part for variable in found.values() for part in _parts(variable)]


def _variables(root: Any) -> list[tf.Variable]:
  found = tf.train.TrackableView(root).descendants()
  return [item for item in found if isinstance(item, tf.Variable)]


def _parts(variable: tf.Variable) -> tuple[tf.Variable, ...]:
  """Returns the copies that the replicas of this process have of a variable."""
  return tuple(getattr(variable, 'values', (variable,)))
