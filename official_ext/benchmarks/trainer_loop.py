"""The whole of training and evaluation, as `official_ext.train` runs them."""

import contextlib
import functools
import io
import time
from collections.abc import Callable, Iterator

import orbit
import tensorflow as tf
from official.core import train_lib, train_utils

from official_ext.benchmarks import timing
from official_ext.checkpoints import best
from official_ext.configuration.experiment import Experiment
from official_ext.machine.stopping import StopRequest
from official_ext.progress.bar import Progress
from official_ext.training.controller import Controller
from official_ext.training.trainer import Trainer


class TimedTrainer(Trainer):
  """Keeps the time that its training loops spend on steps.

  Attributes:
    step_seconds: So far, without what Orbit and Garden do before and after.
  """

  step_seconds = 0.0

  def train_loop_begin(self) -> None:
    """Starts the clock."""
    super().train_loop_begin()
    self._began = time.perf_counter()

  def train_loop_end(self) -> orbit.runner.Output:
    """Stops the clock when the last step is done."""
    tf.test.experimental.sync_devices()
    self.step_seconds += time.perf_counter() - self._began
    return super().train_loop_end()


class TrainerLoop:
  """Pipeline, strategy, metrics, progress bar, summaries and checkpoints."""

  def __init__(
    self,
    experiment: Experiment,
    strategy: tf.distribute.Strategy,
    model_dir: str,
  ):
    """Builds the trainer and Garden's runner.

    Args:
      experiment: What to train; its precision is the policy already.
      strategy: Where to train.
      model_dir: An empty folder.
    """
    params = experiment.params
    self._params, self._strategy = params, strategy
    with self._quiet():
      self._trainer = train_utils.create_trainer(
        params,
        experiment.build_task(),
        train=True,
        evaluate=True,
        checkpoint_exporter=best.exporter(params.trainer, model_dir),
        trainer_cls=functools.partial(
          TimedTrainer, observer=Progress(params), stop=StopRequest()
        ),
      )
      runner = train_lib.OrbitExperimentRunner(
        distribution_strategy=strategy,
        task=self._trainer.task,
        mode='train_and_eval',
        params=params,
        model_dir=model_dir,
        trainer=self._trainer,
        controller_cls=Controller,
        enable_async_checkpointing=True,
      )
    self._controller = runner.controller

  def measure_training(self, seconds: float) -> Callable[[], float]:
    """Returns a function that measures images per second of a whole epoch.

    It trains for about `seconds`. What is done once a loop, such as writing a
    checkpoint, counts by its share of an epoch's steps.
    """
    config = self._params
    steps_per_epoch = config.trainer.steps_per_loop
    count = timing.count_for(lambda: self._train(1), seconds)
    count = min(count, steps_per_epoch)  # One loop.

    def measure() -> float:
      self._trainer.step_seconds = 0.0
      start = time.perf_counter()
      self._train(count)
      total = time.perf_counter() - start
      in_steps = self._trainer.step_seconds
      each = in_steps / count + (total - in_steps) / steps_per_epoch
      return config.task.train_data.global_batch_size / each

    return measure

  def evaluate(self) -> None:
    """Evaluates on all of the test data."""
    with self._quiet():
      self._controller.evaluate(-1)

  def _train(self, steps: int) -> None:
    with self._quiet():
      self._controller.train(int(self._trainer.global_step.numpy()) + steps)

  @contextlib.contextmanager
  def _quiet(self) -> Iterator[None]:
    """Enters the strategy, and keeps back what Orbit and the bars print."""
    with (
      contextlib.redirect_stdout(io.StringIO()),
      contextlib.redirect_stderr(io.StringIO()),
      self._strategy.scope(),
    ):
      yield
