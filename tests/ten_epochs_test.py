"""The ten-epoch recipe's techniques against numbers computed elsewhere."""

import itertools
import pathlib
import tracemalloc

import gin
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers import input_batches, tiny
from helpers.commands import CONTEXT
from official.core import exp_factory, task_factory
from official.modeling import optimization as garden_optimization

from official_ext import registry_imports  # noqa: F401
from official_ext.augmentation.crop import Crop
from official_ext.augmentation.flip import Flip
from official_ext.configuration import gin_config
from official_ext.dataloaders import (
  augmentation_choices,
  classification_input,
  preprocessing,
)
from official_ext.dataloaders.image_source import ImageDataInfo
from official_ext.dataloaders.in_memory import ImageData
from official_ext.errors import UserError
from official_ext.modeling.backbones import resnet9
from official_ext.modeling.layers import ghost_batch_norm, whitened_conv
from official_ext.modeling.optimization import (
  lr_schedule,
  moving_average,
  sgd,
)
from official_ext.ops import activations, whitening
from official_ext.ops.normalize import normalize

RNG = np.random.default_rng(0)
ROOT = pathlib.Path(__file__).parents[1]


def test_the_gin_file_is_the_recipe():
  gin_config.parse(['gin/resnet9_dawn.gin'], [])
  params = exp_factory.get_exp_config('small_images')
  optimization = params.trainer.optimizer_config
  assert params.trainer.train_steps == 970
  factory = garden_optimization.OptimizerFactory(optimization)
  schedule = factory.build_learning_rate()
  steps = np.arange(970)
  rates = tf.map_fn(schedule, steps, fn_output_signature=tf.float32)
  expected = np.interp((steps + 1) / 97, [0, 2, 8], [0, 1.0, 0.1])
  np.testing.assert_allclose(rates, expected, rtol=0, atol=1e-6)
  (group,) = optimization.optimizer.sgd_coupled_decay.lr_groups
  assert group.lr_multiplier * group.weight_decay_multiplier == 1
  assert params.task.model.head.logit_scale == 1 / 16
  steps = [one.get() for one in params.task.train_data.augmentations]
  assert steps == [Crop(stratified=True), Flip(stratified=True)]
  model = task_factory.get_task(params.task).build_model()
  count = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
  scales = sum([64, 128, 128, 128, 256, 512, 512, 512])
  assert count == 6_573_120 - scales


def test_the_steps_towards_it_end_with_it():
  steps = sorted(path.name for path in (ROOT / 'gin/dawn_steps').iterdir())
  assert [name[0] for name in steps] == list('0123456')
  files = [*(f'gin/dawn_steps/{step}' for step in steps)]
  experiments = [_experiment(file) for file in files]
  for one, other in itertools.pairwise(experiments):
    assert one != other
  last_two = (
    'small_images.average = @moving_average()',
    'moving_average.average_decay = 0.99',
    'moving_average.interval = 5',
    'triangular.final_learning_rate = 0.1',
    'triangular.flat_epochs = 2',
    "evaluation.views = ['mirror']",
  )
  last = _experiment(files[-1], *last_two)
  assert last == _experiment('gin/resnet9_dawn.gin')


def _experiment(file, *settings):
  gin.clear_config()
  gin_config.parse([file], settings)
  params = exp_factory.get_exp_config('small_images')
  assert params.trainer.train_steps == 970
  return params.as_dict()


# Whitening.


def correlated_images():
  """Images whose neighbouring pixels and channels go together."""
  noise = RNG.normal(size=(700, 12, 12, 3))
  noise[..., 1] += 2 * noise[..., 0]
  return (noise + np.roll(noise, 1, axis=1) + 0.5).astype(np.float32)


def patches_of(images, size=3):
  """All patches, by loops: float64 `[patches, size · size · channels]`."""
  _, height, width, _ = images.shape
  return np.concatenate(
    [
      images[:, y : y + size, x : x + size].reshape(len(images), -1)
      for y in range(height - size + 1)
      for x in range(width - size + 1)
    ]
  ).astype(np.float64)


def test_whitened_patches_are_uncorrelated_and_of_unit_mean_square():
  images = correlated_images()
  patches = patches_of(images)
  filters = whitening.filters(images, epsilon=1e-2)
  white = patches @ filters
  moment = white.T @ white / (len(white) - 1)
  eigenvalues = np.linalg.eigvalsh(patches.T @ patches / (len(patches) - 1))
  assert 1e-2 < eigenvalues.min() < 0.2
  expected = np.diag((eigenvalues / (eigenvalues + 1e-2))[::-1])
  np.testing.assert_allclose(moment, expected, rtol=0, atol=1e-5)


