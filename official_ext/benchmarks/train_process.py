"""Runs `official_ext.train` as its user does, in a process of its own."""

import dataclasses
import fcntl
import os
import pathlib
import pty
import re
import resource
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence

from official_ext.errors import RunError

# By then each buffer has its size. An evaluation follows the last one.
_STEPS = 24

# `512/1.19M [`: the images done, of all, on the bar of `progress.bar`.
_BAR = re.compile(rb'([\d.]+)[kMG]?/[\d.]+[kMG]? \[')


@dataclasses.dataclass(frozen=True)
class TrainRun:
  """What a run took.

  Attributes:
    first_step_seconds: From the start of the process to when the bar shows that
      the first step is done.
    peak_memory_bytes: Largest resident set of the process.
  """

  first_step_seconds: float
  peak_memory_bytes: int


def run(arguments: Sequence[str], to_end: bool) -> TrainRun:
  """Trains in a temporary folder, which is removed.

  Linux counts the memory of a process's parent at its start as its own peak: to
  be called before anything large is loaded here.

  Args:
    arguments: Flags that choose the experiment, whose data is prepared.
    to_end: Whether to go on for two dozen steps and an evaluation, or to end
      the process after its first step.

  Raises:
    RunError: If the process fails.
  """
  with tempfile.TemporaryDirectory() as folder:
    config = pathlib.Path(folder) / 'steps.yaml'
    config.write_text(f'trainer: {{train_steps: {_STEPS}}}\n')
    command = [sys.executable, '-m', 'official_ext.train', *arguments]
    command += [f'--config_file={config}', f'--model_dir={folder}/run']
    return _watch(command, folder, to_end)


def _watch(command: list[str], folder: str, to_end: bool) -> TrainRun:
  # On a terminal, and one that is not 0 wide, the bar moves at each step.
  terminal, its_end = pty.openpty()
  fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack('4H', 24, 80, 0, 0))
  start = time.perf_counter()
  process = subprocess.Popen(
    command,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL,
    stderr=its_end,
    # One that is killed leaves TensorFlow's own temporary files behind.
    env=os.environ | {'TMPDIR': folder},
    # Ctrl-C is for this process, which then ends the other.
    start_new_session=True,
  )
  os.close(its_end)
  try:
    first_step, text = None, b''
    for chunk in _read(terminal):
      text = (text + chunk)[-4096:]
      if first_step is None and any(map(float, _BAR.findall(text))):
        first_step = time.perf_counter() - start
        if not to_end:
          os.kill(process.pid, signal.SIGKILL)
    usage = _wait(process)
  finally:
    if process.returncode is None:
      process.kill()
      process.wait()
    os.close(terminal)
  if first_step is None or (to_end and process.returncode):
    lines = text.decode(errors='replace').strip().split('\n')
    raise RunError(f'{shlex.join(command)} failed: {lines[-1]}')
  return TrainRun(first_step, usage.ru_maxrss * 1024)


def _read(terminal: int) -> Iterator[bytes]:
  """Yields what is written to a terminal until its last writer ends."""
  while True:
    try:
      chunk = os.read(terminal, 4096)
    except OSError:  # Linux' way to say that nobody has the other end open.
      return
    if not chunk:
      return
    yield chunk


def _wait(process: subprocess.Popen) -> resource.struct_rusage:
  """Waits, and returns what this process, and no other, has used."""
  _, status, usage = os.wait4(process.pid, 0)
  process.returncode = os.waitstatus_to_exitcode(status)
  return usage
