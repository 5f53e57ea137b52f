"""Speeds that are compared are measured in turns, in one process."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf


def interleave(
  parts: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
  """Measures each part once a round.

  What else the machine does then meets all parts alike, and the ratio of two
  within a round is steadier than either. Every other round runs backward, so
  that none always follows the same one.

  Args:
    parts: Each returns a speed when called.
    rounds: How often each is called.

  Returns:
    The speeds of each part, one a round.
  """
  speeds: dict[str, list[float]] = {name: [] for name in parts}
  for number in range(rounds):
    for name in list(parts)[:: -1 if number % 2 else 1]:
      speeds[name].append(parts[name]())
  return speeds


def repeated(
  run: Callable[[], Any], units: float, seconds: float, drain: bool = False
) -> Callable[[], float]:
  """Returns a function that measures the speed of `run`, which is warmed up.

  Args:
    run: What to time.
    units: What one call does: images, or floating point operations.
    seconds: How long to go on calling it, about.
    drain: Whether to do so twice and to time the second half only: what the
      first call finds ready, in a pipeline's buffers, is not its speed.

  Returns:
    A function that returns units per second.
  """
  count = count_for(run, seconds)

  def measure() -> float:
    if drain:
      _call(run, count)
    return units * count / _call(run, count)

  return measure


def count_for(run: Callable[[], Any], seconds: float) -> int:
  """Warms up, and returns how many calls take so many seconds; at least 1."""
  _call(run, 1)
  return max(1, round(seconds / _call(run, 1)))


def _call(run: Callable[[], Any], count: int) -> float:
  """Returns the seconds of `count` calls, to the end of what they started."""
  start = time.perf_counter()
  for _ in range(count):
    run()
  tf.test.experimental.sync_devices()
  return time.perf_counter() - start
