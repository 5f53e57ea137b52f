"""airbench's network, its layers and its initialisers."""

import math

import gin
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers import tiny
from official.core import exp_factory, task_factory
from official.vision.modeling.backbones import factory

from official_ext import registry_imports  # noqa: F401
from official_ext.configs import validation
from official_ext.configs.backbones import Backbone
from official_ext.configs.image_classification import NormActivation
from official_ext.configuration import gin_config
from official_ext.errors import UserError
from official_ext.modeling import classification_model
from official_ext.modeling.backbones.airbench import Airbench, AirbenchConfig
from official_ext.modeling.layers.batch_norm import BatchNormalization
from official_ext.modeling.layers.fixed_whitening import FixedWhitening2D
from official_ext.ops import activations, initializers, placement
from official_ext.profiling import model_work
from official_ext.progress import epoch_table
from official_ext.reporting import diagram
from official_ext.serving import trained_model

RNG = np.random.default_rng(0)
SMALL = [4, 8, 12]
OF_96 = {'channels': [128, 384, 512], 'depth': 3, 'residual': True}
TINY = (
  'small_images.network = @airbench()',
  f'airbench.channels = {SMALL}',
  'airbench.whitening_images = 40',
  "norm_activation.activation = 'gelu'",
  'norm_activation.norm_epsilon = 1e-12',
)
# Those of `tiny` that the network of another kind would leave without effect.
BINDINGS = [b for b in tiny.BINDINGS if 'resnet9' not in b]


@pytest.fixture
def small(monkeypatch):
  monkeypatch.setattr(tiny, 'BINDINGS', [*BINDINGS, *TINY])


# The network.


def test_endpoints_are_keyed_by_level():
  backbone = Airbench(activation='gelu')
  outputs = backbone(tf_keras.Input([32, 32, 3]))
  assert {level: tuple(x.shape) for level, x in outputs.items()} == {
    '1': (None, 15, 15, 64),
    '2': (None, 7, 7, 256),
    '3': (None, 3, 3, 256),
  }
  for level, shape in backbone.output_specs.items():
    assert outputs[level].shape.as_list() == shape.as_list()


@pytest.mark.parametrize(
  ('size', 'padding', 'sides'),
  [
    ((9, 9, 1), 'valid', [4, 2, 1]),
    ((8, 8, 3), 'same', [4, 2, 1]),
    ((40, 24, 3), 'same', [20, 10, 5]),
  ],
)
def test_other_input_sizes(size, padding, sides):
  config = AirbenchConfig(channels=SMALL, whitening_padding=padding)
  assert config.least_side == (8 if padding == 'same' else 9)
  specs = tf_keras.layers.InputSpec(shape=[None, *size])
  backbone = Airbench(specs, channels=SMALL, whitening_padding=padding)
  heights = [backbone.output_specs[level][1] for level in '123']
  assert heights == sides


@pytest.mark.parametrize(
  ('options', 'parameters', 'macs'),
  [
    # By hand: 118.1 and 452 million multiply-adds are the original's figures.
    ({}, 1_971_352, 118_147_360),
    (OF_96, 9_915_416, 451_967_264),
  ],
)
def test_parameters_and_multiply_adds(options, parameters, macs):
  model = classification_model.ClassificationModel(Airbench(**options), 10)
  trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
  assert trained == parameters
  assert model_work.count_macs(model) == macs


def test_the_layers_are_the_originals_in_order():
  model = classification_model.ClassificationModel(
    Airbench(channels=SMALL, activation='gelu'), 5, logit_scale=0.5
  )
  words = [word for block in diagram.blocks(model) for word in block.words]
  norm = ['batch norm', 'gelu']
  expected = ['normalised images', 'whitening 2×2, 24, fixed', 'gelu']
  for filters in SMALL:
    conv = f'conv 3×3, {filters}'
    expected += [conv, 'max pool 2×2', *norm, conv, *norm]
  assert words == [*expected, 'max pool 3×3', 'flatten', 'dense, 5', '× 0.5']


