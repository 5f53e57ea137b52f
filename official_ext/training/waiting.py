"""Waits for the checkpoints of a run that another process trains."""

import os
import time
from collections.abc import Iterator

from official_ext.checkpoints import folder
from official_ext.errors import RunError

_POLL_SECONDS = 1


def for_first(model_dir: str, timeout: float) -> None:
  """Waits until there is a checkpoint, and says so where there is none yet.

  Args:
    model_dir: The run's folder, which may not be there either.
    timeout: Seconds to wait.

  Raises:
    RunError: If none comes.
  """
  if not folder.listed(model_dir):
    print(
      f'Waiting for a checkpoint in {model_dir}, for at most {timeout:,} s.',
      flush=True,
    )
    next(as_they_come(model_dir, timeout))


def as_they_come(model_dir: str, timeout: float | None) -> Iterator[str]:
  """Yields the paths of checkpoints: those that are there, then new ones.

  One that is on the list for a shorter time than it takes to evaluate those
  before it is gone by the time that its turn comes.

  Args:
    model_dir: The run's folder.
    timeout: Seconds to wait for each; None to wait for ever.

  Raises:
    RunError: If none comes in time.
  """
  seen: set[str] = set()
  since = time.monotonic()
  while True:
    new = [path for path in folder.listed(model_dir) if path not in seen]
    for path in new:
      seen.add(path)
      if os.path.exists(f'{path}.index'):
        yield path
    if new:
      since = time.monotonic()
    elif timeout is not None and time.monotonic() - since > timeout:
      raise RunError(
        f'--model_dir={model_dir} got no {"other " if seen else ""}checkpoint '
        f'within trainer.continuous_eval_timeout={timeout:g} seconds; see '
        'whether it is trained in.'
      )
    else:
      time.sleep(_POLL_SECONDS)
