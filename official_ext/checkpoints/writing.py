"""A folder that cannot be written to, told in one line."""

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf

from official_ext.errors import RunError, reason
from official_ext.machine import exchange


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
