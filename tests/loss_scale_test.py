"""The loss scale of float16, beside Keras' own."""

import functools
import re
import types

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers import tiny
from official.core import config_definitions as cfg

from official_ext.modeling.optimization import loss_scale, muon, sgd

KERAS = tf_keras.mixed_precision.LossScaleOptimizer
OURS = loss_scale.UnconditionalLossScale
OPTIMIZERS = {
  'sgd': lambda: sgd.SGDCoupledDecay(0.1, momentum=0.9, weight_decay=0.01),
  'muon': lambda: muon.Muon(0.1),
  'adam': lambda: tf_keras.optimizers.legacy.Adam(0.1),
}
# By step: 3.0e38 overflows where it is scaled.
SIZES = [1.0, 2.0, 3.0e38, 0.5, np.nan, 1.0, 1.0, 1.0, 1.0, 1.0]


def steps(wrap, make, **kwargs):
  """Returns a step, and the variables that are to be compared."""
  random = np.random.default_rng(0)
  names = {'a/kernel': [2, 2, 3, 4], 'b/bias': [5]}
  variables = [
    tf.Variable(random.normal(size=shape), name=name, dtype=tf.float32)
    for name, shape in names.items()
  ]
  optimizer = wrap(make(), initial_scale=8.0, dynamic_growth_steps=2)

  @functools.partial(tf.function, autograph=False, **kwargs)
  def step(size):
    with tf.GradientTape() as tape:
      loss = tf.add_n([tf.reduce_sum(v**2) for v in variables]) * size
      loss = optimizer.get_scaled_loss(loss)
    gradients = optimizer.get_unscaled_gradients(tape.gradient(loss, variables))
    optimizer.apply_gradients(zip(gradients, variables, strict=True))

  return step, optimizer, variables


def states(wrap, make):
  """Returns all that a step changes, after each of them."""
  step, optimizer, variables = steps(wrap, make)
  found = []
  for size in SIZES:
    step(tf.constant(size, tf.float32))
    state = [*variables, *optimizer.variables()]
    state += [optimizer.loss_scale, optimizer.dynamic_counter]
    found.append([np.array(value) for value in state])
  return found


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_a_step_is_that_of_keras(name):
  """Weights, slots, counts and scale, of finite steps and of others."""
  ours, theirs = (states(wrap, OPTIMIZERS[name]) for wrap in (OURS, KERAS))
  for step, (mine, wanted) in enumerate(zip(ours, theirs, strict=True)):
    for value, expected in zip(mine, wanted, strict=True):
      np.testing.assert_array_equal(value, expected, err_msg=str(step))
  scales = [float(state[-2]) for state in ours]
  assert scales == [8, 16, 8, 8, 4, 4, 8, 8, 16, 16]


@pytest.mark.parametrize('place', [0, 1])
def test_one_gradient_that_is_not_finite_stops_all(place):
  for wrap in (OURS, KERAS):
    _, optimizer, variables = steps(wrap, OPTIMIZERS['sgd'])
    before = [variable.numpy() for variable in variables]
    gradients = [tf.ones_like(variable) for variable in variables]
    gradients[place] *= np.inf
    scaled = optimizer.get_scaled_loss(tf.constant(1.0))
    assert scaled == 8
    gradients = optimizer.get_unscaled_gradients(gradients)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    assert float(optimizer.loss_scale) == 4
    for variable, value in zip(variables, before, strict=True):
      np.testing.assert_array_equal(variable, value)


def test_a_scale_is_no_less_than_one():
  step, optimizer, _ = steps(OURS, OPTIMIZERS['sgd'])
  scales = []
  for _ in range(5):
    step(tf.constant(np.nan, tf.float32))
    scales.append(float(optimizer.loss_scale))
  assert scales == [4, 2, 1, 1, 1]


def test_several_replicas_ask_keras(monkeypatch):
  """Whether gradients are finite, its own knows of all replicas."""
  keras, asked = OURS.__mro__[1], []
  monkeypatch.setattr(
    keras, 'apply_gradients', lambda self, *_: asked.append(self)
  )
  several = types.SimpleNamespace(num_replicas_in_sync=2)
  monkeypatch.setattr(loss_scale.tf.distribute, 'get_strategy', lambda: several)
  optimizer = OURS(OPTIMIZERS['sgd']())
  optimizer.apply_gradients([(tf.ones([2]), tf.Variable([1.0, 2.0]))])
  assert asked == [optimizer]


def test_a_step_compiles_without_a_condition():
  size = tf.constant(1.0)
  for wrap, count in ((OURS, 0), (KERAS, 1)):
    step, *_ = steps(wrap, OPTIMIZERS['sgd'], jit_compile=True)
    hlo = step.experimental_get_compiler_ir(size)(stage='hlo')
    assert (len(re.findall(r' conditional\(', hlo)) >= 1) == count


def test_a_scale_stays_finite():
  step, optimizer, variables = steps(OURS, OPTIMIZERS['sgd'])
  optimizer._loss_scale.current_loss_scale.assign(2.0**127)
  for variable in variables:
    variable.assign(tf.zeros_like(variable))
  for _ in range(2):
    step(tf.constant(0.0))
  assert optimizer.loss_scale == 2.0**127


def test_checkpoints_are_those_of_keras(tmp_path):
  paths = []
  for number, wrap in enumerate((KERAS, OURS)):
    step, optimizer, variables = steps(wrap, OPTIMIZERS['sgd'])
    step(tf.constant(1.0))
    checkpoint = tf.train.Checkpoint(optimizer=optimizer, variables=variables)
    paths.append(checkpoint.write(str(tmp_path / f'ckpt-{number}')))
  theirs, ours = (tf.train.load_checkpoint(path) for path in paths)
  shapes = ours.get_variable_to_shape_map()
  assert shapes == theirs.get_variable_to_shape_map()
  assert any('current_loss_scale' in name for name in shapes)


@pytest.mark.parametrize(
  ('runtime', 'kind'),
  [
    ({'mixed_precision_dtype': 'float16'}, OURS),
    ({'mixed_precision_dtype': 'float16', 'loss_scale': 'dynamic'}, OURS),
    (
      {'mixed_precision_dtype': 'float16', 'loss_scale': 128.0},
      type(KERAS(tf_keras.optimizers.legacy.SGD())),
    ),
    ({'mixed_precision_dtype': 'bfloat16'}, sgd.SGDCoupledDecay),
  ],
)
def test_who_scales(shapes_dir, runtime, kind):
  experiment = tiny.experiment_of(shapes_dir)
  optimizer = experiment.build_task().create_optimizer(
    experiment.params.trainer.optimizer_config, cfg.RuntimeConfig(**runtime)
  )
  assert type(optimizer) is kind