def test_whitened_convolution_is_two_convolutions():
  layer = whitened_conv.WhitenedConv2D(5, 3, padding='same', use_bias=False)
  plain = tf_keras.layers.Conv2D(5, 3, padding='same', use_bias=False)
  x = RNG.normal(size=(2, 6, 7, 3)).astype(np.float32)
  layer(x), plain(x)
  plain.kernel.assign(layer.kernel)
  np.testing.assert_allclose(layer(x), plain(x), atol=1e-5)
  layer.whitening.assign(RNG.normal(size=(27, 27)))
  padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
  patches = np.stack(
    [padded[:, i : i + 6, j : j + 7] for i in range(3) for j in range(3)], 3
  ).reshape(2, 6, 7, 27)
  kernel = layer.kernel.numpy().reshape(27, 5)
  expected = patches.astype(np.float64) @ layer.whitening.numpy() @ kernel
  np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-4)
  assert [v.shape for v in layer.trainable_variables] == [(3, 3, 3, 5)]


def test_whitening_is_exact_under_mixed_precision():
  """bfloat16 has no bits for the differences that whitening amplifies."""
  images = tf.constant(correlated_images()[:8])
  outputs = []
  for policy in ('float32', 'mixed_bfloat16'):
    tf_keras.utils.set_random_seed(1)
    tf_keras.mixed_precision.set_global_policy(policy)
    backbone = resnet9.ResNet9(
      tf_keras.layers.InputSpec(shape=[None, 12, 12, 3]),
      channels=(4, 4, 8, 8),
      first_layer='whitening',
    )
    layer = backbone.get_layer('prep_conv')
    layer.whitening.assign(whitening.filters(images.numpy()))
    outputs.append(layer(images).numpy())
  np.testing.assert_array_equal(*outputs)
  assert backbone(images)['1'].dtype == tf.bfloat16


def test_the_task_whitens_its_first_training_images(shapes_dir):
  bindings = ["resnet9.first_layer = 'whitening'"]
  params = tiny.config(shapes_dir, bindings)
  task = task_factory.get_task(params.task)
  model = task.build_model()
  task.initialize(model)
  data = task.data.load(params.task.train_data)
  mean, stddev = (
    params.task.train_data.mean_rgb,
    params.task.train_data.stddev_rgb,
  )
  patches = patches_of(
    (data.images.numpy() - np.array(mean)) / np.array(stddev)
  )
  white = patches @ model.backbone.get_layer('prep_conv').whitening.numpy()
  moment = white.T @ white / (len(white) - 1)
  np.testing.assert_allclose(moment, np.diag(np.diag(moment)), atol=1e-4)
  assert np.all(np.diff(np.diag(moment)) < 1e-4)
  assert 0.9 < moment[0, 0] < 1


def test_whitening_takes_no_more_images_than_the_original(shapes_dir):
  bindings = ["resnet9.first_layer = 'whitening'"]
  params = tiny.config(shapes_dir, bindings).task
  task = task_factory.get_task(params)
  model = task.build_model()
  layer = model.backbone.get_layer('prep_conv')
  assert (layer.epsilon, layer.num_images) == (1e-2, 10_000)
  layer.num_images = 40
  task.initialize(model)
  images = task.data.load(params.train_data).images[:40].numpy()
  mean, stddev = params.train_data.mean_rgb, params.train_data.stddev_rgb
  np.testing.assert_allclose(
    layer.whitening,
    whitening.filters((images - np.array(mean)) / np.array(stddev)),
    atol=1e-3,
  )


def bytes_of(images):
  return np.clip(images * 20 + 120, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
  ('shape', 'size', 'mean', 'stddev'),
  [
    ((700, 12, 12, 3), 3, [125.3, 122.9, 113.9], [62.9, 62.1, 66.7]),
    ((61, 7, 10, 3), 2, [100.0, 0.0, 255.0], [1.0, 30.0, 300.0]),
    ((53, 9, 5, 1), 3, [118.2], [30.1]),
    ((2, 3, 4, 1), 3, [118.2], [30.1]),
  ],
)
def test_whitening_of_bytes_is_that_of_the_normalized_images(
  shape, size, mean, stddev
):
  count, height, width, channels = shape
  images = bytes_of(correlated_images())[:count, :height, :width, :channels]
  filters = whitening.filters(images, size, mean=mean, stddev=stddev)
  normalized = normalize(tf.constant(images), mean, stddev).numpy()
  patches = patches_of(normalized, size)
  moment = patches.T @ patches / (len(patches) - 1)
  # The filters but for their order and signs.
  expected = np.linalg.inv(moment + 1e-2 * np.eye(len(moment)))
  product = filters.astype(np.float64) @ filters.T
  error = np.abs(product - expected).max() / np.abs(expected).max()
  assert error < 1e-5


