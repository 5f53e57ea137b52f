"""What an accelerator would compile, by XLA on the CPU."""

import contextlib
import functools
import re

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers import tiny
from helpers.commands import CONTEXT
from official.core import task_factory, train_utils

from official_ext.modeling.layers.ghost_batch_norm import (
  GhostBatchNormalization,
)
from official_ext.modeling.layers.max_pool import MaxPool2D
from official_ext.modeling.optimization.moving_average import MovingAverage
from official_ext.ops import activations, placement

NARROW = [
  'resnet9.channels = [4, 8, 8, 16]',
  'data.batch_size = 64',
  'run.epochs = 4',
  "run.precision = 'float32'",
]


def build_step(shapes_dir, recipe, extra=(), precision=None):
  """Returns a function that trains on one batch, compiled, and its batch."""
  experiment = tiny.experiment_of(shapes_dir, [*NARROW, *extra], files=[recipe])
  params = experiment.params
  if precision:
    # As on a GPU, without which float16 is refused.
    vars(params.runtime)['mixed_precision_dtype'] = precision
    tf_keras.mixed_precision.set_global_policy(f'mixed_{precision}')
  # Of others, such as 0, 3 and 5, a pool has two pixels that differ by a
  # rounding, and takes one on one way and one on the other.
  tf_keras.utils.set_random_seed(2)
  task = task_factory.get_task(params.task)
  task.data = experiment.data
  model = task.build_model()
  task.initialize(model)
  optimizer = train_utils.create_optimizer(task, params)
  if isinstance(optimizer, MovingAverage):
    optimizer.shadow_copy(model)
  metrics = task.build_metrics(training=True)

  @functools.partial(tf.function, jit_compile=True, autograph=False)
  def step(images, labels):
    return task.train_step((images, labels), model, optimizer, metrics)

  batch = next(iter(task.build_inputs(params.task.train_data)))
  return step, batch, model


@pytest.mark.parametrize(
  ('recipe', 'most_lines'),
  [('gin/resnet9_v100.gin', 1900), ('gin/resnet9_dawn.gin', 3000)],
)
def test_the_step_compiles_small_and_without_a_condition(
  shapes_dir, recipe, most_lines
):
  with placement.as_on_accelerator():
    step, batch, _ = build_step(shapes_dir, recipe)
    hlo = step.experimental_get_compiler_ir(*batch)(stage='hlo')
  assert hlo.count('\n') <= most_lines
  assert not re.search(r' (conditional|while|select-and-scatter)\(', hlo)


def test_a_loss_scale_is_no_condition_either(shapes_dir):
  recipe = 'gin/resnet9_v100.gin'
  with placement.as_on_accelerator():
    step, batch, model = build_step(shapes_dir, recipe, precision='float16')
    hlo = step.experimental_get_compiler_ir(*batch)(stage='hlo')
    before = model.trainable_weights[0].numpy()
    step(*batch)
  assert not re.search(r' (conditional|while)\(', hlo)
  after = model.trainable_weights[0].numpy()
  assert np.isfinite(after).all()
  assert (before != after).any()


