"""Ways to look at an image, and the mean logits over them."""

import numpy as np
import pytest
import tensorflow as tf

from official_ext.errors import UserError
from official_ext.ops import views

IMAGES = np.arange(2 * 3 * 4 * 1, dtype=np.float32).reshape(2, 3, 4, 1)


@pytest.fixture
def corners():
  """A view of one's own: the image, and two turns of it that count less."""

  @views.register('test_corners', 'with two turns')
  def look(images):
    turned = [tf.image.rot90(images, k) for k in (1, 3)]
    return [(0.5, images), *((0.25, image) for image in turned)]

  yield 'test_corners'
  del views._VIEWS['test_corners'], views._WORDS['test_corners']


def model_of(calls):
  """Returns a model that tells its calls: two logits, not linear."""

  def model(images):
    calls.append(images.numpy())
    corner = images[:, 0, 0, 0]
    return tf.stack([corner, corner**2], axis=1)

  return model


def test_a_mirror_image_is_the_image_from_right_to_left():
  (one, plain), (other, mirrored) = views.mirror(tf.constant(IMAGES))
  assert (one, other) == (0.5, 0.5)
  np.testing.assert_array_equal(plain, IMAGES)
  np.testing.assert_array_equal(mirrored, IMAGES[:, :, ::-1])


def test_logits_are_weighted_and_the_plain_ones_not_computed_again(corners):
  calls, images = [], tf.constant(IMAGES)
  plain = tf.constant([[100.0, 0.0], [0.0, 100.0]])
  found = views.logits(model_of(calls), images, plain, corners)
  left, right = (np.rot90(IMAGES, k, (1, 2)) for k in (1, 3))
  expected = 0.5 * plain.numpy()
  for turned in (left, right):
    corner = turned[:, 0, 0, 0]
    expected += 0.25 * np.stack([corner, corner**2], axis=1)
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert len(calls) == 2


def test_what_an_accuracy_over_a_view_is_called(corners):
  assert views.metric_name(corners) == 'accuracy_test_corners'
  assert views.words(corners) == 'with two turns'
  # A table may have the column of a view that nothing registers any more.
  assert views.words('gone') == 'over the view gone'


def test_a_view_that_is_not_there_names_those_that_are(corners):
  with pytest.raises(UserError, match="'miror'; there are mirror, test_corner"):
    views.get('miror')
