"""Where a network computes, which decides between ways to the same numbers."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

# How often it is entered; see `as_on_accelerator`.
_pretended: list[None] = []


def on_cpu() -> bool:
  """Whether there is no accelerator, so that TensorFlow's CPU kernels compute.

  On an accelerator XLA compiles the step: there few operations are wanted, and
  those that it has deterministic code for; on a CPU, those that oneDNN is fast
  at.
  """
  return not _pretended and _kinds() == {'CPU'}


def on_gpu() -> bool:
  """Whether there is a GPU, beside which the data can live."""
  return bool(_pretended) or 'GPU' in _kinds()


def _kinds() -> set[str]:
  return {device.device_type for device in tf.config.list_logical_devices()}


@contextlib.contextmanager
def as_on_accelerator() -> Iterator[None]:
  """Builds inside what an accelerator would get, for a machine without one."""
  _pretended.append(None)
  try:
    yield
  finally:
    _pretended.pop()
