"""What the workers tell each other, and how the loss of one is told."""

import contextlib
import io
import json
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from official_ext import addresses
from official_ext.errors import RunError
from official_ext.machine.workers import Cluster

_RETRY_SECONDS = 0.2
_PROBES = 10

# What the collective operations raise where a worker is gone. A heartbeat that
# stays away for 10 s (`heartbeat_timeout_in_ms` of TensorFlow's coordination
# service), or a connection that breaks, aborts all that wait for it.
LOST = (
  tf.errors.UnavailableError,
  tf.errors.AbortedError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
)


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


def _unreachable(cluster: Cluster) -> list[str]:
  return [
    cluster.name(index)
    for index, host in enumerate(cluster.hosts)
    if index != cluster.index and not addresses.answers(host)
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
