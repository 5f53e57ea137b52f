"""Muon against the original's numbers, and under all that may be around it."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers.commands import CONTEXT

from official_ext.errors import UserError
from official_ext.modeling.optimization import (
  lookahead,
  lr_schedule,
  moving_average,
  muon,
)
from official_ext.ops import newton_schulz

REFERENCE = np.load(
  pathlib.Path(__file__).parent / 'data' / 'airbench_reference.npz'
)
RANDOM = np.random.default_rng(0)


# The iteration.


@pytest.mark.parametrize('name', ['newton_schulz', 'newton_schulz_tall'])
@pytest.mark.parametrize(
  ('dtype', 'tolerance'), [('float32', 1e-5), ('bfloat16', 0.02)]
)
def test_the_iteration_is_the_originals(name, dtype, tolerance):
  """Entries of an orthogonal 16×72 are about 0.12, singular values about 1."""
  found = newton_schulz.orthogonalize(
    tf.constant(REFERENCE[f'{name}/in']), 3, dtype=dtype
  )
  expected = REFERENCE[f'{name}/out_3_steps']
  assert found.dtype == tf.float32
  np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_a_batch_is_its_matrices():
  matrices = RANDOM.normal(size=(2, 5, 7)).astype(np.float32)
  found = newton_schulz.orthogonalize(matrices, 2)
  for one, matrix in zip(found, matrices, strict=True):
    alone = newton_schulz.orthogonalize(matrix, 2)
    np.testing.assert_allclose(one, alone, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(
    newton_schulz.orthogonalize(tf.zeros([3, 2]), 3), np.zeros([3, 2])
  )


# The update.


def svd_polynomial(matrix, steps):
  """Newton-Schulz in float64, on the singular values."""
  u, s, vt = np.linalg.svd(matrix, full_matrices=False)
  s = s / (np.linalg.norm(s) + 1e-7)
  for _ in range(steps):
    s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
  return (u * s) @ vt


def numpy_muon(weight, gradients, rates, momentum, nesterov, normalize):
  """Returns the kernel after all steps, in float64."""
  velocity, filters = np.zeros_like(weight), weight.shape[-1]
  for gradient, rate in zip(gradients, rates, strict=True):
    velocity = momentum * velocity + gradient
    direction = gradient + momentum * velocity if nesterov else velocity
    if normalize:
      weight = weight * np.sqrt(filters) / np.linalg.norm(weight)
    update = svd_polynomial(direction.reshape(-1, filters), 3)
    weight = weight - rate * update.reshape(weight.shape)
  return weight


def test_a_step_of_airbench_is_the_originals():
  prefix = 'grad_of_mean_loss_at_step_1/'
  names = [key.removeprefix(prefix) for key in REFERENCE.files if prefix in key]
  assert len(names) == 14
  variables = [tf.Variable(REFERENCE[f'init/{n}'], name=n) for n in names]
  gradients = [tf.constant(REFERENCE[prefix + name]) for name in names]
  optimizer = muon.Muon(
    lr_schedule.PiecewiseLinear([0, 8], [1, 0], 25, offset=0),
    weight_decay=0.004,
    lr_groups=[
      {'pattern': 'bias$', 'until_epoch': 3, 'compress_schedule': True},
      {
        'pattern': 'head',
        'lr_multiplier': 10,
        'weight_decay_multiplier': 0.1,
      },
      {'pattern': 'conv', 'lr_multiplier': 0.05},
    ],
  )
  optimizer.apply_gradients(zip(gradients, variables, strict=True))
  for name, variable in zip(names, variables, strict=True):
    expected = REFERENCE[f'after_step_1/{name}']
    error = np.abs(variable.numpy() - expected).max() / np.abs(expected).max()
    assert error < 1e-6, name


@pytest.mark.parametrize(
  ('nesterov', 'normalize'), [(True, True), (False, True), (True, False)]
)
def test_three_steps_are_those_of_numpy(nesterov, normalize):
  start = RANDOM.normal(size=(3, 3, 4, 6))
  gradients = RANDOM.normal(size=(3, *start.shape))
  optimizer = muon.Muon(
    lr_schedule.PiecewiseLinear([0, 4], [0.2, 0], 1, offset=0),
    nesterov=nesterov,
    normalize_kernels=normalize,
    weight_decay=0.5,  # That of SGD.
    lr_groups=[{'pattern': 'kernel', 'lr_multiplier': 0.5, 'until_epoch': 3}],
  )
  kernel = tf.Variable(start, dtype=tf.float32, name='conv/kernel')
  for gradient in gradients:
    optimizer.apply_gradients([(tf.constant(gradient, tf.float32), kernel)])
  rates = [0.1, 0.075, 0.05]
  expected = numpy_muon(start, gradients, rates, 0.6, nesterov, normalize)
  np.testing.assert_allclose(kernel, expected, rtol=0, atol=1e-5)
  trained = kernel.numpy()
  optimizer.apply_gradients([(tf.fill(kernel.shape, np.nan), kernel)])
  np.testing.assert_array_equal(kernel, trained)


def test_a_kernel_of_zeros_begins_to_train():
  kernel = tf.Variable(tf.zeros([3, 3, 2, 2]), name='conv/kernel')
  gradient = RANDOM.normal(size=kernel.shape)
  muon.Muon(0.1).apply_gradients([(tf.constant(gradient, tf.float32), kernel)])
  expected = -0.1 * svd_polynomial(gradient.reshape(18, 2), 3)
  np.testing.assert_allclose(
    tf.reshape(kernel, [18, 2]), expected, rtol=0, atol=1e-5
  )


def test_products_are_in_the_precision_of_the_run():
  """Of float16 and bfloat16 all but a few bits of the step are as they were."""
  random = np.random.default_rng(6)
  start = random.normal(size=(3, 3, 4, 6)).astype(np.float32)
  gradient = tf.constant(random.normal(size=start.shape), tf.float32)
  found = {}
  for policy in ('float32', 'mixed_bfloat16', 'mixed_float16'):
    tf_keras.mixed_precision.set_global_policy(policy)
    kernel = tf.Variable(start, name='conv/kernel')
    muon.Muon(1.0).apply_gradients([(gradient, kernel)])
    assert kernel.dtype == tf.float32
    found[policy] = kernel.numpy()
  for policy, most in (('mixed_bfloat16', 0.03), ('mixed_float16', 0.003)):
    error = np.abs(found[policy] - found['float32']).max()
    assert 0 < error < most


def test_config_round_trip():
  optimizer = muon.Muon(
    0.1,
    momentum=0.5,
    nesterov=False,
    patterns=['a'],
    ns_steps=2,
    ns_coefficients=[3.0, -4.0, 2.0],
    normalize_kernels=False,
    sgd_momentum=0.75,
    momentum_form='keras',
    weight_decay=0.25,
    lr_groups=[{'pattern': 'b', 'lr_multiplier': 2.0}],
  )
  config = optimizer.get_config()
  assert (config['momentum'], config['sgd_momentum']) == (0.5, 0.75)
  assert muon.Muon.from_config(config).get_config() == config


# Which variables.


def variables_of(shapes):
  return [tf.Variable(tf.zeros(shapes[name]), name=name) for name in shapes]


SHAPES = {
  'a/kernel': [3, 3, 2, 4],
  'b/kernel': [1, 1, 2, 4],
  'c/depthwise_kernel': [3, 3, 2, 1],
  'dense/kernel': [4, 2],
  'a/bias': [4],
}


@pytest.mark.parametrize(
  ('patterns', 'chosen'),
  [
    ((), ['a/kernel']),
    (['^b', 'dense'], ['b/kernel', 'dense/kernel']),
  ],
)
def test_which_train_by_muon(patterns, chosen):
  """A decay, which Muon has not, moves all others."""
  optimizer = muon.Muon(
    0.1, patterns=patterns, weight_decay=0.1, normalize_kernels=False
  )
  variables = variables_of(SHAPES)
  for variable in variables:
    variable.assign(tf.ones_like(variable))
  gradients = [tf.zeros_like(variable) for variable in variables]
  optimizer.apply_gradients(zip(gradients, variables, strict=True))
  stayed = [v.name[:-2] for v in variables if np.all(v.numpy() == 1)]
  assert stayed == chosen
  config = muon.MuonConfig(patterns=list(patterns))
  config.check_variables(variables, 'x.')


@pytest.mark.parametrize(
  ('shapes', 'patterns', 'message'),
  [
    (SHAPES, ['z'], r"^x\.patterns: 'z' finds no variable that is trained"),
    (
      SHAPES,
      ['^a/'],
      r'x\.patterns=.* find a/bias of shape \[4\], which is no',
    ),
    (
      {'b/kernel': [1, 1, 2, 4]},
      [],
      r'x\.patterns=\[\]: no kernel .* b/kernel',
    ),
  ],
)
def test_variables_that_muon_cannot_train_are_refused(
  shapes, patterns, message
):
  with pytest.raises(UserError, match=message):
    muon.MuonConfig(patterns=patterns).check_variables(
      variables_of(shapes), 'x.'
    )


# What may be around it.


def small_model(**norm):
  tf_keras.utils.set_random_seed(1)
  layers = tf_keras.layers
  return tf_keras.Sequential(
    [
      layers.Conv2D(4, 3, input_shape=[5, 5, 2], name='conv'),
      layers.BatchNormalization(momentum=0.5, **norm),
      layers.Flatten(),
      layers.Dense(1),
    ]
  )


def small_muon():
  return muon.Muon(
    lr_schedule.PiecewiseLinear([0, 4], [0.1, 0], 1, offset=0),
    weight_decay=0.01,
    lr_groups=[
      {'pattern': 'bias$', 'until_epoch': 1, 'compress_schedule': True}
    ],
  )


IMAGES = RANDOM.normal(size=(8, 5, 5, 2)).astype(np.float32)


def step_of(model, optimizer, **options):
  """Returns a function that trains on images, a graph."""

  @tf.function(autograph=False, **options)
  def step(images):
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(model(images, training=True) ** 2)
      scaled = loss
      if hasattr(optimizer, 'get_scaled_loss'):
        scaled = optimizer.get_scaled_loss(loss)
    variables = model.trainable_variables
    gradients = tape.gradient(scaled, variables)
    if hasattr(optimizer, 'get_unscaled_gradients'):
      gradients = optimizer.get_unscaled_gradients(gradients)
    optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return loss

  return step


def weights_after(steps, wrap=lambda optimizer: optimizer, **options):
  model = small_model()
  step = step_of(model, wrap(small_muon()), **options)
  for _ in range(steps):
    step(tf.constant(IMAGES))
  return model.get_weights()


def test_xla_compiles_it_small_and_without_a_condition():
  model = small_model()
  step = step_of(model, small_muon(), jit_compile=True)
  images = tf.constant(IMAGES)
  for _ in range(3):
    step(images)
  hlo = step.experimental_get_compiler_ir(images)(stage='hlo')
  assert hlo.count('\n') <= 500
  assert not re.search(r' (conditional|while)\(', hlo)
  for ours, theirs in zip(model.get_weights(), weights_after(3), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_scaled_loss_changes_nothing():
  def wrap(optimizer):
    return tf_keras.mixed_precision.LossScaleOptimizer(
      optimizer, dynamic=True, initial_scale=256
    )

  for ours, theirs in zip(
    weights_after(3, wrap), weights_after(3), strict=True
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_moving_average_is_of_the_weights_that_muon_alone_gives():
  """Half of the average before, half of the weights and of batch norm's."""
  model = small_model()
  average = model.get_weights()
  optimizer = moving_average.MovingAverage(small_muon(), average_decay=0.5)
  optimizer.shadow_copy(model)
  step = step_of(model, optimizer)
  for count in range(1, 4):
    step(tf.constant(IMAGES))
    alone = weights_after(count)
    average = [(a + w) / 2 for a, w in zip(average, alone, strict=True)]
  for expected in (alone, average):
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
      np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    optimizer.swap_weights()