def test_whitening_of_bytes_is_exact_and_needs_little_memory(monkeypatch):
  images = bytes_of(correlated_images())
  monkeypatch.setattr(whitening, '_CHUNK', 40 * 12 * 12)
  tracemalloc.start()
  filters = whitening.filters(images, mean=120.0, stddev=30.0)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 3 * (40 * 10 * 10 * 27 * 8)
  monkeypatch.setattr(whitening, '_CHUNK', 700 * 12 * 12)
  whole = whitening.filters(images, mean=120.0, stddev=30.0)
  np.testing.assert_array_equal(filters, whole)


# Ghost batch norm.


def ghost_and_separate(x, dy, scale):
  """Returns (output, gradients, statistics) of ours, and of a norm a group."""
  ghost = ghost_batch_norm.GhostBatchNormalization(
    4, momentum=0.9, epsilon=2e-5, scale=scale
  )
  ghost.build(x.shape)
  if scale:
    ghost.gamma.assign([0.5, 1.0, 2.0])
  ghost.beta.assign([0.0, -1.0, 3.0])
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = ghost(x, training=True)
  parameters = [ghost.gamma, ghost.beta] if scale else [ghost.beta]
  ours = y, *tape.gradient(y, [x, *parameters], dy)
  gamma = np.array([0.5, 1.0, 2.0]) if scale else np.ones(3)
  groups = x.numpy().astype(np.float64).reshape(-1, 4, 5, 6, 3)
  gradients = dy.numpy().astype(np.float64).reshape(groups.shape)
  over, count = (1, 2, 3), 4 * 5 * 6
  mean = groups.mean(over, keepdims=True)
  variance = groups.var(over, keepdims=True)
  root = np.sqrt(variance + 2e-5)
  normal = (groups - mean) / root
  inner = gradients - gradients.mean(over, keepdims=True)
  inner -= normal * (gradients * normal).mean(over, keepdims=True)
  expected = [gamma * normal + [0.0, -1.0, 3.0], gamma / root * inner]
  if scale:
    expected.append((gradients * normal).sum((0, 1, 2, 3)))
  expected.append(gradients.sum((0, 1, 2, 3)))
  unbiased = variance * count / (count - 1)
  moving = 0.1 * mean.mean(0).ravel(), 0.9 + 0.1 * unbiased.mean(0).ravel()
  return ghost, ours, expected, moving


@pytest.mark.parametrize('scale', [True, False])
def test_ghost_norm_is_a_norm_for_each_group(scale):
  x = tf.constant(RNG.normal(1, 3, size=(12, 5, 6, 3)), tf.float32)
  dy = tf.constant(RNG.normal(size=x.shape), tf.float32)
  ghost, ours, expected, moving = ghost_and_separate(x, dy, scale)
  for value, wanted in zip(ours, expected, strict=True):
    wanted = wanted.reshape(value.shape)
    np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(ghost.moving_mean, moving[0], rtol=1e-5)
  np.testing.assert_allclose(ghost.moving_variance, moving[1], rtol=1e-5)
  # In evaluation, any batch and the moving statistics.
  gamma = ghost.gamma.numpy() if scale else 1
  wanted = (x[:5] - moving[0]) / np.sqrt(moving[1] + 2e-5) * gamma
  wanted += np.array([0.0, -1.0, 3.0])
  np.testing.assert_allclose(ghost(x[:5]), wanted, rtol=1e-4, atol=1e-4)


def test_the_activation_follows_the_norm():
  x = tf.constant(RNG.normal(size=(8, 3, 3, 2)), tf.float32)
  plain = ghost_batch_norm.GhostBatchNormalization(4)
  fused = ghost_batch_norm.GhostBatchNormalization(4, activation='relu')
  for training in (True, False):
    y = plain(x, training=training).numpy()
    np.testing.assert_array_equal(fused(x, training=training), y.clip(0))


