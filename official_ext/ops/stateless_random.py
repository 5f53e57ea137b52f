"""Random numbers that are pure functions of a seed, on every device.

A seed is an int32 tensor `[2]`.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Named, since 'auto_select' differs between the host and an XLA device.
_ALGORITHM = 'philox'


def make_seed(seed: int, *counters: tf.Tensor) -> tf.Tensor:
  """Makes the seed of a point in a run.

  Args:
    seed: Seed of the run, a signed 64-bit integer.
    *counters: int32 scalars, such as the epoch and the step within it. Seeds
      that differ in any of them give unrelated numbers.

  Returns:
    int32 `[2]`.
  """
  made = tf.constant(np.array([seed], np.int64).view(np.int32))
  for counter in counters:
    made = fold_in(made, counter)
  return made


def fold_in(seed: tf.Tensor, number: int | tf.Tensor) -> tf.Tensor:
  """Returns the seed that a number makes of another, unrelated to it."""
  return tf.random.experimental.stateless_fold_in(seed, number, _ALGORITHM)


def split(seed: tf.Tensor, count: int) -> list[tf.Tensor]:
  """Returns `count` unrelated seeds."""
  seeds = tf.random.experimental.stateless_split(seed, count, _ALGORITHM)
  return tf.unstack(seeds, count)


def permutation(seed: tf.Tensor, length: int) -> tf.Tensor:
  """Returns 0 to `length` - 1 in a random order, int32 `[length]`."""
  return tf.random.experimental.stateless_shuffle(
    tf.range(length), seed, _ALGORITHM
  )


def integers(seed: tf.Tensor, count: int, limits: Sequence[int]) -> tf.Tensor:
  """Draws rows of independent integers.

  Args:
    seed: int32 `[2]`.
    count: Number of rows.
    limits: One for each column.

  Returns:
    int32 `[count, len(limits)]`, column i uniform in 0 to `limits[i]`,
    exclusive.
  """
  columns = [
    tf.random.stateless_uniform(
      [count], column_seed, maxval=limit, dtype=tf.int32, alg=_ALGORITHM
    )
    for column_seed, limit in zip(split(seed, len(limits)), limits, strict=True)
  ]
  return tf.stack(columns, axis=-1)
