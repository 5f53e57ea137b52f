"""Several workers: who they are, that all are there, what they tell another."""

import contextlib
import dataclasses
import io
import json
import os
import re
import signal
import socket
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from official.common import distribute_utils
from official.core import config_definitions as cfg

from official_ext.errors import RunError, UserError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PROBE_SECONDS = 2
_CONNECT_SECONDS = 60
_RETRY_SECONDS = 0.2
_PROBES = 10
_MAX_LINE = 65536

# What the collective operations raise where a worker is gone. A heartbeat that
# stays away for 10 s (`heartbeat_timeout_in_ms` of TensorFlow's coordination
# service), or a connection that breaks, aborts all that wait for it.
LOST = (
  tf.errors.UnavailableError,
  tf.errors.AbortedError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
)


@dataclasses.dataclass(frozen=True)
class Cluster:
  """The workers of a run, and which of them this process is.

  Attributes:
    hosts: 'host:port' of each, the chief's first; empty where there is but one
      process.
    index: Place of this process among them.
  """

  hosts: tuple[str, ...] = ()
  index: int = 0

  @property
  def several(self) -> bool:
    """Whether there is more than one worker."""
    return len(self.hosts) > 1

  @property
  def is_chief(self) -> bool:
    """Whether this process writes the run's folder and prints the table."""
    return self.index == 0

  def name(self, index: int) -> str:
    """Returns what to call a worker in a message."""
    chief = ', the chief' if index == 0 else ''
    return f'worker {index} ({self.hosts[index]}{chief})'


def configure(runtime: cfg.RuntimeConfig) -> Cluster:
  """Finds the workers, and leaves them in TF_CONFIG for TensorFlow.

  Args:
    runtime: Its `worker_hosts` and `task_index` hold where the environment has
      no TF_CONFIG.

  Raises:
    UserError: If they do not describe a cluster with this process in it.
  """
  if not os.environ.get('TF_CONFIG'):
    if not runtime.worker_hosts:
      return Cluster()
    hosts = runtime.worker_hosts.split(',')
    _check_hosts(hosts, f"runtime.worker_hosts='{runtime.worker_hosts}'")
    index = max(runtime.task_index, 0 if len(hosts) == 1 else -1)
    _check_index(index, hosts, f'runtime.task_index={runtime.task_index}')
    distribute_utils.configure_cluster(runtime.worker_hosts, index)
  cluster = _from_environment(os.environ['TF_CONFIG'])
  if runtime.worker_hosts and runtime.worker_hosts != ','.join(cluster.hosts):
    raise UserError(
      f"runtime.worker_hosts='{runtime.worker_hosts}' is not what TF_CONFIG "
      f'says, {",".join(cluster.hosts)}; leave one of them out.'
    )
  return cluster


def _from_environment(text: str) -> Cluster:
  place = f"TF_CONFIG='{text[:200]}'"
  try:
    config = json.loads(text)
  except ValueError as error:
    raise UserError(
      f'{place} is no JSON ({error}); write {{"cluster": {{"worker": '
      '["host0:port", "host1:port"]}, "task": {"type": "worker", "index": 0}}.'
    ) from error
  try:
    workers = dict(config['cluster'])
    kind, index = config['task']['type'], int(config['task']['index'])
    chiefs = workers.pop('chief', [])
    hosts = [*chiefs, *workers.pop('worker', [])]
  except (KeyError, TypeError, ValueError) as error:
    raise UserError(
      f'{place} lacks cluster.worker, task.type or task.index.'
    ) from error
  if workers or kind not in ('chief', 'worker') or len(chiefs) > 1:
    raise UserError(
      f'{place} has other tasks than one chief and workers; only these train '
      'together here.'
    )
  _check_hosts(hosts, place)
  of_kind = chiefs if kind == 'chief' else hosts[len(chiefs) :]
  position = hosts.index(of_kind[index]) if index in range(len(of_kind)) else -1
  _check_index(position, hosts, place)
  return Cluster(tuple(hosts), position)


def _check_hosts(hosts: list[Any], place: str) -> None:
  for host in hosts:
    match = re.fullmatch(r'[^\s,:/]+:(\d+)', str(host))
    if not match or not 0 < int(match[1]) < 65536:
      raise UserError(
        f'{place}: {str(host)!r} is not host:port; write them as '
        "'10.0.0.1:2222,10.0.0.2:2222'."
      )
  if len(set(hosts)) != len(hosts) or not hosts:
    raise UserError(f'{place} must name each worker once.')


