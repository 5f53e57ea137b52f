"""The task: where images are preprocessed and how a step is compiled."""

import functools

import pytest
import tensorflow as tf
import tf_keras
from helpers import tiny
from official.core import task_factory


def set_up(shapes_dir, on_device):
  """Returns the task, its config, and a model that is always the same."""
  flag = f'data.preprocess_on_device = {on_device}'
  params = tiny.config(shapes_dir, [flag])
  tf_keras.utils.set_random_seed(0)
  task = task_factory.get_task(params.task)
  return task, params, task.build_model()


@functools.cache
def losses_of_three_steps(shapes_dir, on_device, jit_compile):
  task, params, model = set_up(shapes_dir, on_device)
  optimizer = task.create_optimizer(
    params.trainer.optimizer_config, params.runtime
  )
  # As Garden's trainer compiles it.
  step = tf.function(
    functools.partial(task.train_step, model=model, optimizer=optimizer),
    jit_compile=jit_compile,
  )
  dataset = task.build_inputs(params.task.train_data)
  return [step(batch)['loss'].numpy() for batch in dataset.take(3)]


@pytest.mark.parametrize(
  ('on_device', 'jit_compile'), [(True, False), (False, True), (True, True)]
)
def test_where_and_how_a_step_is_computed_changes_nothing(
  shapes_dir, on_device, jit_compile
):
  expected = losses_of_three_steps(shapes_dir, False, False)
  losses = losses_of_three_steps(shapes_dir, on_device, jit_compile)
  # The order of sums differs; each step of such a small batch magnifies it.
  for step, tolerance in enumerate([1e-6, 1e-4, 1e-3]):
    assert losses[step] == pytest.approx(expected[step], rel=tolerance)


def evaluate(shapes_dir, on_device):
  task, params, model = set_up(shapes_dir, on_device)
  metrics = task.build_metrics(training=False)
  for batch in task.build_inputs(params.task.validation_data):
    task.validation_step(batch, model, metrics)
  return {metric.name: float(metric.result()) for metric in metrics}


def test_evaluation_on_the_device_changes_nothing(shapes_dir):
  results = evaluate(shapes_dir, False)
  assert results.keys() == {
    'accuracy',
    'balanced_accuracy',
    'top_5_accuracy',
    'validation_loss',
  }
  assert evaluate(shapes_dir, True) == pytest.approx(results, rel=1e-6)
