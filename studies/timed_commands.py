"""Commands of the package, run one after another until a time is over."""

import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import types
from collections.abc import Mapping, Sequence
from typing import Any

# What a command that is told to stop may take to save.
_GRACE_SECONDS = 30
# What a command needs to say anything.
_LEAST_SECONDS = 10


@dataclasses.dataclass
class Clock:
  """What is left of a time.

  Attributes:
    seconds: How long all commands may take together.
    log_dir: What a command prints goes to a file in here.
  """

  seconds: float
  log_dir: pathlib.Path

  def __post_init__(self) -> None:
    """Begins to count."""
    self._end = time.monotonic() + self.seconds

  def left(self) -> float:
    """Returns the seconds that are left; less than 0 when it is over."""
    return self._end - time.monotonic()

  def run(
    self,
    name: str,
    module: str,
    *arguments: str,
    share: float = 1,
    environment: Mapping[str, str] = types.MappingProxyType({}),
  ) -> dict[str, Any]:
    """Runs a command; one that takes too long is told to stop.

    Args:
      name: Of its log.
      module: What `python -m` runs.
      *arguments: Its flags.
      share: Of what is left, that it may take.
      environment: Variables besides those of this process.

    Returns:
      The command, its exit status and the seconds that it took; a status of
      None where there was no time to begin.
    """
    command = ['python', '-m', module, *arguments]
    told = {'command': _without_places(command)}
    began, most = time.monotonic(), self.left() * share
    if most < _LEAST_SECONDS:
      return {**told, 'status': None, 'wall_seconds': 0}
    print('+', *command, flush=True)
    with (self.log_dir / f'{name}.log').open('w') as log:
      process = subprocess.Popen(
        [sys.executable, *command[1:]],
        stdout=log,
        stderr=subprocess.STDOUT,
        env=os.environ | dict(environment),
      )
      status = _wait(process, most)
    return {
      **told,
      'status': status,
      'wall_seconds': round(time.monotonic() - began, 2),
    }


def _wait(process: subprocess.Popen, most: float) -> int:
  stops = (signal.SIGTERM, most), (signal.SIGKILL, _GRACE_SECONDS)
  for number, seconds in stops:
    try:
      return process.wait(seconds)
    except subprocess.TimeoutExpired:
      process.send_signal(number)
  return process.wait()


def _without_places(command: Sequence[str]) -> list[str]:
  """Returns the command as a record may have it: no folder of a machine."""
  return [re.sub(r'(?<==)[\'"]?/.*', '…', word) for word in command]
