"""The task: where images are preprocessed and how a step is compiled."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers import tiny
from official.core import task_factory

from official_ext.progress import epoch_table


def set_up(shapes_dir, on_device):
  """Returns the task, its config, and a model that is always the same."""
  flag = f'data.preprocess_on_device = {on_device}'
  asked = tiny.experiment_of(shapes_dir, [flag])
  tf_keras.utils.set_random_seed(0)
  task = asked.build_task()
  return task, asked.params, task.build_model()


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


def softmax_loss(labels, logits):
  odds = np.exp(logits)
  shares = odds / odds.sum(axis=1, keepdims=True)
  return -np.log((shares * labels).sum(axis=1))


def sigmoid_loss(labels, logits):
  shares = 1 / (1 + np.exp(-logits))
  chosen = np.where(labels, shares, 1 - shares)
  return -np.log(chosen).mean(axis=1)


@pytest.mark.parametrize(
  ('bindings', 'expected'),
  [
    ([], softmax_loss),
    (['losses.one_hot = True'], softmax_loss),
    (['losses.label_smoothing = 0.2'], softmax_loss),
    (['losses.l2_weight_decay = 0.1'], softmax_loss),
    (
      ['losses.one_hot = True', 'losses.use_binary_cross_entropy = True'],
      sigmoid_loss,
    ),
    (['losses.loss_weight = 3.0'], lambda *args: 3 * softmax_loss(*args)),
  ],
)
def test_the_validation_loss_is_the_trainings(shapes_dir, bindings, expected):
  """Of labels as they are, over all images; the last batch is smaller."""
  params = tiny.config(shapes_dir, bindings)
  task = task_factory.get_task(params.task)
  model = task.build_model()
  metrics = task.build_metrics(training=False)
  batches = list(task.build_inputs(params.task.validation_data))
  assert [len(labels) for _, labels in batches] == [20, 20, 10]
  for batch in batches:
    task.validation_step(batch, model, metrics)
  (found,) = (m.result() for m in metrics if m.name == 'validation_loss')
  images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
  logits = np.float64(model(images, training=False))
  losses = expected(np.eye(10)[labels], logits)
  assert float(found) == pytest.approx(losses.mean(), rel=1e-5)


def test_binary_cross_entropy_comes_down_from_where_training_has_it(
  shapes_dir, tmp_path
):
  """Both are of the same size, as they were not."""
  bindings = ['losses.one_hot = True', 'losses.use_binary_cross_entropy = True']
  tiny.run(shapes_dir, tmp_path, bindings)
  for row in epoch_table.read(tmp_path / 'epochs.jsonl'):
    assert row['test_loss'] == pytest.approx(row['train_loss'], rel=0.5)
    assert row['test_loss'] < 1
