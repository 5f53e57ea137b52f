"""Compiles a step before the clock starts, and leaves no trace of it."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from official_ext.training import state


def without_trace(roots: Sequence[Any], run: Callable[[], Any]) -> None:
  """Runs something, then undoes what it did to all variables of some objects.

  Args:
    roots: Trackable objects, such as a checkpoint, or variables.
    run: What to run.
  """
  variables = state.variables(roots)
  kept = [tf.identity(variable) for variable in variables]
  try:
    run()
  finally:
    for variable, value in zip(variables, kept, strict=True):
      variable.assign(value)