@pytest.mark.parametrize('activation', ['relu', 'celu', 'gelu'])
@pytest.mark.parametrize('pool_before_norm', [False, True])
def test_one_group_is_the_network_without_groups(activation, pool_before_norm):
  """Wherever the pooling is, and the activation that the norm applies."""
  networks = [
    resnet9.ResNet9(
      channels=[4, 4, 4, 4],
      activation=activation,
      norm_group_size=size,
      pool_before_norm=pool_before_norm,
    )
    for size in (0, 6)
  ]
  networks[1].set_weights(networks[0].get_weights())
  images = tf.constant(RNG.normal(size=(6, 32, 32, 3)), tf.float32)
  one, other = (net(images)['3'] for net in networks)
  np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
  one, other = (net(images, training=True)['3'] for net in networks)
  np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_one_group_is_keras_norm():
  x = tf.constant(RNG.normal(size=(8, 3, 3, 2)), tf.float32)
  ghost = ghost_batch_norm.GhostBatchNormalization(8, momentum=0.9)
  keras = tf_keras.layers.BatchNormalization(momentum=0.9)
  np.testing.assert_array_equal(
    ghost(x, training=True), keras(x, training=True)
  )
  for ours, theirs in zip(ghost.weights, keras.weights, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_ghost_norm_keeps_types_and_refuses_what_it_cannot_divide():
  policy = tf_keras.mixed_precision.Policy('mixed_bfloat16')
  ghost = ghost_batch_norm.GhostBatchNormalization(2, dtype=policy)
  assert ghost(tf.ones([4, 2, 2, 1]), training=True).dtype == tf.bfloat16
  assert {weight.dtype for weight in ghost.weights} == {tf.float32}
  with pytest.raises(ValueError, match=r'5 images cannot be .* groups of 2'):
    ghost(tf.ones([5, 2, 2, 1]), training=True)
  assert ghost.get_config()['group_size'] == 2


def test_frozen_norm_without_training_uses_the_moving_statistics():
  ghost = ghost_batch_norm.GhostBatchNormalization(2, trainable=False)
  x = tf.constant([[[[2.0]]], [[[4.0]]]])
  np.testing.assert_allclose(ghost(x, training=True), x, rtol=1e-3)


# The network's other options.


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_celu_and_its_gradient(dtype):
  x = tf.cast(tf.linspace(-3.0, 3.0, 101), dtype)
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = activations.celu(x)
  exact = x.numpy().astype(np.float64)
  below = np.minimum(exact, 0) / 0.3
  tolerance = {'float32': 1e-6, 'bfloat16': 4e-3}[dtype]
  wanted = np.maximum(exact, 0) + 0.3 * np.expm1(below)
  slope = tape.gradient(y, x)
  assert np.min(slope) >= 0
  for value, expected in [(y, wanted), (slope, np.exp(below))]:
    assert value.dtype == dtype
    np.testing.assert_allclose(
      tf.cast(value, tf.float32), expected, rtol=tolerance, atol=tolerance
    )


# Training.


def numpy_sgd(rates, gradients, weight, lr_multiplier, decay):
  """PyTorch's update, in float64, with a rate of its own for each step."""
  velocity, path = 0.0, [weight]
  for rate, gradient in zip(rates, gradients, strict=True):
    rate = rate * lr_multiplier
    gradient = gradient + decay * weight
    velocity = 0.9 * velocity + rate * gradient
    weight = weight - (rate * gradient + 0.9 * velocity)
    path.append(weight)
  return path


def test_groups_have_rates_and_decays_of_their_own():
  groups = [
    {
      'pattern': 'beta$',
      'lr_multiplier': 64,
      'weight_decay_multiplier': 1 / 64,
    },
    {'pattern': 'bn', 'lr_multiplier': 2.0, 'weight_decay_multiplier': 0.0},
  ]
  optimizer = sgd.SGDCoupledDecay(
    0.0, momentum=0.9, nesterov=True, weight_decay=0.05, lr_groups=groups
  )
  rates, gradients = [0.01, 0.03, 0.02], [[0.5, -2.0], [1.0, 0.0], [-1.0, 1.0]]
  for name, multiplier, decay in [
    ('a_bn/beta', 64, 0.05 / 64),
    ('a_bn/gamma', 2, 0.0),
    ('a_conv/kernel', 1, 0.05),
    ('beta_conv/kernel', 1, 0.05),
  ]:
    start = np.array([1.0, -3.0])
    weight = tf.Variable(start, dtype=tf.float32, name=name)
    for rate, gradient in zip(rates, gradients, strict=True):
      optimizer.learning_rate = rate
      optimizer.apply_gradients([(tf.constant(gradient), weight)])
    expected = numpy_sgd(rates, np.array(gradients), start, multiplier, decay)
    np.testing.assert_allclose(weight, expected[-1], rtol=1e-5, err_msg=name)
  again = sgd.SGDCoupledDecay.from_config(optimizer.get_config())
  assert again.get_config() == optimizer.get_config()


def test_label_smoothing_is_the_originals():
  """(1 − s) · cross entropy + s · mean over classes of −log p, s = 0.2."""
  params = exp_factory.get_exp_config('small_images')
  params.task.losses.label_smoothing, params.task.losses.one_hot = 0.2, True
  task = task_factory.get_task(params.task)
  logits, labels = RNG.normal(0, 3, size=(7, 10)), RNG.integers(0, 10, 7)
  log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
  expected = -0.8 * log_p[range(7), labels] - 0.2 * log_p.mean(1)
  loss = task.build_losses(
    tf.one_hot(labels, 10), tf.constant(logits, tf.float32)
  )
  np.testing.assert_allclose(loss, expected.mean(), rtol=1e-6)


def small_model():
  tf_keras.utils.set_random_seed(1)
  layers = tf_keras.layers
  return tf_keras.Sequential(
    [
      layers.Dense(3, input_shape=[2]),
      layers.BatchNormalization(momentum=0.5),
      layers.Dense(1),
    ]
  )


def train_step(model, optimizer):
  x = tf.constant(RNG.normal(size=(6, 2)), tf.float32)
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean(model(x, training=True) ** 2)
  variables = model.trainable_variables
  gradients = tape.gradient(loss, variables)
  optimizer.apply_gradients(zip(gradients, variables, strict=True))


def weights_of(model):
  return [weight.numpy().astype(np.float64) for weight in model.variables]


@pytest.mark.parametrize('scaled', [False, True])
def test_averages_follow_the_recurrence(scaled):
  model = small_model()
  inner = tf_keras.optimizers.legacy.SGD(0.1)
  if scaled:
    inner = tf_keras.mixed_precision.LossScaleOptimizer(
      inner, dynamic=False, initial_scale=1
    )
  optimizer = moving_average.MovingAverage(inner, average_decay=0.9, interval=3)
  optimizer.shadow_copy(model)
  model.layers[0].bias.assign([5.0, 6.0, 7.0])
  optimizer.reset()
  expected, factor = weights_of(model), 0.9**3
  for step in range(1, 9):
    train_step(model, optimizer)
    if step in (1, 4, 7):
      expected = [
        factor * average + (1 - factor) * weight
        for average, weight in zip(expected, weights_of(model), strict=True)
      ]
  assert len(expected) == 4 + 4  # With batch norm's two statistics.
  before = [weight.numpy() for weight in model.variables]
  optimizer.swap_weights()
  for ours, wanted in zip(weights_of(model), expected, strict=True):
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)
  optimizer.swap_weights()
  for weight, kept in zip(model.variables, before, strict=True):
    np.testing.assert_array_equal(weight, kept)


