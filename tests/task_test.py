"""The task: where images are preprocessed and how a step is compiled."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from experiment_test import Flags
from official.core import task_factory

from official_ext.core import experiment, gin_config


def trained(shapes_dir, on_device, jit_compile):
  """Trains three steps; returns losses, weights and evaluation metrics."""
  gin_config.parse(
    [],
    [
      "resnet9_cifar10.dataset = 'procedural_shapes'",
      f"resnet9_cifar10.data_dir = '{shapes_dir}'",
      "resnet9_cifar10.train_split = 'train[:100]'",
      "resnet9_cifar10.test_split = 'test[:50]'",
      'resnet9_cifar10.batch_size = 30',
      'resnet9_cifar10.eval_batch_size = 20',
      'resnet9_cifar10.channels = [4, 8, 8, 8]',
      "resnet9_cifar10.precision = 'float32'",
      f'resnet9_cifar10.preprocess_on_device = {on_device}',
    ],
  )
  params = experiment.parse(Flags())
  tf_keras.utils.set_random_seed(0)
  task = task_factory.get_task(params.task)
  model = task.build_model()
  optimizer = task.create_optimizer(
    params.trainer.optimizer_config, params.runtime
  )
  # As Garden's trainer compiles it.
  step = tf.function(
    functools.partial(task.train_step, model=model, optimizer=optimizer),
    jit_compile=jit_compile,
  )
  dataset = task.build_inputs(params.task.train_data)
  losses = [step(batch)['loss'].numpy() for batch in dataset.take(3)]
  metrics = task.build_metrics(training=False)
  for batch in task.build_inputs(params.task.validation_data):
    task.validation_step(batch, model, metrics)
  results = {metric.name: float(metric.result()) for metric in metrics}
  return losses, model.get_weights(), results


def test_preprocessing_on_the_device_changes_nothing(shapes_dir):
  losses, weights, results = trained(shapes_dir, False, False)
  other = trained(shapes_dir, True, False)
  np.testing.assert_allclose(other[0], losses, rtol=1e-6)
  for ours, theirs in zip(weights, other[1], strict=True):
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-6)
  assert other[2] == pytest.approx(results, rel=1e-5)
  assert len(set(losses)) == 3


@pytest.mark.parametrize('on_device', [False, True])
def test_a_compiled_step_gives_the_same_losses(shapes_dir, on_device):
  losses, _, _ = trained(shapes_dir, False, False)
  compiled, _, _ = trained(shapes_dir, on_device, True)
  # XLA sums in another order; each step of such a small batch magnifies it.
  for step, tolerance in enumerate([1e-6, 1e-4, 1e-3]):
    assert compiled[step] == pytest.approx(losses[step], rel=tolerance)
