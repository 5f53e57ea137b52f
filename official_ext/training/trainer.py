"""Garden's trainer, able to stop after any step and to go on from it."""

import contextlib
import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orbit
import tensorflow as tf
import tf_keras
from official.core import base_trainer
from official.core import config_definitions as cfg

from official_ext.dataloaders.preprocessing import on_device
from official_ext.errors import RunError
from official_ext.machine.stopping import StopRequest
from official_ext.modeling.optimization.shadow_weights import ShadowWeights
from official_ext.ops import placement
from official_ext.progress.bar import HeldProgress, Progress
from official_ext.training import optimizers, state, warm_up

# Steps between looks at the bar and at signals, on a GPU.
_CHUNK = 10


class Trainer(base_trainer.Trainer):
  """Garden's `Trainer`, which can stop after any step and go on from there.

  The order of the training images depends on the step alone. So an input that
  was built for step 0 is built anew where training begins elsewhere, after a
  restored checkpoint. The metrics of training run over an epoch, however many
  loops it takes, and are part of the checkpoint.

  Attributes:
    stop: Whether to end a training loop before its last step.
  """

  def __init__(
    self,
    config: cfg.ExperimentConfig,
    *args: Any,
    observer: Progress,
    stop: StopRequest,
    compiles_ahead: bool = False,
    **kwargs: Any,
  ):
    """Takes Garden's arguments, and more.

    Args:
      config: Garden's.
      *args: Garden's.
      observer: Who is told of each step.
      stop: Who may stop.
      compiles_ahead: Whether to compile before the images are read, where they
        are not; `await_images` is to be called then.
      **kwargs: Garden's.
    """
    self._compiles_ahead = compiles_ahead
    # None where what is built first is of blank images.
    self._next_input_step: int | None = 0
    super().__init__(config, *args, **kwargs)
    self.stop = stop
    self._observer = observer
    self._is_compiled = False
    self._stages = self._stages_of(config)
    compiles = config.runtime.enable_xla and config.runtime.num_gpus > 0
    self._compiles_validation = compiles and getattr(
      self.task, 'compiles_validation', False
    )
    if self._compiles_validation:
      # Garden compiles the training step alone.
      self.task.validation_step = tf.function(
        self.task.validation_step, jit_compile=True, autograph=False
      )
    if kwargs.get('train', True):
      optimizers.make_variables(self.optimizer, self.model.trainable_variables)
      # What is added later, TensorFlow's thread that writes does not see.
      self._checkpoint = tf.train.Checkpoint(
        **tf.train.TrackableView.children(self.checkpoint),
        train_metrics={m.name: m for m in self._epoch_metrics()},
        progress=HeldProgress(observer),
      )

  def begin_anew(self, fresh: 'Trainer') -> None:
    """Becomes as a fresh trainer is, but for what is compiled.

    Args:
      fresh: One whose programs are the same.
    """
    for each in (self, fresh):
      each.checkpoint.save_counter.assign(0)
    pairs = zip(
      state.variables(self._roots()),
      state.variables(fresh._roots()),
      strict=True,
    )
    for mine, theirs in pairs:
      mine.assign(theirs)
    self.checkpoint.progress.progress = fresh.checkpoint.progress.progress
    for data in ('train_dataset', 'eval_dataset'):
      if hasattr(fresh, data):
        setattr(self, data, getattr(fresh, data))
    self._next_input_step = fresh._next_input_step
    self._config, self._task = fresh.config, fresh.task
    self._stages = fresh._stages
    self._checkpoint_exporter = fresh.checkpoint_exporter
    self._observer, self.stop = fresh._observer, fresh.stop

  def _stages_of(self, config: cfg.ExperimentConfig) -> list[Any]:
    """Returns what the task says; nothing of a task of Garden's."""
    if not hasattr(self.task, 'stages'):
      return []
    return self.task.stages(config.trainer.train_steps)

  def programs(self) -> list[Any]:
    """Returns the concrete functions that train and evaluate.

    There are none where the config does not want any, or a loop in TensorFlow.
    """
    options = (self._train_options, getattr(self, '_eval_options', None))
    for each in filter(None, options):
      if not each.use_tf_function or each.use_tf_while_loop:
        return []
    self._make_train_loop()
    iterator, one, images = self._step_arguments()
    traced = [
      self._run_steps.get_concrete_function(iterator, one, size, images)
      for size in self._sizes()
    ]
    if hasattr(self, 'eval_dataset'):
      if self._eval_loop_fn is None:
        self._eval_loop_fn: Any = self.create_eval_loop_fn(has_state=False)
      data = iter(self.eval_dataset)
      traced.append(self._run_eval.get_concrete_function(data))
    return traced

  def _roots(self) -> list[Any]:
    """Returns what all variables hang on that a training changes."""
    return [self.checkpoint, *optimizers.all_variables(self.optimizer)]

  def initialize(self) -> None:
    """Initialises the weights where a run begins, and averages of them."""
    super().initialize()
    if isinstance(self.optimizer, ShadowWeights):
      self.optimizer.reset()

  def distribute_dataset(
    self, dataset_or_fn: Any, *args: Any, **kwargs: Any
  ) -> Any:
    """Returns Garden's distributed dataset, or for one device a plain one.

    A distributed iterator sends batches to an accelerator ahead of time. But it
    is tuned by a thread whose sleeps double, and deleting it, as at the end of
    each evaluation and each run, often waits for that thread: up to 5 s after
    5 s, up to 10 s after 10.
    """
    params = args[0]
    # What is built later, at a step, waits for its images.
    may_be_blank = self._compiles_ahead and 'start_step' not in kwargs
    if may_be_blank and self._waits_for(params):
      self._next_input_step = None
      dataset_or_fn = self.task.build_blank_inputs
    resident = hasattr(params, 'preprocess_on_device') and on_device(params)
    sends = params.is_training and _has_accelerator() and not resident
    if self._strategy.num_replicas_in_sync == 1 and not sends:
      return dataset_or_fn(*args, **kwargs)
    return super().distribute_dataset(dataset_or_fn, *args, **kwargs)

  def _waits_for(self, params: cfg.DataConfig) -> bool:
    """Whether images are still read; never so of a task of Garden's."""
    return hasattr(self.task, 'waits_for') and self.task.waits_for(params)

  def await_images(self) -> None:
    """Compiles while the images are read, where they are; then takes them.

    Raises:
      UserError: As the task's `build_inputs`.
    """
    if self._next_input_step is None:
      self._prepare()
      step = int(self.global_step.numpy())
      self._begin_input_at(step)
      self._next_input_step = step

  def train(self, num_steps: tf.Tensor) -> orbit.runner.Output:
    """Trains for `num_steps` steps from the global step on."""
    step = self.global_step.numpy()
    if step != self._next_input_step:
      self._begin_input_at(step)
    if self._train_iter is None:
      self._prepare()
    self._observer.loop_begins('train', step)
    try:
      return super().train(num_steps)
    finally:
      self._observer.loop_ends()
      self._next_input_step = self.global_step.numpy()

  def _prepare(self) -> None:
    """Does before the clock starts what is done once, as the original does."""
    self._observer.loop_begins('compile', self.global_step.numpy())
    try:
      if self._is_compiled:
        next(iter(self.train_dataset))  # TensorFlow compiles a pipeline, too.
      else:
        self._compile()
      self._train_iter: Any = tf.nest.map_structure(iter, self.train_dataset)
    finally:
      self._observer.loop_ends()

  def _compile(self) -> None:
    """Trains for a step, as no part of the run: what it changes is undone."""
    self._is_compiled = True
    self._make_train_loop()
    iterator, one, images = self._step_arguments()
    for size in self._sizes():
      step = functools.partial(self._run_steps, iterator, one, size, images)
      warm_up.without_trace(self._roots(), step)
    if self._compiles_validation:
      self._compile_validation()

  def _step_arguments(self) -> tuple[Any, tf.Tensor, Any]:
    """Returns a new iterator, one step, and images that live on devices."""
    return iter(self.train_dataset), tf.constant(1), self._resident_images()

  def _resident_images(self) -> Any:
    """Returns what a step gathers from; nothing of a task of Garden's."""
    return getattr(self.task, 'train_images', ())

  def _compile_validation(self) -> None:
    """Evaluates the first batch and the last, which may be of another size.

    The metrics begin anew with each evaluation.
    """
    data = getattr(self, 'eval_dataset', None)
    if not isinstance(data, tf.data.Dataset) or not self.programs():
      return
    last = data.skip(max(int(data.cardinality()) - 1, 0))
    for part in (data.take(1), last.take(1)):
      self._run_eval(iter(part))

  def _make_train_loop(self) -> None:
    self._train_loop_fn: Any = (
      self._train_loop_fn or self.create_train_loop_fn()
    )

  def _begin_input_at(self, step: int) -> None:
    """Begins the input at a step, or with an order of the step's own.

    Garden's own inputs have no steps. With the same seed, one that is often
    stopped would never come to its later images.
    """
    kwargs = {}
    if 'start_step' in inspect.signature(self.task.build_inputs).parameters:
      kwargs['start_step'] = step
    else:
      tf.random.set_seed(self.config.runtime.seed + step)
    self.train_dataset = self.distribute_dataset(
      self.task.build_inputs, self.config.task.train_data, **kwargs
    )

  def _bring_replicas_together(self) -> None:
    """Gives all replicas the mean of the statistics that each keeps.

    A checkpoint holds that. So a run evaluates what it saves, and goes on from
    what another that was killed goes on from.
    """
    if self.strategy.num_replicas_in_sync > 1:
      for weight in (*self.model.weights, *self.optimizer.variables()):
        if weight.synchronization == tf.VariableSynchronization.ON_READ:
          weight.assign(weight.read_value())

  def train_loop_end(self) -> orbit.runner.Output:
    """Returns Garden's logs since the epoch's start.

    The learning rate is that of the last step.

    Raises:
      RunError: If a weight is not finite.
    """
    self._check_weights()
    self._bring_replicas_together()
    metrics = self._epoch_metrics()
    values = [metric.get_weights() for metric in metrics]
    logs = super().train_loop_end()
    if self.global_step.numpy() % self.config.trainer.validation_interval:
      for metric, value in zip(metrics, values, strict=True):
        metric.set_weights(value)
    rate = self.optimizer.learning_rate
    if callable(rate):
      # Garden reads the schedule where the next step will.
      logs['learning_rate'] = rate(self.optimizer.iterations - 1)
    return logs

  def _epoch_metrics(self) -> list[tf_keras.metrics.Metric]:
    return self.train_metrics + [self.train_loss]

  def _check_weights(self) -> None:
    """Raises before weights that are of no use can be saved."""
    weights = self.model.weights
    if all(finite := _are_finite(weights).numpy()):
      return
    raise RunError(
      f'{weights[list(finite).index(False)].name} is no longer finite at step '
      f'{self.global_step.numpy()} (the mean loss of the epoch is '
      f'{self.train_loss.result():.4g}), so nothing is saved; go on from the '
      'last checkpoint, or begin anew, with a lower learning rate.'
    )

  def evaluate(self, num_steps: tf.Tensor) -> orbit.runner.Output:
    """Evaluates for `num_steps` steps; -1 is all of the data."""
    self._observer.loop_begins('test', 0)
    try:
      return super().evaluate(num_steps)
    finally:
      self._observer.loop_ends()

  def eval_reduce(
    self, state: Any = None, step_outputs: Mapping[str, Any] | None = None
  ) -> Any:
    """Returns what the task makes of a step's outputs and those before."""
    return super().eval_reduce(state, _with_flat_counts(step_outputs or {}))

  def create_train_loop_fn(self) -> Callable[..., Any]:
    """Returns Garden's loop, or one that tells the observer of its steps.

    Orbit's own Python loop enqueues all steps at once and then waits: nothing
    could be told, nor a signal be heeded, before the last one is done.
    """
    options = self._train_options
    if options.use_tf_while_loop:
      return super().create_train_loop_fn()
    run: Any = self._steps
    if options.use_tf_function:
      run = tf.function(run)
    # A GPU is done before a few steps have been asked for one by one.
    chunk = _CHUNK if placement.on_gpu() else 1

    def loop_fn(iterator: Any, num_steps: tf.Tensor) -> None:
      left, step = int(num_steps), int(self.global_step.numpy())
      while left and not self.stop.agree():
        size, until = self._stage_at(step)
        count = min(left, chunk, until - step)
        run(iterator, tf.constant(count), size, self._resident_images())
        self._observer.steps_end(count)
        left, step = left - count, step + count

    self._run_steps = run
    return loop_fn

  def _sizes(self) -> list[tuple[int, int] | None]:
    """Returns the sizes of images that are trained on, each a program."""
    return list(dict.fromkeys(stage.size for stage in self._stages)) or [None]

  def _stage_at(self, step: int) -> tuple[tuple[int, int] | None, int]:
    """Returns the size of the images of a step, and where another begins."""
    for stage in self._stages:
      if step < stage.end:
        return stage.size, stage.end
    return None, sys.maxsize

  def _steps(
    self,
    iterator: Any,
    count: tf.Tensor,
    size: tuple[int, int] | None,
    images: Any,
  ) -> None:
    """Trains for some steps, without a word from the host where compiled."""
    tracing = contextlib.nullcontext()
    if hasattr(self.task, 'tracing'):
      tracing = self.task.tracing(size, images)
    with tracing:
      for _ in tf.range(count):
        with tf.name_scope(''):  # As in Orbit, without the name of the loop.
          self.train_step(iterator)

  def create_eval_loop_fn(self, has_state: bool) -> Callable[..., Any]:
    """Returns Garden's loop, or one that tells the observer of each step."""
    options = self._eval_options
    if options.use_tf_while_loop:
      return super().create_eval_loop_fn(has_state)
    step_fn: Any = self.eval_step
    if options.use_tf_function:
      step_fn = tf.function(step_fn)
    self._run_eval = step_fn

    def loop_fn(
      iterator: Any,
      num_steps: tf.Tensor,
      state: Any = None,
      reduce_fn: Callable[[Any, Any], Any] | None = None,
    ) -> Any:
      steps = int(num_steps)
      with contextlib.suppress(
        tf.errors.OutOfRangeError,
        StopIteration,  # Graph, or eager.
      ):
        for _ in itertools.count() if steps == -1 else range(steps):
          outputs = step_fn(iterator)
          if reduce_fn:
            state = reduce_fn(state, outputs)
          self._observer.steps_end(1)
      return state

    return loop_fn


@tf.function(autograph=False, reduce_retracing=True)
def _are_finite(weights: Sequence[tf.Variable]) -> tf.Tensor:
  """Returns bool `[len(weights)]`, to be fetched at once."""
  return tf.stack([tf.reduce_all(tf.math.is_finite(w)) for w in weights])


def _with_flat_counts(step_outputs: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the outputs, objects counted in `[batch]`.

  Garden's RetinaNet counts them in `[batch, 1]`, and its COCO metric takes an
  int of a row of that, which NumPy 2.4 refuses.
  """
  outputs = dict(step_outputs)
  if 'coco_metric' in outputs:
    truths, predictions = outputs['coco_metric']
    counts = tf.nest.map_structure(
      lambda count: tf.reshape(count, [-1]), truths['num_detections']
    )
    outputs['coco_metric'] = truths | {'num_detections': counts}, predictions
  return outputs


def _has_accelerator() -> bool:
  devices = tf.config.list_logical_devices()
  return any(device.device_type != 'CPU' for device in devices)
