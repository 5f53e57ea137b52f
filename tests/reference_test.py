"""The task against the original's numbers; see tests/data/README.md."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from official.core import exp_factory, task_factory

from official_ext import registry_imports  # noqa: F401

REFERENCE = pathlib.Path(__file__).parent / 'data' / 'resnet9_reference.npz'
LAYERS = ['prep', 'layer1', 'layer1_res1', 'layer1_res2', 'layer2', 'layer3']
LAYERS += ['layer3_res1', 'layer3_res2']
NORM = ['gamma', 'beta', 'moving_mean', 'moving_variance']


@pytest.fixture(scope='module')
def reference():
  return dict(np.load(REFERENCE))


class Training:
  """This package's model, task and optimizer, at the reference's start."""

  def __init__(self, reference):
    params = exp_factory.get_exp_config('small_images')
    channels = reference['channels_prep_layer1_layer2_layer3']
    params.task.model.backbone.resnet9.channels = channels.tolist()
    self.task = task_factory.get_task(params.task)
    self.model = self.task.build_model()
    self.optimizer = self.task.create_optimizer(
      params.trainer.optimizer_config, params.runtime
    )
    # The reference's three steps stand at the start of a longer schedule.
    self.optimizer.learning_rate = lambda: float(self.rate)
    self.rate = 0.0
    for key, variable in self.variables().items():
      variable.assign(reference[f'init/{key}'])

  def variables(self):
    found = {}
    for name in LAYERS:
      backbone = self.model.backbone
      found[f'{name}/kernel'] = backbone.get_layer(f'{name}_conv').kernel
      norm = backbone.get_layer(f'{name}_bn')
      found |= {f'{name}/{key}': getattr(norm, key) for key in NORM}
    found['linear/kernel'] = self.model.get_layer('linear').kernel
    return found

  def step(self, reference, index):
    self.rate = reference['learning_rate'][index]
    batch = (tf.constant(reference['x'][index]), reference['y'][index])
    return self.task.train_step(batch, self.model, self.optimizer)


def test_logits_at_the_start(reference):
  model = Training(reference).model
  x = reference['x'][0]
  for key, training in [
    ('eval_logits_at_init', False),
    ('train_logits_at_step_1', True),
  ]:
    logits = model(x, training=training).numpy()
    np.testing.assert_allclose(logits, reference[key], rtol=1e-4, atol=3e-6)


def test_gradients_of_the_first_step(reference):
  training = Training(reference)
  with tf.GradientTape() as tape:
    logits = training.model(reference['x'][0], training=True)
    loss = training.task.build_losses(reference['y'][0], logits)
  np.testing.assert_allclose(loss, reference['mean_loss'][0], rtol=1e-6)
  variables = {key: v for key, v in training.variables().items() if v.trainable}
  gradients = tape.gradient(loss, variables)
  for key, gradient in gradients.items():
    expected = reference[f'grad_of_mean_loss_at_step_1/{key}']
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
      gradient, expected, rtol=0, atol=2e-5 * scale, err_msg=key
    )


def test_weights_and_statistics_after_one_and_three_steps(reference):
  training = Training(reference)
  for index in range(3):
    logs = training.step(reference, index)
    np.testing.assert_allclose(
      logs['loss'], reference['mean_loss'][index], rtol=1e-4
    )
    if index in (0, 2):
      # After step 1 a ReLU or a pooling tie may have flipped.
      tolerance = 5e-6 if index == 0 else 1e-3
      for key, variable in training.variables().items():
        expected = reference[f'after_step_{index + 1}/{key}']
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
          variable, expected, rtol=0, atol=tolerance * scale + 1e-8, err_msg=key
        )
  logits = training.model(reference['x'][0], training=False)
  expected = reference['eval_logits_after_step_3']
  np.testing.assert_allclose(
    logits, expected, rtol=0, atol=2e-3 * np.abs(expected).max()
  )


def test_the_steps_above_are_those_of_the_default_recipe():
  params = exp_factory.get_exp_config('small_images')
  sgd = params.trainer.optimizer_config.optimizer.sgd_coupled_decay
  assert (sgd.momentum, sgd.nesterov, sgd.weight_decay) == (0.9, True, 5e-4)