def _check_index(index: int, hosts: list[str], place: str) -> None:
  if not 0 <= index < len(hosts):
    raise UserError(
      f'{place} is none of the {len(hosts)} workers; count them from 0 to '
      f'{len(hosts) - 1}.'
    )


def reachable(address: str) -> bool:
  """Whether something listens at 'host:port'."""
  try:
    socket.create_connection(_address(address), _PROBE_SECONDS).close()
  except (OSError, ValueError, OverflowError):
    return False
  return True


def _address(text: str) -> tuple[str, int]:
  host, _, port = text.rpartition(':')
  return host, int(port)


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
  try:
    return socket.create_server(('', _address(cluster.hosts[cluster.index])[1]))
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
      address = _address(cluster.hosts[0])
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


def _unreachable(cluster: Cluster) -> list[str]:
  return [
    cluster.name(index)
    for index, host in enumerate(cluster.hosts)
    if index != cluster.index and not reachable(host)
  ]


def _gone(cluster: Cluster, silent: set[str]) -> set[str]:
  """Returns who is lost: those that are named, and those that do not answer.

  One that is dying may have closed its connections, and its port not yet.
  """
  for _ in range(_PROBES):
    gone = silent | set(_unreachable(cluster))
    if gone:
      return gone
    time.sleep(_RETRY_SECONDS)
  return set()


@contextlib.contextmanager
def watched(cluster: Cluster) -> Iterator[None]:
  """Turns the loss of a worker into one line.

  Raises:
    RunError: If a worker is lost.
  """
  try:
    yield
  except LOST as error:
    if not cluster.several:
      raise
    # TensorFlow names the silent one; one that died refuses connections.
    named = re.findall(r'^/job:(\w+)/replica:0/task:(\d+)', str(error), re.M)
    config = json.loads(os.environ.get('TF_CONFIG') or '{}')
    chiefs = 'chief' in config.get('cluster', {})
    silent = {
      cluster.name(int(task) + (chiefs and job == 'worker'))
      for job, task in named
    }
    who = ', '.join(sorted(_gone(cluster, silent)))
    raise RunError(
      f'{who or "a worker"} is lost, so this one ends too; see what that one '
      'printed, then start all of them again: the run goes on from its last '
      'checkpoint.'
    ) from error


def asker(
  strategy: tf.distribute.Strategy, cluster: Cluster
) -> Callable[[int], list[int]]:
  """Returns a function that tells all workers a number, and returns theirs.

  Every worker must call it at the same point. It costs one reduction of as many
  numbers as there are workers.
  """
  count, index = len(cluster.hosts), cluster.index
  total = tf.function(lambda own: _total(strategy, cluster, own))

  def ask(number: int) -> list[int]:
    own = np.zeros(count, np.int32)
    own[index] = number
    return total(tf.constant(own)).numpy().tolist()

  return ask if cluster.several else lambda number: [number]


def share(
  strategy: tf.distribute.Strategy,
  cluster: Cluster,
  files: Mapping[str, bytes],
) -> dict[str, bytes]:
  """Returns the chief's files on every worker; those of others are ignored.

  Args:
    strategy: That of the workers.
    cluster: The workers.
    files: Contents by name.
  """
  packed = io.BytesIO()
  with zipfile.ZipFile(packed, 'w') as archive:
    for name, content in files.items() if cluster.is_chief else ():
      archive.writestr(name, content)
  data = packed.getvalue()
  size = len(data) * cluster.is_chief
  size = int(_total(strategy, cluster, tf.constant([size]))[0])
  # Collective operations add integers of 32 bits, but no bytes.
  words = np.zeros(-(-size // 4), np.int32)
  if cluster.is_chief:
    words.view(np.uint8)[:size] = np.frombuffer(data, np.uint8)
  words = _total(strategy, cluster, tf.constant(words)).numpy()
  with zipfile.ZipFile(io.BytesIO(words.tobytes()[:size])) as archive:
    return {name: archive.read(name) for name in archive.namelist()}


def _total(
  strategy: tf.distribute.Strategy, cluster: Cluster, value: tf.Tensor
) -> tf.Tensor:
  """Returns the sum of an int32 vector over the workers."""
  local = strategy.num_replicas_in_sync // len(cluster.hosts)

  def of_replica(context: tf.distribute.experimental.ValueContext) -> Any:
    first = context.replica_id_in_sync_group % local == 0
    return value if first else tf.zeros_like(value)

  values = strategy.experimental_distribute_values_from_function(of_replica)
  return strategy.reduce('SUM', values, axis=None)
