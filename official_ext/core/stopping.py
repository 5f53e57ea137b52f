"""Stops a run after the step that it is in."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
  """Whether a signal has asked the run to stop.

  Attributes:
    signal: Number of the signal; None before one.
  """

  def __init__(self) -> None:
    """Starts with no request."""
    self.signal: int | None = None

  def __bool__(self) -> bool:
    """Whether to stop after this step."""
    return self.signal is not None

  @contextlib.contextmanager
  def on_signals(self) -> Iterator[None]:
    """Takes SIGTERM and SIGINT as requests; a second one ends the process.

    A thread of its own hears them: in the main one Python runs no handler
    before the step that TensorFlow is at is done.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = [signal.signal(n, lambda *_: None) for n in _SIGNALS]
    fd_before = signal.set_wakeup_fd(writer)
    thread = threading.Thread(target=self._listen, args=(reader,), daemon=True)
    thread.start()
    try:
      yield
    finally:
      signal.set_wakeup_fd(fd_before)
      for number, handler in zip(_SIGNALS, before, strict=True):
        signal.signal(number, handler)
      os.close(writer)
      thread.join()
      os.close(reader)

  def _listen(self, reader: int) -> None:
    """Reads the numbers of signals until the other end is closed."""
    while number := os.read(reader, 1):
      if number[0] not in _SIGNALS:
        continue
      if self:
        # As a shell reports a command that the signal ended.
        os._exit(128 + number[0])
      self.signal = number[0]
      print(
        '\nStopping after this step; once more to stop at once.',
        file=sys.stderr,
        flush=True,
      )
