"""A 3×3 convolution that is fast on small feature maps on a CPU."""

import tensorflow as tf
import tf_keras

from official_ext.ops import placement

# Measured at batch 512 with TensorFlow 2.20 on two cores: up to this width the
# kernel's gradient is faster as matrix products, in bfloat16 with AMX (4×4,
# 512→512: 31 for 160 ms; 8×8, 256→512: 79 for 137 ms; but 16×16, 128→256: 180
# for 65 ms), and in float32 with AVX2 (300 for 530, and 650 for 750 ms).
_PRODUCTS_UP_TO = 8
# Up to this width the convolution is in bfloat16 faster on images laid side by
# side (4×4: 22 for 47 ms; but 8×8: 43 for 40 ms; in float32 420 for 190 ms):
# oneDNN's tiles of 16 positions do not seem to span two rows.
_STRIPS_UP_TO = 4


@tf_keras.utils.register_keras_serializable(package='official_ext')
class SmallMapConv2D(tf_keras.layers.Conv2D):
  """`Conv2D` with the same results to rounding, faster where maps are small.

  Only the order of the sums differs, and only for 3×3 convolutions in bfloat16
  or float32 of stride 1 with 'same' padding on maps up to 8 wide, on a machine
  without an accelerator. Everything else is Keras' own.
  """

  def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolves `[batch, height, width, channels]` with the kernel."""
    if self._suits(inputs):
      return _convolve(inputs, tf.cast(kernel, inputs.dtype))
    return super().convolution_op(inputs, kernel)

  def _suits(self, inputs: tf.Tensor) -> bool:
    return (
      inputs.dtype in (tf.bfloat16, tf.float32)
      and self.kernel_size == (3, 3)
      and self.strides == self.dilation_rate == (1, 1)
      and (self.padding, self.groups) == ('same', 1)
      and self.data_format == 'channels_last'
      and inputs.shape[1:].is_fully_defined()
      and 1 < inputs.shape[2] <= _PRODUCTS_UP_TO
      and placement.on_cpu()
    )


@tf.custom_gradient
def _convolve(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """Returns the convolution, and a function for its two gradients."""
  strips = x.dtype == tf.bfloat16 and x.shape[2] <= _STRIPS_UP_TO
  y = _on_strip(x, kernel) if strips else tf.nn.conv2d(x, kernel, 1, 'SAME')

  def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    if strips:
      dx = _on_strip(dy, tf.transpose(kernel[::-1, ::-1], [0, 1, 3, 2]))
    else:
      dx = tf.nn.conv2d_transpose(dy, kernel, tf.shape(x), 1, 'SAME')
    return dx, _kernel_gradient(x, dy)

  return y, gradient


def _rows_first(x: tf.Tensor) -> tf.Tensor:
  """Swaps batch and height, so that a range of rows is one block of memory."""
  return tf.transpose(x, [1, 0, 2, 3])


def _on_strip(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """Convolves all images as one, side by side with a zero column between."""
  height, width, channels = x.shape[1:]
  strip = tf.pad(_rows_first(x), [[0, 0], [0, 0], [0, 1], [0, 0]])
  strip = tf.reshape(strip, [1, height, -1, channels])
  y = tf.nn.conv2d(strip, kernel, 1, 'SAME')
  y = tf.reshape(y, [height, -1, width + 1, kernel.shape[-1]])
  return _rows_first(y[:, :, :width])


def _kernel_gradient(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
  """For each of the nine offsets, multiplies what overlaps."""
  x, dy = _rows_first(x), _rows_first(dy)
  height = x.shape[0]
  columns = [
    (x[:, :, :-1], dy[:, :, 1:]),
    (x, dy),
    (x[:, :, 1:], dy[:, :, :-1]),
  ]
  rows = [
    (slice(height - 1), slice(1, height)),
    (slice(height), slice(height)),
    (slice(1, height), slice(height - 1)),
  ]
  products = [
    tf.matmul(_flatten(a[i]), _flatten(b[j]), transpose_a=True)
    for i, j in rows
    for a, b in columns
  ]
  return tf.reshape(tf.stack(products), [3, 3, x.shape[-1], dy.shape[-1]])


def _flatten(x: tf.Tensor) -> tf.Tensor:
  """Returns one row a position."""
  return tf.reshape(x, [-1, x.shape[-1]])