def test_the_rate_is_that_of_the_scaled_optimizer():
  """Garden's trainer asks for it after each loop."""
  schedule = lr_schedule.PiecewiseLinear([0, 2], [0.0, 1.0], 4)
  scaled = tf_keras.mixed_precision.LossScaleOptimizer(
    sgd.SGDCoupledDecay(schedule), dynamic=False, initial_scale=1
  )
  optimizer = moving_average.MovingAverage(scaled)
  assert float(optimizer.learning_rate(3)) == 0.5
  optimizer.learning_rate = 0.25
  assert float(optimizer.lr) == float(scaled.inner_optimizer.lr) == 0.25


def test_average_config_round_trip():
  inner = sgd.SGDCoupledDecay(0.1, weight_decay=0.5)
  config = moving_average.MovingAverage(inner, 0.9, interval=3).get_config()
  again = moving_average.MovingAverage.from_config(dict(config)).get_config()
  assert (again['average_decay'], again['interval']) == (0.9, 3)
  assert again['optimizer']['config'] == config['optimizer']['config']


def steps_of(shapes_dir, *bindings):
  """Returns the head's kernel after five steps, without a graph."""
  params = tiny.config(shapes_dir, bindings)
  tf_keras.utils.set_random_seed(0)
  task = task_factory.get_task(params.task)
  model = task.build_model()
  task.initialize(model)
  optimizer = task.create_optimizer(params.trainer.optimizer_config)
  if isinstance(optimizer, moving_average.MovingAverage):
    optimizer.shadow_copy(model)
  batches = task.build_inputs(params.task.train_data)
  for batch in itertools.islice(batches, 5):
    task.train_step(batch, model, optimizer)
  if isinstance(optimizer, moving_average.MovingAverage):
    optimizer.swap_weights()
  return model.get_layer('linear').kernel.numpy()


