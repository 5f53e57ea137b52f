"""The learning rate and the optimizer against numbers computed elsewhere."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from official.core import exp_factory
from official.modeling import optimization

from official_ext import registry_imports  # noqa: F401
from official_ext.configs.optimization import (
  LrConfig,
  OptimizationConfig,
  OptimizerConfig,
)
from official_ext.modeling.optimization import lr_schedule, sgd
from official_ext.schema import fields

REFERENCE = pathlib.Path(__file__).parent / 'data' / 'resnet9_reference.npz'


def _factory():
  params = exp_factory.get_exp_config('small_images')
  return optimization.OptimizerFactory(params.trainer.optimizer_config)


def test_learning_rate_equals_the_originals_at_every_step():
  expected = np.load(REFERENCE)['dawn_learning_rate_steps_1_to_2328']
  schedule = _factory().build_learning_rate()
  at_every_step = tf.function(
    lambda: tf.map_fn(schedule, tf.range(2328), fn_output_signature=tf.float32)
  )
  rates = at_every_step()
  np.testing.assert_allclose(rates, expected, rtol=0, atol=1e-7)


def test_piecewise_linear_with_a_flat_tail():
  epochs, values = [0, 2, 8, 10], [0, 1.0, 0.1, 0.1]
  schedule = lr_schedule.PiecewiseLinear(epochs, values, steps_per_epoch=5)
  steps = np.arange(70)
  expected = np.interp((steps + 1) / 5, epochs, values)
  rates = [schedule(step).numpy() for step in steps]
  np.testing.assert_allclose(rates, expected, rtol=0, atol=1e-7)
  again = lr_schedule.PiecewiseLinear.from_config(schedule.get_config())
  assert again(7) == schedule(7)


@pytest.mark.parametrize(
  ('options', 'epochs', 'values'),
  [
    ({}, [0, 5, 24], [0, 0.4, 0]),
    (
      {'peak_learning_rate': 1.0, 'peak_epoch': 2, 'final_learning_rate': 0.1},
      [0, 2, 24],
      [0, 1.0, 0.1],
    ),
    (
      {'final_learning_rate': 0.1, 'flat_epochs': 2, 'peak_epoch': 1.25},
      [0, 1.25, 22, 24],
      [0, 0.4, 0.1, 0.1],
    ),
  ],
)
def test_triangular_is_piecewise_linear_at_its_knots(options, epochs, values):
  filled_in = {'epochs': 24, 'steps_per_epoch': 7}
  triangular = lr_schedule.TriangularLrConfig(**options, **filled_in)
  knots = lr_schedule.PiecewiseLinearLrConfig(
    epochs=epochs, values=values, steps_per_epoch=7
  )
  for config in (triangular, knots):
    fields.check(config)
  schedules = [
    optimization.OptimizerFactory(
      OptimizationConfig(
        optimizer=OptimizerConfig(type='sgd'),
        learning_rate=LrConfig.choose(config),
      )
    ).build_learning_rate()
    for config in (triangular, knots)
  ]
  steps = np.arange(-1, 24 * 7 + 10)
  rates, expected = (
    np.array([schedule(step).numpy() for step in steps])
    for schedule in schedules
  )
  np.testing.assert_array_equal(rates, expected)
  np.testing.assert_allclose(
    rates, np.interp((steps + 1) / 7, epochs, values), rtol=0, atol=1e-6
  )


@pytest.mark.parametrize('nesterov', [True, False])
def test_momentum_0_9_is_the_originals_momentum_0_9(nesterov):
  """An earlier port's open question, for changing learning rates too.

  The original's `nesterov_update` keeps a velocity v ← m · v + g · r (r the
  learning rate) and moves the weight by −(g · r + m · v); computed here in
  float64.
  """
  rates, momentum, decay = [0.1, 0.3, 0.05, 0.2], 0.9, 0.01
  schedule = lr_schedule.PiecewiseLinear(
    [1, 2, 3, 4], rates, steps_per_epoch=1, offset=1
  )
  optimizer = sgd.SGDCoupledDecay(
    schedule, momentum=momentum, nesterov=nesterov, weight_decay=decay
  )
  target = np.array([1.0, -2.0, 3.0])
  expected, velocity = np.zeros(3), np.zeros(3)
  weight = tf.Variable(expected, dtype=tf.float32)
  for rate in rates:
    gradient = expected - target + decay * expected
    velocity = momentum * velocity + rate * gradient
    expected = expected - (
      rate * gradient + momentum * velocity if nesterov else velocity
    )
    loss_gradient = weight - tf.constant(target, tf.float32)
    optimizer.apply_gradients([(loss_gradient, weight)])
    np.testing.assert_allclose(weight, expected, rtol=1e-5)


def test_excluded_variables_do_not_decay():
  optimizer = sgd.SGDCoupledDecay(
    0.5, weight_decay=0.1, exclude_from_weight_decay=['gamma|beta']
  )
  kernel = tf.Variable([1.0], name='conv/kernel')
  gamma = tf.Variable([1.0], name='bn/gamma')
  zero = tf.zeros([1])
  optimizer.apply_gradients([(zero, kernel), (zero, gamma)])
  np.testing.assert_allclose(kernel, [0.95])
  np.testing.assert_allclose(gamma, [1.0])
  again = sgd.SGDCoupledDecay.from_config(optimizer.get_config())
  assert again.get_config() == optimizer.get_config()
