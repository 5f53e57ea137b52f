"""Activations by name: some of our own, and what Garden and Keras have."""

import math

import tensorflow as tf
import tf_keras
from official.modeling import tf_utils

from official_ext.ops import placement

# Those that a maximum commutes with.
NON_DECREASING = frozenset(
  {
    'celu',
    'elu',
    'leaky_relu',
    'linear',
    'relu',
    'relu6',
    'selu',
    'sigmoid',
    'tanh',
  }
)

# Of the ten-epoch recipe: `new_dawn.py` of
# https://github.com/davidcpage/cifar10-fast.
_CELU_ALPHA = 0.3


def celu(x: tf.Tensor) -> tf.Tensor:
  """Returns max(x, 0) + min(0, a · (exp(x / a) − 1)), a = 0.3.

  A ReLU with a smooth knee (https://arxiv.org/abs/1704.07483), equal to
  a · elu(x / a). Its slope does not jump at 0, as that of
  `tf_keras.activations.elu(x, alpha)` does.

  Args:
    x: A floating-point tensor.
  """
  if tf_keras.backend.is_keras_tensor(x):
    # A network is being built, where compiled functions need a layer.
    return tf_keras.layers.Activation(celu)(x)
  if placement.on_cpu() and x.dtype != tf.bfloat16:
    return _CELU_ALPHA * tf.nn.elu(x / _CELU_ALPHA)
  return _celu(x)


@tf.custom_gradient
def _celu(x: tf.Tensor) -> tf.Tensor:
  # TensorFlow's CPU kernel of ELU in bfloat16 is five times as slow as its
  # ReLU (512×32×32×64, two cores: 385 for 77 ms there and back); XLA's is not.
  forward, backward = _celu_forward, _celu_backward
  if not placement.on_cpu():
    forward, backward = forward.python_function, backward.python_function
  y = forward(x)
  return y, lambda dy: backward(y, dy)


@tf.function(jit_compile=True, autograph=False)
def _celu_forward(x: tf.Tensor) -> tf.Tensor:
  wide = tf.cast(x, tf.float32)
  return tf.cast(_CELU_ALPHA * tf.nn.elu(wide / _CELU_ALPHA), x.dtype)


@tf.function(jit_compile=True, autograph=False)
def _celu_backward(y: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
  """The slope is exp(x / a) = 1 + y / a below 0, and 1 above."""
  slope = 1 + tf.minimum(tf.cast(y, tf.float32), 0) / _CELU_ALPHA
  slope = tf.maximum(slope, 0)  # y may be rounded to less than -a.
  return tf.cast(tf.cast(dy, tf.float32) * slope, dy.dtype)


# Under its plain name, so that configs and Garden's backbones find it.
tf_keras.utils.get_custom_objects()['celu'] = celu


def gelu(x: tf.Tensor) -> tf.Tensor:
  """Returns x · Φ(x), Φ being the normal distribution's: the exact GELU.

  (https://arxiv.org/abs/1606.08415, equation 1.) `tf.nn.gelu` is made of erfc,
  which ONNX does not have.

  Args:
    x: float32, or a type of fewer bits; then it is computed in float32.
  """
  if tf_keras.backend.is_keras_tensor(x):
    return tf_keras.layers.Activation(gelu)(x)
  if placement.on_cpu() and x.dtype == tf.bfloat16:
    return _gelu(x)
  wide = tf.cast(x, tf.float32)
  # In this order TFLite knows it, too, which has no erf of its own.
  y = 0.5 * wide * (1 + tf.math.erf(wide * math.sqrt(0.5)))
  return tf.cast(y, x.dtype)


def _normal_cdf(x: tf.Tensor) -> tf.Tensor:
  return 0.5 * (1 + tf.math.erf(x * math.sqrt(0.5)))


@tf.custom_gradient
def _gelu(x: tf.Tensor) -> tf.Tensor:
  # Operation by operation, each over all of the memory, it takes TensorFlow's
  # CPU kernels three to five times as long as XLA's one loop (250×31×31×24, two
  # cores: 20 to 50 for 6 to 11 ms there and back; `tf.nn.gelu`: 70 to 80).
  return _gelu_forward(x), lambda dy: _gelu_backward(x, dy)


@tf.function(jit_compile=True, autograph=False)
def _gelu_forward(x: tf.Tensor) -> tf.Tensor:
  wide = tf.cast(x, tf.float32)
  return tf.cast(wide * _normal_cdf(wide), x.dtype)


@tf.function(jit_compile=True, autograph=False)
def _gelu_backward(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
  """The slope is Φ(x) + x · φ(x), φ being the density of Φ."""
  wide = tf.cast(x, tf.float32)
  density = tf.exp(-0.5 * tf.square(wide)) / math.sqrt(2 * math.pi)
  slope = _normal_cdf(wide) + wide * density
  return tf.cast(tf.cast(dy, tf.float32) * slope, dy.dtype)


def layer(name: str) -> tf_keras.layers.Layer:
  """Returns a layer of an activation.

  Args:
    name: As in configs; `is_known` says whether there is one.
  """
  if name.lower() == 'gelu':  # Garden would take TensorFlow's.
    return tf_keras.layers.Activation(gelu)
  return tf_utils.get_activation(name, use_keras_layer=True)


def is_known(name: str) -> bool:
  """Whether Garden's layers find an activation of that name."""
  try:
    layer(name)
  except ValueError:
    return False
  return True
