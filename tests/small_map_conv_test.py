"""The fast convolution against TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from official_ext.modeling.layers import small_map_conv

SHAPES = [(4, 4, 5, 7), (8, 8, 3, 2), (1, 2, 3, 4), (3, 5, 2, 3), (6, 3, 4, 4)]


def normal(shape, seed):
  return tf.random.stateless_normal(shape, seed=[seed, 0])


def with_gradients(convolve, x, kernel, dy):
  with tf.GradientTape() as tape:
    tape.watch([x, kernel])
    y = convolve(x, kernel)
  return y, *tape.gradient(y, [x, kernel], output_gradients=dy)


def plain(x, kernel):
  return tf.nn.conv2d(x, kernel, 1, 'SAME')


def check_like_plain(fast, height, width, c_in, c_out):
  x = normal([6, height, width, c_in], 1)
  kernel = normal([3, 3, c_in, c_out], 2)
  dy = normal([6, height, width, c_out], 3)
  for ours, theirs in zip(
    with_gradients(fast, x, kernel, dy),
    with_gradients(plain, x, kernel, dy),
    strict=True,
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('compile_it', [False, True])
def test_same_numbers_in_float32(shape, compile_it):
  height, width, c_in, c_out = shape
  fast = small_map_conv._convolve
  if compile_it:
    fast = tf.function(
      fast,
      input_signature=[
        tf.TensorSpec([None, height, width, c_in]),
        tf.TensorSpec([3, 3, c_in, c_out]),
      ],
    )
  check_like_plain(fast, *shape)


# Only bfloat16, whose rounding would hide a fault, is laid side by side.
@pytest.mark.parametrize('shape', SHAPES)
def test_images_side_by_side_are_convolved_to_the_same_numbers(shape):
  check_like_plain(small_map_conv._on_strip, *shape)


def layer(dtype, **kwargs):
  options = {'filters': 16, 'kernel_size': 3, 'padding': 'same'}
  return small_map_conv.SmallMapConv2D(
    **options | {'use_bias': False, 'dtype': dtype} | kwargs
  )


@pytest.mark.parametrize(
  ('size', 'dtype', 'kwargs', 'fast'),
  [
    (4, 'mixed_bfloat16', {}, True),
    (8, 'mixed_bfloat16', {}, True),
    (16, 'mixed_bfloat16', {}, False),
    (4, 'float32', {}, True),
    (8, 'float32', {}, True),
    (16, 'float32', {}, False),
    (4, 'float64', {}, False),
    (4, 'mixed_bfloat16', {'strides': 2}, False),
    (4, 'mixed_bfloat16', {'padding': 'valid'}, False),
    (4, 'mixed_bfloat16', {'kernel_size': 5}, False),
    (4, 'mixed_bfloat16', {'dilation_rate': 2}, False),
    (4, 'mixed_bfloat16', {'groups': 2}, False),
  ],
)
def test_the_fast_way_is_taken_where_it_pays(size, dtype, kwargs, fast):
  policy = tf_keras.mixed_precision.Policy(dtype)
  inputs = tf.zeros([2, size, size, 4], policy.compute_dtype)
  assert layer(policy, **kwargs)._suits(inputs) is fast


# Not beside Keras' bfloat16: processors without instructions for it also sum up
# in it.
@pytest.mark.parametrize('size', [4, 8])
def test_bfloat16_differs_by_its_rounding(size):
  conv = layer('mixed_bfloat16')
  conv.build([None, size, size, 32])
  x, kernel, dy = (
    tf.cast(values, tf.bfloat16)
    for values in (
      normal([8, size, size, 32], 4),
      conv.kernel,
      normal([8, size, size, 16], 5),
    )
  )
  conv.kernel.assign(tf.cast(kernel, tf.float32))
  with tf.GradientTape() as tape:
    tape.watch(x)
    y = conv(x)
  ours = y, *tape.gradient(y, [x, conv.kernel], output_gradients=dy)
  exact = with_gradients(
    plain, *(tf.cast(values, tf.float32) for values in (x, kernel, dy))
  )
  places = [0, 1, 2]
  if size > small_map_conv._STRIPS_UP_TO:
    # TensorFlow's own input gradient, to the bit.
    own = tf.nn.conv2d_transpose(dy, kernel, x.shape, 1, 'SAME')
    np.testing.assert_array_equal(ours[1], own)
    places.remove(1)
  for place in places:
    np.testing.assert_allclose(
      tf.cast(ours[place], tf.float32),
      exact[place],
      atol=0.01 * np.abs(exact[place]).max(),
    )


def test_the_layer_saves_as_keras_layers_do():
  config = layer('float32').get_config()
  again = small_map_conv.SmallMapConv2D.from_config(config)
  assert again.get_config() == config
