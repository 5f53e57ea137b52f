"""An optimizer's variables, made before its first step."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling import optimization


def make_variables(
  optimizer: tf_keras.optimizers.Optimizer, variables: Sequence[tf.Variable]
) -> None:
  """Makes an optimizer's variables, which Keras makes at the first step.

  A checkpoint is then restored into all of them at once, and what is missing in
  it is seen.

  Args:
    optimizer: Any of Garden's; to be called in the scope of its strategy.
    variables: What it is to train.
  """
  if isinstance(optimizer, optimization.ExponentialMovingAverage):
    # Those of the average are there; of a loss scale it would make none.
    optimizer = optimizer._optimizer
  if isinstance(optimizer, tf_keras.optimizers.legacy.Optimizer):
    optimizer._create_all_weights(variables)
  else:
    optimizer.build(variables)


def all_variables(optimizer: Any) -> list[tf.Variable]:
  """Returns an optimizer's variables, and those of the ones that it wraps.

  Slots are among them, which a checkpoint's view of its objects leaves out.
  """
  found = optimizer.variables
  variables = list(found() if callable(found) else found)
  for name in ('_optimizer', 'inner_optimizer'):
    inner = getattr(optimizer, name, None)
    if isinstance(inner, tf.Module) or hasattr(inner, 'apply_gradients'):
      variables += all_variables(inner)
  return variables
