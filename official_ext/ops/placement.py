"""Where a network computes, which decides between ways to the same numbers."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

_pretended: list[bool] = []


def on_cpu() -> bool:
  """Whether there is no accelerator, so that TensorFlow's CPU kernels compute.

  On an accelerator XLA compiles the step: there few operations are wanted, and
  those that it has deterministic code for; on a CPU, those that oneDNN is fast
  at.
  """
  if _pretended:
    return _pretended[-1]
  devices = tf.config.list_logical_devices()
  return all(device.device_type == 'CPU' for device in devices)


@contextlib.contextmanager
def as_on_accelerator() -> Iterator[None]:
  """Builds inside what an accelerator would get, for a machine without one."""
  _pretended.append(False)
  try:
    yield
  finally:
    _pretended.pop()
