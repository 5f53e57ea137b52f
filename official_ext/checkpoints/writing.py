"""Writes checkpoints while training goes on, and says what hinders it."""

import atexit
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from official_ext.errors import RunError, reason
from official_ext.machine import exchange


def options(
  beside: bool, then: Sequence[Callable[[str], None]] = ()
) -> tf.train.CheckpointOptions:
  """Returns how a checkpoint is to be written.

  Args:
    beside: Whether a thread writes it, while training goes on with what has
      been copied to the host by then.
    then: What to call with its path when it is whole, before it is put on
      TensorFlow's list.
  """
  return tf.train.CheckpointOptions(
    experimental_enable_async_checkpoint=beside,
    # TensorFlow's manager adds to the list.
    experimental_write_callbacks=list(then),
  )


def settle(checkpoint: tf.train.Checkpoint) -> None:
  """Waits until what is being written is whole.

  Raises:
    Exception: Whatever has hindered it. TensorFlow would tell it with the next
      one.
  """
  checkpoint.sync()
  _raise_error_of(checkpoint._async_checkpointer_impl)


def _raise_error_of(writer: Any) -> None:
  """Raises what has hindered it, which TensorFlow would print as well."""
  error = getattr(writer, '_async_error', None)
  if error is not None:
    writer._async_error = None
    raise error


def finish(checkpoint: tf.train.Checkpoint) -> None:
  """Ends the thread that writes, which would keep all variables alive.

  Raises:
    Exception: As `settle`.
  """
  writer = checkpoint._async_checkpointer_impl
  if writer is not None:
    checkpoint._async_checkpointer_impl = None
    atexit.unregister(writer._join_async_save_thread)
    writer.sync()
    try:
      _raise_error_of(writer)
    finally:
      writer._join_async_save_thread()


@contextlib.contextmanager
def writing(model_dir: str) -> Iterator[None]:
  """Turns an error in writing to the folder into one line.

  Raises:
    RunError: If something cannot be written.
  """
  try:
    yield
  except exchange.LOST:  # Several workers save together.
    raise
  except (OSError, tf.errors.OpError) as error:
    last = tf.train.latest_checkpoint(model_dir)
    there = 'there is no checkpoint yet'
    if last:
      there = f'the last good checkpoint is {os.path.basename(last)}'
    raise RunError(
      f'--model_dir={model_dir} cannot be written to ({reason(error)}); '
      f'{there}. Make room, then run the same command with this folder.'
    ) from error