@pytest.fixture(scope='module')
def steps_of_the_base(shapes_dir):
  return steps_of(shapes_dir)


@pytest.mark.parametrize(
  'bindings',
  [
    ["resnet9.first_layer = 'whitening'"],
    ['resnet9.pool_before_norm = True'],
    ["norm_activation.activation = 'celu'"],
    ['resnet9.norm_group_size = 10'],
    ['resnet9.norm_scale = False'],
    ['head.logit_scale = 0.0625'],
    ['losses.label_smoothing = 0.2'],
    [
      'sgd_coupled_decay.lr_groups = '
      "[{'pattern': 'beta$', 'lr_multiplier': 64.0}]"
    ],
    [
      'small_images.average = @moving_average()',
      'moving_average.average_decay = 0.9',
      'moving_average.interval = 2',
    ],
    ['triangular.final_learning_rate = 0.1', 'triangular.flat_epochs = 1'],
    ['crop.stratified = True', 'flip.stratified = True'],
  ],
  ids=lambda bindings: bindings[0].split(' ')[0],
)
def test_each_technique_works_alone(shapes_dir, steps_of_the_base, bindings):
  """And makes a difference."""
  kernel = steps_of(shapes_dir, *bindings)
  assert np.isfinite(kernel).all()
  assert np.any(kernel != steps_of_the_base)


# Evaluation.


class Lookup(tf_keras.Model):
  """Logits that depend on the left upper pixel of an image alone."""

  def call(self, images, training=False):
    return images[:, 0, 0, :1] * tf.constant([[1.0, -1.0]])


def test_mirror_takes_the_mean_of_both_logits(shapes_dir):
  flag = "evaluation.views = ['mirror']"
  params = tiny.config(shapes_dir, [flag])
  task = task_factory.get_task(params.task)
  metrics = task.build_metrics(training=False)
  images = np.zeros([4, 2, 2, 3], np.float32)
  # Left and right; the class is 0 where the value, or their sum, is above 0.
  images[:, 0, 0, 0], images[:, 0, 1, 0] = [3, 3, -3, -3], [-1, -5, 1, 5]
  batch = tf.constant(images), tf.constant([0, 0, 0, 0])
  task.validation_step(batch, Lookup(), metrics)
  results = {metric.name: float(metric.result()) for metric in metrics}
  assert results['accuracy'] == 0.5  # Images 0 and 1.
  assert results['accuracy_mirror'] == 0.5  # Images 0 and 3.
  task.validation_step((batch[0], tf.constant([0, 1, 1, 0])), Lookup(), metrics)
  results = {metric.name: float(metric.result()) for metric in metrics}
  # Of the second batch, 0 and 2 are right alone, and all four with mirrors.
  assert results['accuracy'] == (2 + 2) / 8
  assert results['accuracy_mirror'] == (2 + 4) / 8


# Crops and flips, spread evenly.


SPREAD = Crop(padding=2, stratified=True), Flip(stratified=True)


def spread_config(**overrides):
  return input_batches.train_config(
    global_batch_size=20,
    augmentations=input_batches.augmented_by(*SPREAD),
    mean_rgb=[0.0],
    stddev_rgb=[1.0],
    seed=0,
    **overrides,
  )


def numbered_images(count):
  """Images of 8×8 whose pixels are numbered, row by row."""
  images = np.tile(np.arange(64, dtype=np.uint8), count).reshape(-1, 8, 8, 1)
  info = ImageDataInfo('numbers train', count, (8, 8, 1), ['a'] * count)
  return ImageData(info, tf.constant(images), tf.range(count))


def epochs_of(dataset, steps):
  batches = itertools.islice(dataset.as_numpy_iterator(), steps)
  images, labels = map(np.concatenate, zip(*batches, strict=True))
  return images[..., 0], labels


