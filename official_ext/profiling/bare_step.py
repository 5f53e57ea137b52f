"""The training step alone: no pipeline, no metrics, no loop around it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras
from official.core import train_utils

from official_ext.configuration.experiment import Experiment
from official_ext.modeling.optimization.shadow_weights import ShadowWeights


@dataclasses.dataclass(frozen=True)
class BareStep:
  """A step on a batch that stays where it is.

  Attributes:
    model: What is trained.
    run: Trains once and returns the loss.
  """

  model: tf_keras.Model
  run: Callable[[], tf.Tensor]


def build(experiment: Experiment, num_replicas: int) -> BareStep:
  """Builds the task's step of one replica, compiled as Garden's trainer does.

  Args:
    experiment: What to train; its precision is the policy already.
    num_replicas: Among how many a batch is divided.
  """
  params, task = experiment.params, experiment.build_task()
  model = task.build_model()
  optimizer = train_utils.create_optimizer(task, params)
  if isinstance(optimizer, ShadowWeights):
    optimizer.shadow_copy(model)
  context = tf.distribute.InputContext(num_replicas_in_sync=num_replicas)
  batch = next(iter(task.build_inputs(params.task.train_data, context)))
  # On the device, where there is one.
  batch = tf.nest.map_structure(tf.identity, batch)
  use_xla = params.runtime.enable_xla and params.runtime.num_gpus > 0
  step = tf.function(
    functools.partial(task.train_step, model=model, optimizer=optimizer),
    jit_compile=use_xla or None,
  )

  def run() -> Any:
    return step(batch)[task.loss]

  return BareStep(model, run)
