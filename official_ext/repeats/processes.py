"""Trainings in processes of their own, as many in one as can be."""

import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from official_ext.errors import Stopped
from official_ext.machine import stopping
from official_ext.repeats import plan
from official_ext.repeats.plan import COMMAND, Run, Study


def train_all(
  study: Study, runs: Sequence[Run], arguments: Sequence[str]
) -> list[str]:
  """Trains what has no record yet, and writes its record.

  Those on the same devices and in the same precision share a process. One that
  fails ends it, and the others go on in another.

  Args:
    study: What the runs have in common.
    runs: All that are asked for.
    arguments: Those of the command that asks for them.

  Returns:
    The names of the runs that failed.

  Raises:
    Stopped: If a signal asked for it.
  """
  for run in runs:
    if run.record.exists():
      print(f'{run.told(runs)} is finished: {run.record}', flush=True)
  failed: list[Run] = []
  while left := [run for run in _left(runs) if run not in failed]:
    group = plan.same_runtime(study, left)[0]
    late_signal = train_together(study, group, arguments)
    failed += _left(group)[:1]
    rest = [run for run in _left(left) if run not in failed]
    if late_signal and rest:
      raise _stopped(rest[0], late_signal)
  return [run.name for run in failed]


def train_together(
  study: Study, runs: Sequence[Run], arguments: Sequence[str]
) -> int | None:
  """Trains runs in a process, up to the first that fails.

  Signals that ask it to stop are passed on, and the training saves.

  Args:
    study: What they have in common.
    runs: On the same devices, in the same precision, without a record.
    arguments: As of `train_all`.

  Returns:
    A signal that came too late to end it; otherwise None.

  Raises:
    Stopped: If a signal has ended it, or a run failed after one.
  """
  names = [f'--in_turn={run.name}' for run in runs]
  status, heard = _run([*_COMMAND, *names, *arguments])
  undone = _left(runs)
  if not undone:
    return heard
  for number in stopping.signals():
    # Before it listens to signals, they end it as they end any process.
    if status in (128 + number, -number):
      raise _stopped(undone[0], number)
  alone = ['python', '-m', 'official_ext.train', *study.arguments(undone[0])]
  failure = (
    f'{undone[0].name} ended with status {status}; mend what it says above, '
    f'then give the same {COMMAND} again (this run alone: {shlex.join(alone)}).'
  )
  if heard:
    raise Stopped(failure, heard)
  print(f'error: {failure}', file=sys.stderr, flush=True)
  return None


def _stopped(next_one: Run, number: int) -> Stopped:
  return Stopped(
    f'Stopped; the same {COMMAND} goes on with {next_one.name}.', number
  )


def _left(runs: Sequence[Run]) -> list[Run]:
  return [run for run in runs if not run.record.exists()]


_COMMAND = [sys.executable, '-m', 'official_ext.repeat']


def _run(command: Sequence[str]) -> tuple[int, int | None]:
  """Runs a command to its end, and passes signals on to it.

  Returns:
    Its exit status, and the first signal that came, if any.
  """
  early: list[int] = []
  passed_on: list[int] = []
  processes: list[subprocess.Popen] = []

  def pass_on(number: int, _: Any) -> None:
    (passed_on if processes else early).append(number)
    for process in processes:
      process.send_signal(number)

  before = {n: signal.signal(n, pass_on) for n in stopping.signals()}
  try:
    # In a session of its own, it gets a Ctrl-C once.
    process = subprocess.Popen(command, start_new_session=True)
    processes.append(process)
    for number in early:
      process.send_signal(number)
    status = process.wait()
    return status, next(iter(early + passed_on), None)
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
