"""Who the workers of a run are, and which of them this process is."""

import dataclasses
import json
import os
import re
from typing import Any

from official.common import distribute_utils
from official.core import config_definitions as cfg

from official_ext.errors import UserError


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