def test_a_residual_group_is_that_of_the_96_percent():
  """The last convolution has no activation of its own before the sum."""
  specs = tf_keras.layers.InputSpec(shape=[None, 12, 12, 3])
  options = {'depth': 3, 'residual': True, 'activation': 'gelu'}
  backbone = Airbench(specs, channels=SMALL, **options)
  x = tf.constant(RNG.normal(size=[4, 12, 12, 3]), tf.float32)
  for weight in backbone.weights:
    if 'moving' not in weight.name:
      weight.assign(RNG.normal(size=weight.shape) / 4)
  sub = tf_keras.Model(backbone.input, backbone.get_layer('group1_1_bn').output)
  first = tf.nn.gelu(sub(x))

  def conv_bn(x, place):
    for kind in ('conv', 'bn'):
      x = backbone.get_layer(f'group1_{place}_{kind}')(x)
    return x

  last = conv_bn(tf.nn.gelu(conv_bn(first, 2)), 3)
  expected = tf.nn.gelu(first + last)
  np.testing.assert_allclose(backbone(x)['1'], expected, atol=1e-5)


def test_config_round_trip_and_gardens_factory():
  config = Backbone(type='airbench')
  config.override({'airbench': {'channels': SMALL, 'depth': 3}})
  backbone = factory.build_backbone(
    tf_keras.layers.InputSpec(shape=[None, 32, 32, 3]),
    config,
    NormActivation(activation='gelu', norm_epsilon=1e-12),
  )
  again = Airbench.from_config(backbone.get_config())
  assert again.get_config() == backbone.get_config()
  assert again.get_config()['channels'] == SMALL
  again.set_weights(backbone.get_weights())
  x = tf.constant(RNG.normal(size=[2, 32, 32, 3]), tf.float32)
  np.testing.assert_array_equal(again(x)['3'], backbone(x)['3'])
  backbone.to_json()


def test_every_parameter_gets_a_gradient_and_the_filters_none():
  backbone = Airbench(channels=SMALL, depth=3, residual=True, activation='gelu')
  model = classification_model.ClassificationModel(backbone, 5)
  x = tf.constant(RNG.normal(size=[4, 32, 32, 3]), tf.float32)
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(model(x, training=True) ** 2)
  names = [v.name for v in model.trainable_variables]
  assert not any('gamma' in name for name in names)
  assert [name for name in names if 'whitening' in name] == ['whitening/bias:0']
  gradients = tape.gradient(loss, model.trainable_variables)
  for name, gradient in zip(names, gradients, strict=True):
    assert np.abs(gradient.numpy()).max() > 0, name


def test_the_biases_of_the_first_layer_begin_as_asked_for():
  tf_keras.utils.set_random_seed(1)
  bias = Airbench(channels=SMALL).get_layer('whitening').bias.numpy()
  assert 0.8 / np.sqrt(12) < np.abs(bias).max() < 1 / np.sqrt(12)
  zeros = Airbench(channels=SMALL, whitening_bias='zeros')
  np.testing.assert_array_equal(zeros.get_layer('whitening').bias, np.zeros(24))


# Its activation.


@pytest.mark.parametrize('kind', [tf.float32, tf.bfloat16])
def test_gelu_is_the_exact_one(kind):
  x = tf.cast(tf.linspace(-6.0, 6.0, 301), kind)
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = activations.layer('gelu').activation(x)
  exact = tf.cast(x, tf.float64).numpy()
  normal = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in exact])
  density = np.exp(-(exact**2) / 2) / math.sqrt(2 * math.pi)
  tolerance = 2e-6 if kind == tf.float32 else 5e-3
  results = y, tape.gradient(y, x)
  expected = exact * normal, normal + exact * density
  for value, wanted in zip(results, expected, strict=True):
    assert value.dtype == kind
    np.testing.assert_allclose(
      tf.cast(value, tf.float64), wanted, rtol=tolerance, atol=tolerance
    )


