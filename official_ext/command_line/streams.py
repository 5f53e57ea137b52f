"""Output that whoever reads it may leave."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any

# Of a pipe without a reader, and of a terminal that was closed.
_LEFT = (errno.EPIPE, errno.EIO)


class _Outliving:
  """A text stream that goes on in silence once nobody reads it."""

  def __init__(self, stream: Any):
    self._stream = stream

  def write(self, text: str) -> int:
    """Writes the text, if anybody reads it; returns its length."""
    with self._silent_once_left():
      self._stream.write(text)
    return len(text)

  def flush(self) -> None:
    """Passes on what was written."""
    with self._silent_once_left():
      self._stream.flush()

  @contextlib.contextmanager
  def _silent_once_left(self) -> Iterator[None]:
    try:
      yield
    except OSError as error:
      if error.errno not in _LEFT:
        raise
      # What the stream still holds would raise once more at the end.
      nowhere = os.open(os.devnull, os.O_WRONLY)
      os.dup2(nowhere, self._stream.fileno())
      os.close(nowhere)

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)


def outlive_readers() -> None:
  """Lets standard output and error end without ending the process.

  Ctrl-C in `train 2>&1 | tee log` ends `tee` first, and a terminal may close;
  the run is yet to be saved.
  """
  for name in ('stdout', 'stderr'):
    if not isinstance(getattr(sys, name), _Outliving):
      setattr(sys, name, _Outliving(getattr(sys, name)))
