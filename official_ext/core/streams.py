"""Output that whoever reads it may leave."""

import os
import sys
from typing import Any


class _Outliving:
  """A text stream that goes on in silence once nobody reads it."""

  def __init__(self, stream: Any):
    self._stream = stream

  def write(self, text: str) -> int:
    """Writes the text, if anybody reads it; returns its length."""
    try:
      self._stream.write(text)
    except BrokenPipeError:
      self._fall_silent()
    return len(text)

  def flush(self) -> None:
    """Passes on what was written."""
    try:
      self._stream.flush()
    except BrokenPipeError:
      self._fall_silent()

  def _fall_silent(self) -> None:
    """What the stream still holds would raise once more at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, self._stream.fileno())
    os.close(nowhere)

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)


def outlive_readers() -> None:
  """Lets standard output and error end without ending the process.

  Ctrl-C in `train 2>&1 | tee log` ends `tee` first; the run is yet to be saved.
  """
  for name in ('stdout', 'stderr'):
    if not isinstance(getattr(sys, name), _Outliving):
      setattr(sys, name, _Outliving(getattr(sys, name)))