def test_gelu_is_made_of_what_tflite_and_onnx_have():
  function = tf.function(activations.gelu, autograph=False)
  concrete = function.get_concrete_function(tf.TensorSpec([2, 3]))
  kinds = {operation.type for operation in concrete.graph.get_operations()}
  assert 'Erf' in kinds
  assert 'Erfc' not in kinds
  # An operation that TFLite does not have fails here.
  converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
  assert converter.convert()


def test_an_accelerator_computes_the_same():
  """By other operations where XLA compiles; maps of odd sizes are cut."""
  specs = tf_keras.layers.InputSpec(shape=[None, 20, 20, 3])
  x = tf.constant(RNG.normal(size=[4, 20, 20, 3]), tf.float32)
  options = {'depth': 1, 'activation': 'gelu', 'norm_epsilon': 1e-12}
  backbone = Airbench(specs, channels=SMALL, **options)

  def step(x):
    with tf.GradientTape() as tape:
      y = backbone(x, training=True)['3']
      loss = tf.reduce_sum(y**2)
    return y, *tape.gradient(loss, backbone.trainable_variables)

  here = step(x)
  with placement.as_on_accelerator():
    there = tf.function(step, jit_compile=True, autograph=False)(x)
  for one, other in zip(here, there, strict=True):
    scale = np.abs(one).max()
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-3 * scale)


# Its initialisers.


def test_dirac_filters_hand_their_input_on():
  x = tf.constant(RNG.normal(size=[2, 5, 6, 4]), tf.float32)
  for filters in (3, 4, 7):
    conv = tf_keras.layers.Conv2D(
      filters, 3, padding='same', kernel_initializer=initializers.get('dirac')
    )
    count = min(filters, 4)
    np.testing.assert_array_equal(conv(x)[..., :count], x[..., :count])
  rest = conv.kernel.numpy()[..., 4:]
  bound = 1 / np.sqrt(3 * 3 * 4)
  assert 0.9 * bound < np.abs(rest).max() <= bound


def test_dirac_of_an_even_window_and_of_a_matrix_is_pytorchs():
  kernel = initializers.get('dirac')([2, 4, 2, 2]).numpy()
  assert np.argwhere(kernel).tolist() == [[1, 2, 0, 0], [1, 2, 1, 1]]
  matrix = initializers.get('dirac')([3, 2]).numpy()
  np.testing.assert_array_equal(matrix, np.eye(3, 2))


def test_unit_std_is_pytorchs_default_of_another_size():
  values = initializers.get('torch_uniform_unit_std')([64, 10]).numpy()
  assert values.std(ddof=1) == pytest.approx(1, rel=1e-5)
  # Uniform: its ends are √3 deviations from the middle, about.
  assert 1.6 < np.abs(values).max() < 1.8


def test_initialisers_are_by_name_in_any_network():
  gin_config.parse(
    [],
    [
      "resnet9.kernel_initializer = 'dirac'",
      'resnet9.channels = [4, 4, 4, 4]',
      "head.kernel_initializer = 'torch_uniform_unit_std'",
    ],
  )
  task = task_factory.get_task(exp_factory.get_exp_config('small_images').task)
  model = task.build_model()
  kernel = model.backbone.get_layer('layer2_conv').kernel.numpy()
  np.testing.assert_array_equal(kernel[1, 1], np.eye(4))
  assert np.count_nonzero(kernel) == 4
  head = model.get_layer('linear').kernel.numpy()
  assert head.std(ddof=1) == pytest.approx(1, rel=1e-5)


# Its first layer.


