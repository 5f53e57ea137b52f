import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.vision.modeling.backbones import factory

from official_ext.configs import backbones, image_classification
from official_ext.modeling import classification_model
from official_ext.modeling.backbones import resnet9
from official_ext.ops import initializers

SMALL = [4, 8, 12, 16]


def test_endpoints_halve_and_are_keyed_by_level():
  backbone = resnet9.ResNet9()
  outputs = backbone(tf_keras.Input([32, 32, 3]))
  assert {level: tuple(x.shape) for level, x in outputs.items()} == {
    '1': (None, 16, 16, 128),
    '2': (None, 8, 8, 256),
    '3': (None, 4, 4, 512),
  }
  for level, shape in backbone.output_specs.items():
    assert outputs[level].shape.as_list() == shape.as_list()


@pytest.mark.parametrize('size', [(28, 28, 1), (64, 96, 3)])
def test_other_input_sizes(size):
  specs = tf_keras.layers.InputSpec(shape=[None, *size])
  backbone = resnet9.ResNet9(specs, channels=SMALL)
  assert backbone.output_specs['3'].as_list() == [
    None,
    size[0] // 8,
    size[1] // 8,
    16,
  ]


def test_parameter_counts():
  backbone = resnet9.ResNet9()
  model = classification_model.ClassificationModel(backbone, num_classes=10)
  count = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
  assert count == 6_573_120
  assert len(model.trainable_variables) == 8 * 3 + 1


@pytest.mark.parametrize(
  ('activation', 'pool_before_norm', 'order'),
  [
    ('relu', False, ['bn', 'pool', 'relu']),
    ('swish', False, ['bn', 'swish', 'pool']),
    ('celu', True, ['pool', 'bn', 'celu']),
    ('swish', True, ['pool', 'bn', 'swish']),
  ],
)
def test_the_layers_are_the_originals_in_order(
  activation, pool_before_norm, order
):
  """A max pool and a ReLU commute, so the cheaper order is the same network."""
  backbone = resnet9.ResNet9(
    channels=SMALL, activation=activation, pool_before_norm=pool_before_norm
  )
  kinds = [type(layer).__name__ for layer in backbone.layers[1:]]
  names = {'SmallMapConv2D': 'conv', 'BatchNormalization': 'bn'}
  names |= {'MaxPool2D': 'pool', 'Add': 'add', 'Activation': activation}
  kinds = [names.get(kind, activation) for kind in kinds]
  conv_bn = ['conv', 'bn', activation]
  pooled = ['conv', *order]
  residual = conv_bn * 2 + ['add']
  assert kinds == conv_bn + pooled + residual + pooled * 2 + residual
  for layer in backbone.layers:
    if isinstance(layer, tf_keras.layers.Conv2D):
      assert (layer.kernel_size, layer.strides) == ((3, 3), (1, 1))
      assert (layer.padding, layer.use_bias) == ('same', False)
    if isinstance(layer, tf_keras.layers.BatchNormalization):
      assert (layer.epsilon, layer.momentum) == (1e-5, 0.9)


def test_backbone_config_round_trip():
  config = {
    'channels': SMALL,
    'activation': 'swish',
    'kernel_initializer': 'he_uniform',
    'kernel_regularizer': None,
    'use_sync_bn': True,
    'norm_momentum': 0.5,
    'norm_epsilon': 0.1,
    'first_layer': 'whitening',
    'pool_before_norm': True,
    'norm_group_size': 0,
    'norm_scale': False,
  }
  backbone = resnet9.ResNet9(**config)
  assert backbone.get_config() == config
  again = resnet9.ResNet9.from_config(backbone.get_config())
  assert again.get_config() == config
  again.to_json()


def test_model_config_round_trip():
  backbone = resnet9.ResNet9(channels=SMALL)
  model = classification_model.ClassificationModel(
    backbone, 3, pooling='avg', use_bias=True, logit_scale=2.0
  )
  again = classification_model.ClassificationModel.from_config(
    model.get_config()
  )
  again.set_weights(model.get_weights())
  x = tf.random.stateless_normal([2, 32, 32, 3], seed=[1, 2])
  np.testing.assert_array_equal(model(x), again(x))
  assert again.checkpoint_items == {'backbone': backbone}


def test_garden_factory_builds_the_backbone_from_an_extended_one_of():
  config = backbones.Backbone(type='resnet9')
  config.override({'resnet9': {'channels': SMALL}})
  norm = image_classification.ImageClassificationModel().norm_activation
  backbone = factory.build_backbone(
    tf_keras.layers.InputSpec(shape=[None, 32, 32, 3]), config, norm
  )
  assert backbone.get_config()['channels'] == SMALL
  assert backbone.get_config()['norm_epsilon'] == 1e-5


def test_head_is_pool_dense_and_scale():
  backbone = resnet9.ResNet9(channels=SMALL)
  model = classification_model.ClassificationModel(backbone, 5)
  x = tf.random.stateless_normal([4, 32, 32, 3], seed=[3, 4])
  features = backbone(x)['3'].numpy().max(axis=(1, 2))
  kernel = model.get_layer('linear').kernel.numpy()
  np.testing.assert_allclose(
    model(x), 0.125 * features @ kernel, rtol=1e-5, atol=1e-6
  )


def test_logits_are_float32_under_mixed_precision():
  tf_keras.mixed_precision.set_global_policy('mixed_bfloat16')
  try:
    backbone = resnet9.ResNet9(channels=SMALL)
    model = classification_model.ClassificationModel(backbone, 5)
  finally:
    tf_keras.mixed_precision.set_global_policy('float32')
  x = tf.zeros([1, 32, 32, 3])
  assert backbone(x)['3'].dtype == tf.bfloat16
  assert model(x).dtype == tf.float32
  assert {v.dtype for v in model.trainable_variables} == {tf.float32}


def test_torch_uniform_is_uniform_within_one_over_the_root_of_fan_in():
  shape = [3, 3, 64, 128]
  bound = 1 / np.sqrt(3 * 3 * 64)
  values = initializers.get('torch_uniform')(shape).numpy()
  assert np.abs(values).max() <= bound
  assert np.abs(values).max() > 0.999 * bound
  np.testing.assert_allclose(values.std(), bound / np.sqrt(3), rtol=0.01)
  wider = initializers.get('he_uniform')(shape).numpy()
  np.testing.assert_allclose(
    np.abs(wider).max() / bound, np.sqrt(6), rtol=0.001
  )


def test_every_parameter_gets_a_gradient():
  backbone = resnet9.ResNet9(channels=SMALL)
  model = classification_model.ClassificationModel(backbone, 5)
  x = tf.random.stateless_normal([4, 32, 32, 3], seed=[5, 6])
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(model(x, training=True) ** 2)
  for variable, gradient in zip(
    model.trainable_variables,
    tape.gradient(loss, model.trainable_variables),
    strict=True,
  ):
    assert np.abs(gradient.numpy()).max() > 0, variable.name
