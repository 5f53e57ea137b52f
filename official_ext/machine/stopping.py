"""Stops a run after the step that it is in."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def signals() -> list[int]:
  """Returns the signals that ask a run to stop.

  SIGHUP, which comes when a terminal closes, is not one of them where `nohup`
  has it ignored.
  """
  ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
  return [n for n in _SIGNALS if not (ignored and n == signal.SIGHUP)]


def end_with_parent() -> None:
  """Has Linux send SIGTERM to this process when the one that began it ends."""
  set_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2).
  ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)


class StopRequest:
  """Whether a signal has asked the run to stop.

  Several workers have to stop after the same step, so a signal counts only once
  all of them know of it.

  Attributes:
    signal: Number of the signal that all workers know of; None before one.
    worker: Index of the worker that had it.
  """

  def __init__(
    self, ask: Callable[[int], Sequence[int]] = lambda number: [number]
  ) -> None:
    """Starts with no request.

    Args:
      ask: Tells all workers a number, and returns theirs, in order.
    """
    self.signal: int | None = None
    self.worker = 0
    self._ask = ask
    self._heard = 0

  def __bool__(self) -> bool:
    """Whether to stop after this step."""
    return self.signal is not None

  def agree(self) -> bool:
    """Asks all workers, which do so at the same point; returns whether to stop.

    Without several workers, this costs nothing.
    """
    for worker, number in enumerate(self._ask(self._heard)):
      if number and not self:
        self.signal, self.worker = number, worker
    return bool(self)

  @contextlib.contextmanager
  def on_signals(self) -> Iterator[None]:
    """Takes `signals` as requests; a second one but SIGHUP ends the process.

    A thread of its own hears them: in the main one Python runs no handler
    before the step that TensorFlow is at is done.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {n: signal.signal(n, lambda *_: None) for n in signals()}
    fd_before = signal.set_wakeup_fd(writer)
    thread = threading.Thread(target=self._listen, args=(reader,), daemon=True)
    thread.start()
    try:
      yield
    finally:
      signal.set_wakeup_fd(fd_before)
      for number, handler in before.items():
        signal.signal(number, handler)
      os.close(writer)
      thread.join()
      os.close(reader)

  def _listen(self, reader: int) -> None:
    """Reads the numbers of signals until the other end is closed."""
    while number := os.read(reader, 1):
      if number[0] not in _SIGNALS:
        continue
      if self._heard and number[0] == signal.SIGHUP:
        # A terminal that closes may send several.
        continue
      if self._heard:
        # As a shell reports a command that the signal ended.
        os._exit(128 + number[0])
      self._heard = number[0]
      print(
        '\nStopping after this step; once more to stop at once.',
        file=sys.stderr,
        flush=True,
      )
