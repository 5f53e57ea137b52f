"""airbench's parts against the original's numbers; see tests/data/README.md."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from official.core import exp_factory, task_factory

from official_ext import registry_imports  # noqa: F401
from official_ext.configuration import gin_config
from official_ext.modeling.layers.fixed_whitening import FixedWhitening2D
from official_ext.ops import views

REFERENCE = pathlib.Path(__file__).parent / 'data' / 'airbench_reference.npz'


@pytest.fixture(scope='module')
def reference():
  found = dict(np.load(REFERENCE))
  # The batch of the first step.
  return found | {'x': found['x'][0], 'y': found['y'][0]}


@pytest.fixture
def start(reference):
  """(task, model, its variables by the reference's names), at the start."""
  widths = reference['widths'].tolist()
  gin_config.parse(
    ['gin/parts/airbench94.gin'],
    [
      f'airbench.channels = {widths}',
      f'head.logit_scale = {1 / widths[-1]}',
      "evaluation.views = ['mirror', 'mirror_translate']",
    ],
  )
  task = task_factory.get_task(exp_factory.get_exp_config('small_images').task)
  model = task.build_model()
  variables = dict(named(model))
  for key, variable in variables.items():
    variable.assign(reference[f'init/{key}'])
  assert len(variables) == len(model.variables)
  return task, model, variables


def named(model):
  whitening = model.backbone.get_layer('whitening')
  yield 'whiten/kernel', whitening.kernel
  yield 'whiten/bias', whitening.bias
  for level in (1, 2, 3):
    for place in (1, 2):
      name = f'group{level}_{place}'
      conv = model.backbone.get_layer(f'{name}_conv')
      yield f'group{level}/conv{place}/kernel', conv.kernel
      norm = model.backbone.get_layer(f'{name}_bn')
      for key in ('beta', 'moving_mean', 'moving_variance'):
        yield f'group{level}/norm{place}/{key}', getattr(norm, key)
  yield 'head/kernel', model.get_layer('linear').kernel


def assert_close(value, expected, tolerance, name=''):
  scale = np.abs(expected).max()
  np.testing.assert_allclose(
    value, expected, rtol=0, atol=tolerance * scale, err_msg=name
  )


def test_logits_and_statistics_of_the_first_step(start, reference):
  _, model, variables = start
  for key, training in [
    ('eval_logits_at_init/views_1', False),
    ('train_logits_at_step_1', True),
  ]:
    logits = model(reference['x'], training=training)
    assert_close(logits, reference[key], 1e-5, key)
  moving = [key for key in variables if 'moving' in key]
  assert len(moving) == 12
  for key in moving:
    expected = reference[f'after_step_1/{key}']
    assert_close(variables[key], expected, 1e-5, key)


def test_weights_and_statistics_after_one_and_three_steps():
  """By the whole recipe, at the lower rates of the reference."""
  reference = dict(np.load(REFERENCE))
  widths = reference['widths'].tolist()
  rates = reference['learning_rate_whiten_bias_norm_bias_head_muon']
  gin_config.parse(
    ['gin/airbench94.gin'],
    [
      f'airbench.channels = {widths}',
      f'head.logit_scale = {1 / widths[-1]}',
    ],
  )
  params = exp_factory.get_exp_config('small_images')
  groups = params.trainer.optimizer_config.optimizer.muon.lr_groups
  assert [group.lr_multiplier for group in groups] == [106, 106, 1340, 0.24]
  for group, rate in zip(groups, rates[0].tolist(), strict=True):
    assert group.pattern == 'kernel$' or (
      group.lr_multiplier * group.weight_decay_multiplier == pytest.approx(1)
    )
    group.lr_multiplier, group.weight_decay_multiplier = rate, 1 / rate
  task = task_factory.get_task(params.task)
  model = task.build_model()
  optimizer = task.create_optimizer(
    params.trainer.optimizer_config, params.runtime
  )
  variables = dict(named(model))
  for key, variable in variables.items():
    variable.assign(reference[f'init/{key}'])
  for index, batch in enumerate(
    zip(reference['x'], reference['y'], strict=True)
  ):
    images, labels = map(tf.constant, batch)
    logs = task.train_step((images, labels), model, optimizer)
    expected = reference['mean_loss'][index]
    np.testing.assert_allclose(logs['loss'], expected, rtol=1e-4)
    if index in (0, 2):
      for key, variable in variables.items():
        if key != 'whiten/kernel':
          expected = reference[f'after_step_{index + 1}/{key}']
          tolerance = 2e-5 if index == 0 else 1e-3
          assert_close(variable, expected, tolerance, f'{index}: {key}')
  logits = model(reference['x'][0], training=False)
  assert_close(logits, reference['eval_logits_after_step_3'], 1e-3)


def test_gradients_of_the_first_step(start, reference):
  task, model, variables = start
  labels = tf.one_hot(reference['y'], 10)
  trained = {key: v for key, v in variables.items() if v.trainable}
  with tf.GradientTape() as tape:
    logits = model(reference['x'], training=True)
    loss = task.build_losses(labels, logits)
  np.testing.assert_allclose(loss, reference['mean_loss'][0], rtol=1e-6)
  there = {key for key in reference if key.startswith('grad_of_mean_loss')}
  assert there == {f'grad_of_mean_loss_at_step_1/{key}' for key in trained}
  for key, gradient in tape.gradient(loss, trained).items():
    expected = reference[f'grad_of_mean_loss_at_step_1/{key}']
    # The norms take out most of what the bias adds: a small difference of large
    # numbers.
    assert_close(gradient, expected, 2e-4 if 'bias' in key else 2e-5, key)


def test_evaluation_over_two_and_six_views(start, reference):
  task, model, _ = start
  x, calls = tf.constant(reference['x']), []

  def network(images):
    calls.append(images)
    return model(images, training=False)

  seen = {views.PLAIN: network(x)}
  for name, count in (('mirror', 2), ('mirror_translate', 6)):
    logits = views.logits(network, x, seen, name)
    expected = reference[f'eval_logits_at_init/views_{count}']
    assert_close(logits, expected, 1e-5, name)
    assert len(calls) == count  # Nothing is looked at twice.
  # What the task reports, of labels that the six views give to every other.
  classes = expected.argmax(1)
  labels = np.where(np.arange(50) % 2, classes, reference['y'])
  metrics = task.build_metrics(training=False)
  task.validation_step((x, tf.constant(labels, tf.int32)), model, metrics)
  results = {metric.name: float(metric.result()) for metric in metrics}
  for key, count in (
    ('accuracy', 1),
    ('accuracy_mirror', 2),
    ('accuracy_mirror_translate', 6),
  ):
    judged = reference[f'eval_logits_at_init/views_{count}'].argmax(1)
    assert results[key] == pytest.approx(np.mean(judged == labels))
  assert results['accuracy'] < results['accuracy_mirror_translate']


def test_the_filters_are_the_originals_but_for_order_and_sign(reference):
  """Of images of one patch each, with the second moment of the original's."""
  moment = reference['whitening_second_moment']
  patches = np.linalg.cholesky(moment).T * np.sqrt(len(moment) - 1)
  layer = FixedWhitening2D(2)
  layer.build([None, 32, 32, 3])
  layer.learn_filters(patches.reshape(-1, 2, 2, 3), [0.0] * 3, [1.0] * 3)
  kernel = layer.kernel.numpy().reshape(12, 24)
  np.testing.assert_array_equal(kernel[:, 12:], -kernel[:, :12])
  theirs = reference['init/whiten/kernel'].reshape(12, 24)
  np.testing.assert_array_equal(theirs[:, 12:], -theirs[:, :12])
  # By falling eigenvalue here, by rising there.
  ours, theirs = kernel[:, :12][:, ::-1], theirs[:, :12]
  signs = np.sign(np.sum(ours * theirs, axis=0))
  assert_close(ours * signs, theirs, 2e-5)