def test_the_filters_decorrelate_the_patches_of_the_first_images(
  shapes_dir, small
):
  task = task_factory.get_task(tiny.config(shapes_dir).task)
  model = task.build_model()
  layer = model.backbone.get_layer('whitening')
  x = tf.constant(RNG.normal(size=[1, 4, 4, 3]), tf.float32)
  bias = layer.bias.numpy()
  patches = np.stack(
    [x.numpy()[:, i : i + 3, j : j + 3] for i in (0, 1) for j in (0, 1)], 3
  ).reshape(1, 3, 3, 12)
  both = np.concatenate([patches, -patches], -1)
  np.testing.assert_allclose(layer(x), both + bias, atol=1e-6)

  task.initialize(model)
  params = task.task_config.train_data
  images = task.data.load(params).images[:40].numpy()
  images = (images - np.array(params.mean_rgb)) / np.array(params.stddev_rgb)
  white = layer(tf.constant(images, tf.float32)).numpy() - bias
  white = white.reshape(-1, 24).astype(np.float64)
  np.testing.assert_allclose(white[:, 12:], -white[:, :12], atol=1e-4)
  moment = white[:, :12].T @ white[:, :12] / (len(white) - 1)
  # λ / (λ + ε), of patches cut out here.
  patches = np.stack(
    [images[:, i : i + 31, j : j + 31] for i in (0, 1) for j in (0, 1)], 3
  ).reshape(-1, 12)
  eigenvalues = np.linalg.eigvalsh(patches.T @ patches / (len(patches) - 1))
  expected = np.diag((eigenvalues / (eigenvalues + 5e-4))[::-1])
  np.testing.assert_allclose(moment, expected, atol=1e-3)


def test_the_first_layer_without_negatives_or_bias_and_its_config():
  layer = FixedWhitening2D(3, negatives=False, use_bias=False, padding='same')
  x = tf.constant(RNG.normal(size=[1, 5, 5, 2]), tf.float32)
  assert layer(x).shape == [1, 5, 5, 18]
  np.testing.assert_array_equal(layer(x)[..., 8:10], x)  # The centre.
  assert layer.trainable_variables == []
  again = FixedWhitening2D.from_config(layer.get_config())
  np.testing.assert_array_equal(again(x), layer(x))


def test_the_first_layer_computes_in_float32():
  tf_keras.mixed_precision.set_global_policy('mixed_bfloat16')
  backbone = Airbench(channels=SMALL, activation='gelu')
  x = tf.constant(RNG.normal(size=[2, 32, 32, 3]), tf.float32)
  assert backbone.get_layer('whitening')(x).dtype == tf.float32
  assert backbone(x)['3'].dtype == tf.bfloat16


# Its batch norm.


@pytest.mark.parametrize('kind', [tf.float32, tf.bfloat16])
def test_batch_norm_takes_a_small_epsilon_as_it_is(kind):
  """Of values so small that Keras' 1.001e-5 would halve them."""
  x = RNG.normal(1, 3, size=[6, 4, 5, 2]) * 1e-3
  x = tf.cast(x, kind)
  policy = 'float32' if kind == tf.float32 else 'mixed_bfloat16'
  norm = BatchNormalization(
    momentum=0.6, epsilon=1e-12, scale=False, dtype=policy
  )
  y = norm(x, training=True)
  assert y.dtype == kind
  exact = tf.cast(x, tf.float64).numpy()
  mean, variance = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
  expected = (exact - mean) / np.sqrt(variance + 1e-12)
  tolerance = 1e-3 if kind == tf.float32 else 2e-2
  np.testing.assert_allclose(tf.cast(y, tf.float64), expected, atol=tolerance)
  np.testing.assert_allclose(norm.moving_mean, 0.4 * mean, rtol=1e-3)
  unbiased = variance * 120 / 119
  np.testing.assert_allclose(
    norm.moving_variance, 0.6 + 0.4 * unbiased, rtol=1e-5
  )
  norm.moving_mean.assign(mean), norm.moving_variance.assign(variance)
  evaluated = tf.cast(norm(x), tf.float64)
  np.testing.assert_allclose(evaluated, expected, atol=tolerance)


