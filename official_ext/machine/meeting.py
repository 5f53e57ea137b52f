"""How the workers meet, before TensorFlow connects them."""

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator

from official_ext import addresses
from official_ext.errors import UserError
from official_ext.machine.workers import Cluster

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PROBE_SECONDS = 2
_CONNECT_SECONDS = 60
_RETRY_SECONDS = 0.2
_MAX_LINE = 65536


@contextlib.contextmanager
def joined(
  cluster: Cluster, seconds: float, settings: str = ''
) -> Iterator[None]:
  """Waits for all workers; TensorFlow connects them inside.

  TensorFlow would wait for an hour, deaf to signals: it holds Python's global
  lock. So the workers meet here first, at the chief's port, before it opens.

  Args:
    cluster: The workers.
    seconds: How long to wait for them; then for TensorFlow, which takes a
      second, a minute at most, until SIGALRM ends the process.
    settings: What has to be the same on all workers.

  Raises:
    UserError: If a worker does not arrive in time, or has other settings.
  """
  if not cluster.several:
    yield
    return
  end = time.monotonic() + seconds
  own_name = cluster.name(cluster.index)
  print(f'{own_name} waits for all {len(cluster.hosts)} workers.', flush=True)
  meet = _expect_workers if cluster.is_chief else _report_to_chief
  missing, differing = meet(cluster, end, settings)
  if differing:
    raise UserError(
      f'{", ".join(map(cluster.name, differing))} and the chief have other '
      'settings; start all with the same command but for runtime.task_index.'
    )
  if missing:
    who = ', '.join(map(cluster.name, missing))
    raise UserError(
      f'{who} did not arrive within {seconds:g} s '
      '(runtime.arrival_timeout_seconds); start every worker with the same '
      'hosts and an index of its own, and open their ports to one another.'
    )
  signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
  limit = min(seconds, _CONNECT_SECONDS)
  print(
    f'All workers are there. {own_name} ends if TensorFlow has not connected '
    f'them in {limit:g} s.',
    flush=True,
  )
  signal.setitimer(signal.ITIMER_REAL, limit)
  try:
    yield
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    # TensorFlow has taken SIGTERM for a handler of its own, which ignores it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _expect_workers(
  cluster: Cluster, end: float, settings: str
) -> tuple[list[int], list[int]]:
  """Waits for the others, and tells them who is missing, and who differs."""
  expected = set(range(1, len(cluster.hosts)))
  there: dict[int, socket.socket] = {}
  others: dict[int, str] = {}
  with contextlib.ExitStack() as stack:
    server = stack.enter_context(_own_server(cluster))
    while there.keys() < expected and time.monotonic() < end:
      server.settimeout(_RETRY_SECONDS)
      with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        connection = stack.enter_context(server.accept()[0])
        report = json.loads(_read_line(connection, _PROBE_SECONDS))
        hosts, index, other = report
        if hosts == list(cluster.hosts) and index in expected:
          there[index], others[index] = connection, other
      there = {i: c for i, c in there.items() if not _is_closed(c)}
    missing = sorted(expected - there.keys())
    differing = sorted(i for i in there if others[i] != settings)
    answer = json.dumps([missing, differing]).encode() + b'\n'
    for connection in there.values():
      with contextlib.suppress(OSError):
        connection.sendall(answer)
  return missing, differing


def _own_server(cluster: Cluster) -> socket.socket:
  _, port = addresses.split(cluster.hosts[cluster.index])
  try:
    return socket.create_server(('', port))
  except OSError as error:
    raise UserError(
      f'{cluster.name(cluster.index)} cannot listen at its port '
      f'({error.strerror}); see whether another process has it.'
    ) from error


def _report_to_chief(
  cluster: Cluster, end: float, settings: str
) -> tuple[list[int], list[int]]:
  """Reports to the chief until it answers who is missing, and who differs."""
  _own_server(cluster).close()  # TensorFlow, later, would keep all waiting.
  report = json.dumps([cluster.hosts, cluster.index, settings]).encode() + b'\n'
  while (left := end - time.monotonic()) > 0:
    # Not yet there, or at work with others: then TensorFlow has its port.
    with contextlib.suppress(OSError, ValueError):
      address = addresses.split(cluster.hosts[0])
      with socket.create_connection(address, _PROBE_SECONDS) as connection:
        connection.sendall(report)
        # The chief may have begun to wait later, and then ends later.
        line = _read_line(connection, left + _PROBE_SECONDS)
        missing, differing = json.loads(line)
        return missing, differing
    time.sleep(_RETRY_SECONDS)
  return [0], []


def _read_line(connection: socket.socket, seconds: float) -> bytes:
  connection.settimeout(seconds)
  with connection.makefile('rb') as file:
    return file.readline(_MAX_LINE)


def _is_closed(connection: socket.socket) -> bool:
  connection.setblocking(False)
  try:
    return not connection.recv(1, socket.MSG_PEEK)
  except BlockingIOError:
    return False
  except OSError:
    return True
