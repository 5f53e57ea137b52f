"""The devices of this process, and the workers that it works with."""

import contextlib
import dataclasses
import io
import tempfile
from collections.abc import Iterator

import tensorflow as tf

from official_ext.checkpoints import sharing
from official_ext.checkpoints.folder import Checkpoints
from official_ext.errors import UserError
from official_ext.machine import devices, exchange, workers
from official_ext.machine.stopping import StopRequest
from official_ext.machine.workers import Cluster
from official_ext.training import waiting
from official_ext.training.request import Request
from official_ext.training.shared import Shared


@dataclasses.dataclass(frozen=True)
class Team:
  """Who meets a request, and on what.

  Attributes:
    request: What is asked for; its folder is this process' own.
    strategy: Over the devices of all workers.
    cluster: The workers.
    shared: What this process has from runs before.
  """

  request: Request
  strategy: tf.distribute.Strategy
  cluster: Cluster
  shared: Shared

  @property
  def saves_beside(self) -> bool:
    """Whether a thread writes checkpoints while training goes on.

    Statistics that replicas keep apart would meet in it, out of step.
    """
    return self.strategy.num_replicas_in_sync == 1

  def stop_request(self) -> StopRequest:
    """Returns one on which all workers agree."""
    return StopRequest(exchange.asker(self.strategy, self.cluster))

  def checkpoints(self) -> Checkpoints:
    """Returns what all go on from: what is in the chief's folder.

    The others get it in theirs; no disk need be shared.

    Raises:
      UserError: If there are checkpoints, and none is good.
      RunError: If none comes that was waited for.
    """
    if self.request.waits:
      trainer = self.request.params.trainer
      waiting.for_first(self.request.model_dir, trainer.continuous_eval_timeout)
    there = Checkpoints(self.request.model_dir)
    if not self.cluster.several:
      return there
    own = sharing.files(there) if self.cluster.is_chief else {}
    files = exchange.share(self.strategy, self.cluster, own)
    if self.cluster.is_chief:
      return there
    sharing.write(files, self.request.model_dir)
    return Checkpoints(self.request.model_dir)


def gathered(request: Request, shared: Shared) -> Team:
  """Sets up the devices where that is yet to be done; waits for all workers.

  Raises:
    UserError: If devices or workers cannot be had, or have other settings.
  """
  runtime = request.params.runtime
  cluster = workers.configure(runtime)
  if request.waits and cluster.several:
    raise UserError(
      f'--mode={request.mode} runs in one process; leave the others out.'
    )
  settings = request.digest() if cluster.several else ''
  shared.check_runtime(runtime)
  if shared.strategy is None:
    shared.strategy = devices.set_up(runtime, settings)
  devices.set_seed(runtime.seed)
  return Team(request, shared.strategy, cluster, shared)


@contextlib.contextmanager
def at_work(team: Team) -> Iterator[Team]:
  """Yields the team as it works here, until all is done.

  Since all workers take part where a checkpoint is written, those besides the
  chief work in temporary folders, and in silence.

  Raises:
    RunError: If another worker is lost.
  """
  with exchange.watched(team.cluster):
    if team.cluster.is_chief:
      yield team
      return
    with (
      tempfile.TemporaryDirectory(prefix='official_ext-') as own_dir,
      contextlib.redirect_stdout(io.StringIO()),
    ):
      request = dataclasses.replace(team.request, model_dir=own_dir)
      yield dataclasses.replace(team, request=request)