def test_the_step_is_the_one_of_the_cpu(shapes_dir):
  """Three steps, each way with its own pool, norm, activation and average."""
  recipe, losses, weights = 'gin/resnet9_dawn.gin', [], []
  for way in (placement.as_on_accelerator, contextlib.nullcontext):
    with way():
      step, batch, model = build_step(shapes_dir, recipe)
      first = float(step(*batch)['loss'])
      # The first step makes the optimizer's variables and is traced for that.
      traced = step.experimental_get_tracing_count()
      losses.append([first, *(float(step(*batch)['loss']) for _ in range(2))])
      assert step.experimental_get_tracing_count() == traced
      weights.append(model.get_weights())
  np.testing.assert_allclose(*losses, rtol=1e-5)
  for ours, theirs in zip(*weights, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def train_deterministically(shapes_dir, recipe, results):
  """Puts the losses of three steps under op determinism, as raw bytes."""
  tf.config.experimental.enable_op_determinism()
  with placement.as_on_accelerator():
    step, batch, _ = build_step(shapes_dir, recipe)
    losses = [step(*batch)['loss'].numpy().tobytes() for _ in range(3)]
  results.put(losses)


@pytest.mark.parametrize(
  'recipe', ['gin/resnet9_v100.gin', 'gin/resnet9_dawn.gin']
)
def test_xla_trains_deterministically(shapes_dir, recipe):
  """It refuses the gradient of TensorFlow's own max pool then."""
  results = CONTEXT.SimpleQueue()
  arguments = (shapes_dir, recipe, results)
  processes = [
    CONTEXT.Process(target=train_deterministically, args=arguments)
    for _ in range(2)
  ]
  for process in processes:
    process.start()
  for process in processes:
    process.join()
  # Nothing comes from one that has failed.
  assert [process.exitcode for process in processes] == [0, 0]
  assert results.get() == results.get()


def values_and_gradient(layer, x, dy):
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = layer(x)
  return y, tape.gradient(y, x, dy)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize(('window', 'size'), [(2, 8), (4, 8), (2, 7)])
@pytest.mark.parametrize('ties', [False, True])
def test_the_pool_has_the_bits_of_tensorflows(dtype, window, size, ties):
  random = np.random.default_rng(0)
  x = random.normal(size=(3, size, size, 5))
  x = tf.cast(np.round(x) if ties else x, dtype)
  side = size // window
  dy = tf.cast(random.normal(size=(3, side, side, 5)), dtype)
  keras = tf_keras.layers.MaxPooling2D(window, dtype=dtype)
  expected = values_and_gradient(keras, x, dy)
  ours = MaxPool2D(window, dtype=dtype)
  with placement.as_on_accelerator():
    compiled = tf.function(
      functools.partial(values_and_gradient, ours), jit_compile=True
    )(x, dy)
  for one, other in zip(expected, compiled, strict=True):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('scale', [True, False])
def test_ghost_norm_at_once_is_that_of_the_slices(scale):
  random = np.random.default_rng(0)
  x = tf.constant(random.normal(3, 2, (8, 6, 5, 4)), tf.float32)
  dy = tf.constant(random.normal(size=x.shape), tf.float32)
  found = []
  for way in (placement.as_on_accelerator, contextlib.nullcontext):
    layer = GhostBatchNormalization(4, 'celu', scale=scale, momentum=0.5)
    layer.build(x.shape)
    with way(), tf.GradientTape() as tape:
      tape.watch(x)
      y = layer(x, training=True)
    gradients = tape.gradient(y, [x, *layer.trainable_weights], dy)
    found.append([y, *gradients, *layer.weights])
  for ours, theirs in zip(*found, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_celu_on_an_accelerator_is_that_of_the_cpu(dtype):
  x = tf.cast(tf.linspace(-3.0, 3.0, 101), dtype)
  dy = tf.ones_like(x)
  expected = values_and_gradient(activations.celu, x, dy)
  with placement.as_on_accelerator():
    ours = values_and_gradient(activations.celu, x, dy)
  for one, other in zip(expected, ours, strict=True):
    np.testing.assert_allclose(
      tf.cast(one, tf.float32), tf.cast(other, tf.float32), rtol=1e-2, atol=1e-6
    )


@pytest.mark.parametrize('interval', [1, 3])
def test_an_average_without_a_condition_is_the_same(interval):
  found = []
  for way in (placement.as_on_accelerator, contextlib.nullcontext):
    with way():
      model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=[3])])
      model.set_weights([np.arange(6.0).reshape(3, 2), np.zeros(2)])
      sgd = tf_keras.optimizers.legacy.SGD(0.1)
      average = MovingAverage(sgd, average_decay=0.9, interval=interval)
      average.shadow_copy(model)
      for number in range(7):
        gradients = [tf.fill(v.shape, float(number)) for v in model.variables]
        average.apply_gradients(zip(gradients, model.variables, strict=True))
      average.swap_weights()
      found.append(model.get_weights())
  for ours, theirs in zip(*found, strict=True):
    np.testing.assert_array_equal(ours, theirs)