def test_batch_norm_is_keras_own_but_for_the_epsilon():
  x = tf.constant(RNG.normal(2, 3, size=[6, 4, 5, 3]), tf.float32)
  options = {'momentum': 0.7, 'epsilon': 1e-3}
  ours = BatchNormalization(**options)
  keras = tf_keras.layers.BatchNormalization(**options)
  for norm in (ours, keras):
    norm.build(x.shape)
    norm.gamma.assign([0.5, 1.0, 2.0])
    norm.beta.assign([0.0, -1.0, 3.0])
  for training in (True, False):
    gradients = []
    for norm in (ours, keras):
      with tf.GradientTape() as tape:
        tape.watch(x)
        y = norm(x, training=training)
        loss = tf.reduce_sum(y**3)
      gradients.append([y, *tape.gradient(loss, [x, norm.gamma, norm.beta])])
    for one, other in zip(*gradients, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
  for one, other in zip(ours.weights, keras.weights, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-6)
  ours.trainable = False
  theirs = keras(x)
  np.testing.assert_allclose(
    ours(x, training=True), theirs, rtol=1e-5, atol=1e-6
  )


# What a config may not say.


@pytest.mark.parametrize(
  ('binding', 'message'),
  [
    ('airbench.channels = [64, 256]', 'must be three numbers of at least 1'),
    ('airbench.depth = 0', r'depth .*=0 must be at least 1'),
    (
      'airbench.residual = True\nairbench.depth = 1',
      r'airbench\.residual=True needs a convolution behind the first, but .*'
      r'airbench\.depth=1; use at least 2',
    ),
    ("airbench.whitening_padding = 'full'", 'must be one of valid, same'),
    ('airbench.whitening_epsilon = 0.0', 'must be more than 0'),
  ],
)
def test_a_mistake_is_named(shapes_dir, small, binding, message):
  with pytest.raises(UserError, match=message):
    tiny.config(shapes_dir, binding.split('\n'))


def test_images_that_are_too_small_are_refused():
  params = exp_factory.get_exp_config('small_images').task
  params.model.backbone = Backbone.choose(AirbenchConfig())
  params.train_data.augmentations = []
  arguments = params.train_data, 'train_data'
  validation.check_fits(*arguments, [9, 32, 3], params.model)
  message = 'airbench divides them by 8, so use at least 9 pixels a side'
  with pytest.raises(UserError, match=message):
    validation.check_fits(*arguments, [8, 32, 3], params.model)


def test_a_detector_needs_levels_of_half_the_size():
  for padding in ('valid', 'same'):
    gin.clear_config()
    lines = [
      'backbone.network = @airbench()',
      f"airbench.whitening_padding = '{padding}'",
    ]
    gin_config.parse([], lines)
    params = exp_factory.get_exp_config('resnet9_retinanet')
    params.task.init_checkpoint = None
    message = "use 'same'" if padding == 'valid' else 'needs filters'
    with pytest.raises(UserError, match=message):
      validation.check(params, 1)


# A training.


def test_six_views_are_in_the_table_and_not_in_what_is_loaded(
  shapes_dir, small, tmp_path
):
  """After a step with airbench's augmentation and an optimizer of today."""
  recipe = [
    'small_images.augmentations = [@crop(), @flip()]',
    'crop.padding = 2',
    'flip.alternating = True',
    "head.kernel_initializer = 'torch_uniform_unit_std'",
    "evaluation.views = ['mirror_translate']",
  ]
  tiny.run(shapes_dir, tmp_path, recipe, override='trainer.train_steps=1')
  (row,) = epoch_table.read(tmp_path / epoch_table.FILE_NAME)
  trained = trained_model.load_for_inference(str(tmp_path))
  data = trained.task.data.load(trained.params.task.validation_data)
  images = data.images.numpy()
  border = [(0, 0), (1, 1), (1, 1), (0, 0)]
  padded = np.pad(images, border, mode='reflect')
  plain, up_left, down_right = (
    trained.logits(x).numpy() + trained.logits(x[:, :, ::-1]).numpy()
    for x in (images, padded[:, :-2, :-2], padded[:, 2:, 2:])
  )
  classes = (plain / 4 + up_left / 8 + down_right / 8).argmax(-1)
  accuracy = np.mean(classes == data.labels)
  assert row['test_accuracy_mirror_translate'] == pytest.approx(accuracy)
  alone = np.mean(trained.logits(images).numpy().argmax(-1) == data.labels)
  assert row['test_accuracy'] == pytest.approx(alone)
