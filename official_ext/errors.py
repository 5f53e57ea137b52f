"""The exceptions that end a command with one line instead of a trace."""

import re
from collections.abc import Sequence


class UserError(ValueError):
  """A mistake that the user can mend, found before any work starts.

  Its text is one line that names the offending value, the place it came from
  and the mend, for example::

    task.train_data.global_batch_size=60000 is more than the 50000 images of
    cifar10:train; use a batch_size of at most 50000.

  Every command of this package prints it after `error: ` and exits with
  `status`; `--traceback` shows where it was raised.

  Attributes:
    status: Exit status of a command. argparse, absl and the shell's built-ins
      end with 2 on a usage error, so scripts can tell it from a failure (1).
  """

  status = 2

  @property
  def lines(self) -> Sequence[str]:
    """The text; gin adds lines of its own to what passes a configurable."""
    return str(self).splitlines()[:1]


class UserErrors(UserError):  # noqa: N818  They are several.
  """Several mistakes that were found at once, each told in a line."""

  def __init__(self, lines: Sequence[str]):
    """Takes the lines, each as the text of a `UserError`."""
    super().__init__(' '.join(lines))
    self._lines = lines

  @property
  def lines(self) -> Sequence[str]:
    """One for each mistake."""
    return self._lines


class RunError(UserError):
  """Work that began and cannot go on; its text names what is left and how."""

  status = 1


class Stopped(Exception):  # noqa: N818  It is not an error.
  """A run that ended early because a signal asked it to.

  Attributes:
    signal: Its number.
    status: Exit status of a command, as a shell reports one that the signal
      ended.
  """

  def __init__(self, text: str, signal: int):
    """Takes what to print, and the number of the signal."""
    super().__init__(text)
    self.signal = signal
    self.status = 128 + signal


def reason(error: Exception) -> str:
  """Returns the first line of an error, for a message of one line.

  What TensorFlow adds of operations and long paths is left out.
  """
  text = getattr(error, 'strerror', None) or getattr(error, 'message', None)
  text = re.sub(
    r'\{\{.*?\}\} ?| ?\[Op:.*|\S*tempstate\d+; ', '', text or str(error)
  )
  return text.split('\n')[0].rstrip('. ')


def one_line(error: Exception) -> str:
  """Returns the message of an error that is spread over several lines."""
  return ' '.join(str(error).split())