def test_each_crop_is_as_frequent_and_half_of_the_images_flip():
  dataset = classification_input.build(numbered_images(200), spread_config())
  images, labels = epochs_of(dataset, 2 * 10)
  flips = images[:, 4, 3] > images[:, 4, 4]
  y, x = np.divmod(np.minimum(images[:, 4, 3], images[:, 4, 4]).astype(int), 8)
  crops = 5 * (y - 2) + x - 1
  for half in (slice(200), slice(200, 400)):
    np.testing.assert_array_equal(np.bincount(crops[half]), np.full(25, 8))
    assert flips[half].sum() == 100
  # Anew for each epoch, and flips without regard to the crops.
  of_image = np.zeros([2, 200], int)
  of_image[np.repeat([0, 1], 200), labels] = 2 * crops + flips
  assert (of_image[0] == of_image[1]).sum() < 20
  joint = np.bincount(of_image[0], minlength=50)
  assert (joint > 0).sum() > 45
  assert set(joint) != {4}


def test_counts_of_a_set_that_cannot_be_divided_differ_by_one():
  steps = Crop(stratified=True), Flip(stratified=True)
  config = input_batches.train_config(
    augmentations=input_batches.augmented_by(*steps), seed=0
  )
  extra = set()
  for epoch in range(5):
    crops, flips = augmentation_choices.choose_for_epoch(
      config, epoch, tf.range(83), [32, 32]
    )
    y, x = crops.numpy().T
    counts = np.bincount(9 * y + x, minlength=81)
    assert sorted(counts)[-3:] == [1, 2, 2]
    extra |= set(np.flatnonzero(counts == 2))
    assert flips.numpy().sum() in (41, 42)
  assert len(extra) > 4


@pytest.mark.parametrize('start', [0, 3, 13])
def test_spread_choices_depend_on_epoch_and_step_alone(start):
  data = numbered_images(210)
  whole = classification_input.build(data, spread_config())
  images, labels = epochs_of(whole, 15)
  shares = []
  for worker in range(2):
    context = tf.distribute.InputContext(2, worker, 2)
    config = spread_config(preprocess_on_device=True)
    share = classification_input.build(data, config, context, start)
    shares.append(
      share.map(
        lambda batch, labels: (
          preprocessing.apply(
            tf.gather(data.images, batch.images),
            spread_config(),
            batch.choices,
          ),
          labels,
        )
      )
    )
  joined = tf.data.Dataset.zip(*shares).map(
    lambda a, b: tf.nest.map_structure(lambda *p: tf.concat(p, 0), a, b)
  )
  same_images, same_labels = epochs_of(joined, 15 - start)
  np.testing.assert_array_equal(same_images, images[20 * start :])
  np.testing.assert_array_equal(same_labels, labels[20 * start :])


# What a config may not say.


@pytest.mark.parametrize(
  ('binding', 'message'),
  [
    (
      'resnet9.norm_group_size = 7',
      '=7 does not divide the batch of 30 images',
    ),
    (
      'triangular.flat_epochs = 1',
      'triangular.flat_epochs=1 would train at a rate of 0; set ',
    ),
    (
      'moving_average.interval = 5',
      r'moving_average.interval \(command line\) has no effect: .* not made of'
      r' @moving_average\(\)',
    ),
    (
      "sgd_coupled_decay.lr_groups = [{'lr_multiplier': 2.0}]",
      r"lr_groups\[0\].pattern='' must be a regular expression",
    ),
    (
      "sgd_coupled_decay.exclude_from_weight_decay = ['(']",
      r"exclude_from_weight_decay.*=\['\('\] must be a list, each a regular",
    ),
    (
      "sgd_coupled_decay.lr_groups = [{'patern': 'a'}]",
      r"lr_groups.*: 'patern' is unknown; there are pattern, lr_multiplier",
    ),
    (
      "sgd_coupled_decay.lr_groups = [{'pattern': 'a', 'lr_multiplier': '2'}]",
      r"lr_groups\[0\].lr_multiplier='2' is str, but must be float",
    ),
    (
      "sgd_coupled_decay.lr_groups = [{'pattern': 'a', 'lr_multiplier': -2.0}]",
      r'lr_groups\[0\].lr_multiplier=-2.0 must be at least 0',
    ),
  ],
)
def test_a_mistake_is_named(shapes_dir, binding, message):
  with pytest.raises(UserError, match=message):
    tiny.config(shapes_dir, [binding])


