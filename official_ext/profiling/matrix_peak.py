"""The most that the machine computes in one matrix product."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Large enough to hide the start of a product, on CPUs at least.
SQUARES = ((2048, 2048, 2048), (4096, 4096, 4096))


def count_operations(shape: tuple[int, int, int]) -> int:
  """Returns the floating point operations of a product."""
  rows, inner, columns = shape
  return 2 * rows * inner * columns


def build(shape: tuple[int, int, int], dtype: str) -> Callable[[], Any]:
  """Returns a function that computes a product of random matrices.

  Args:
    shape: (rows, inner, columns).
    dtype: Of both matrices and the product.
  """
  rows, inner, columns = shape
  left = tf.random.uniform([rows, inner], dtype=tf.as_dtype(dtype))
  right = tf.random.uniform([inner, columns], dtype=tf.as_dtype(dtype))
  return functools.partial(tf.function(tf.matmul), left, right)
