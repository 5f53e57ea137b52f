"""Images brought to another size, beside Pillow."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from official_ext.ops import resizing


@pytest.mark.parametrize('side', [8, 20, 24, 31, 32, 48])
def test_a_size_is_that_of_pillow(side):
  images = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
  images = images.astype(np.float32)
  resized = resizing.resize(tf.constant(images), (side, side))
  for image, ours in zip(images, resized.numpy(), strict=True):
    for channel in range(3):
      theirs = Image.fromarray(image[..., channel], 'F').resize(
        (side, side), Image.Resampling.BILINEAR
      )
      np.testing.assert_allclose(ours[..., channel], theirs, atol=2e-6)


def test_height_and_width_may_differ():
  images = np.random.default_rng(1).normal(size=(1, 20, 36, 1))
  images = images.astype(np.float32)
  theirs = Image.fromarray(images[0, ..., 0], 'F').resize(
    (14, 12), Image.Resampling.BILINEAR
  )
  ours = resizing.resize(tf.constant(images), (12, 14))
  np.testing.assert_allclose(ours[0, ..., 0], theirs, atol=2e-6)


def test_xla_compiles_it():
  images = tf.random.stateless_normal((2, 32, 32, 3), (0, 0))
  compiled = tf.function(resizing.resize, jit_compile=True)(images, (20, 20))
  np.testing.assert_allclose(
    compiled, resizing.resize(images, (20, 20)), atol=1e-6
  )


def test_a_mean_stays_and_nothing_is_done_to_the_same_size():
  ones = tf.ones((1, 32, 32, 1), tf.bfloat16)
  assert resizing.resize(ones, (32, 32)) is ones
  small = resizing.resize(ones, (24, 24))
  assert small.dtype == tf.bfloat16
  np.testing.assert_allclose(tf.cast(small, tf.float32), 1, atol=0.01)