def test_a_tail_is_part_of_the_length(shapes_dir):
  """The peak at epoch 1 needs room before a tail of one epoch."""
  tail = ['triangular.final_learning_rate = 0.1', 'triangular.flat_epochs = 1']
  with pytest.raises(
    UserError, match='peak_epoch=1 must be less than the 2 ep'
  ):
    tiny.config(shapes_dir, tail, 'trainer.epochs=2')
  trainer = tiny.config(shapes_dir, tail, 'trainer.epochs=4').trainer
  rate = trainer.optimizer_config.learning_rate.triangular
  assert (trainer.train_steps, rate.epochs, rate.steps_per_epoch) == (12, 4, 3)


@pytest.mark.parametrize(
  'setting',
  [
    # As PyTorch has it.
    "lr_groups = [{'pattern': 'bias$', 'lr_multiplier': 64.0}]",
    "exclude_from_weight_decay = ['bias$']",
  ],
)
def test_a_pattern_that_finds_nothing_is_named(shapes_dir, tmp_path, setting):
  message = (
    r"'bias\$' finds no variable that is trained; correct it or leave it"
  )
  with pytest.raises(UserError, match=message):
    tiny.run(shapes_dir, tmp_path / 'run', [f'sgd_coupled_decay.{setting}'])
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
  ('override', 'message'),
  [
    ('trainer.best_checkpoint_eval_metric=accuracy_mirror', 'must be one of'),
    (
      'task.losses.label_smoothing=0.2',
      r'label_smoothing=0\.2 needs task\.losses\.one_hot=True \(gin',
    ),
    (
      'task.losses.label_smoothing=0.2,task.losses.one_hot=true,'
      'task.losses.use_binary_cross_entropy=true',
      'label_smoothing=0.2 has no effect with',
    ),
    (
      'task.model.norm_activation.use_sync_bn=true,'
      'task.model.backbone.resnet9.norm_group_size=10',
      'exclude each other',
    ),
    (
      'runtime.num_logical_cpus=2,'
      'task.model.backbone.resnet9.norm_group_size=10',
      r'does not divide the batch of 30 images on 2 device\(s\)',
    ),
  ],
)
def test_an_override_that_cannot_work_is_named(shapes_dir, override, message):
  with pytest.raises(UserError, match=message):
    tiny.config(shapes_dir, override=override)


# Several replicas.


def train_on_two_replicas(results):
  """Puts beta, its average and the statistics after a step of two replicas."""
  (cpu,) = tf.config.list_physical_devices('CPU')
  two = [tf.config.LogicalDeviceConfiguration()] * 2
  tf.config.set_logical_device_configuration(cpu, two)
  strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
  x = np.float32([[1, 3, 5, 9], [2, 2, 0, 4]]).reshape(2, 4, 1, 1, 1)
  group = {
    'pattern': 'beta$',
    'lr_multiplier': 8,
    'weight_decay_multiplier': 0.0,
  }
  with strategy.scope():
    norm = ghost_batch_norm.GhostBatchNormalization(2, momentum=0.5)
    model = tf_keras.Sequential([tf_keras.Input([1, 1, 1]), norm])
    norm.beta.assign([1.0])
    inner = sgd.SGDCoupledDecay(0.5, weight_decay=0.1, lr_groups=[group])
    optimizer = moving_average.MovingAverage(inner, average_decay=0.5)
    optimizer.shadow_copy(model)
    batches = strategy.experimental_distribute_values_from_function(
      lambda context: tf.constant(x[context.replica_id_in_sync_group])
    )

    @tf.function
    def step(x):
      with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x, training=True)) / 8
      (gradient,) = tape.gradient(loss, [norm.beta])
      optimizer.apply_gradients([(gradient, norm.beta)])

    strategy.run(step, args=(batches,))
    trained = norm.beta.numpy()
    optimizer.swap_weights()
    weights = trained, norm.beta, norm.moving_mean, norm.moving_variance
    results.put([float(weight[0]) for weight in weights])


def test_replicas_share_groups_rates_and_averages():
  """Two replicas with two groups of two images each."""
  results = CONTEXT.SimpleQueue()
  process = CONTEXT.Process(target=train_on_two_replicas, args=(results,))
  process.start()
  process.join()
  assert process.exitcode == 0
  trained, beta, mean, variance = results.get()
  # The gradient of beta is 4 / 8 on either replica, and the sum of both 1.
  assert trained == 1 - 0.5 * 8
  assert beta == (1 + trained) / 2
  # Means of groups 2 and 7, 2 and 2; unbiased variances 2 and 8, 0 and 8.
  assert mean == 0.5 * 0 + 0.5 * (0.5 * (4.5 + 2) / 2)
  assert variance == 0.5 * 1 + 0.5 * (0.5 + 0.5 * (5 + 4) / 2)