def train(strategy):
  """Returns weights, and their shadows, after three steps of the replicas."""
  with strategy.scope():
    model = small_model(synchronized=True)
    optimizer = lookahead.Lookahead(small_muon(), 1, 4, interval=2)
    optimizer.shadow_copy(model)
    replicas = strategy.num_replicas_in_sync
    parts = np.split(IMAGES, replicas)

    @tf.function(autograph=False)
    def step(images):
      with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(images, training=True) ** 2) / replicas
      variables = model.trainable_variables
      gradients = tape.gradient(loss, variables)
      optimizer.apply_gradients(zip(gradients, variables, strict=True))

    images = strategy.experimental_distribute_values_from_function(
      lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )
    for _ in range(3):
      strategy.run(step, args=(images,))
    weights = model.get_weights()
    optimizer.swap_weights()
    return [*weights, *model.get_weights()]


def train_on_two_replicas(results):
  (cpu,) = tf.config.list_physical_devices('CPU')
  two = [tf.config.LogicalDeviceConfiguration()] * 2
  tf.config.set_logical_device_configuration(cpu, two)
  results.put(train(tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])))


def test_two_replicas_train_as_one():
  """Their slow weights too, and what batch norm keeps."""
  results = CONTEXT.SimpleQueue()
  process = CONTEXT.Process(target=train_on_two_replicas, args=(results,))
  process.start()
  one = train(tf.distribute.get_strategy())
  process.join()
  assert process.exitcode == 0
  for ours, theirs in zip(results.get(), one, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
