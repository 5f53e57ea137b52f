"""Ways to look at an image, and the mean logits over them."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from official_ext.errors import UserError
from official_ext.ops import views

IMAGES = np.arange(2 * 3 * 4 * 1, dtype=np.float32).reshape(2, 3, 4, 1)


@dataclasses.dataclass(frozen=True)
class Turned:
  """A quarter turn to the left, some times."""

  times: int

  def __call__(self, images):
    return tf.image.rot90(images, self.times)


@pytest.fixture
def corners():
  """A view of one's own: the image, and two turns of it that count less."""
  turns = [(0.25, Turned(times)) for times in (1, 3)]
  views.register('test_corners', 'with two turns', [(0.5, views.PLAIN), *turns])
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
  (one, plain), (other, mirrored) = views.get('mirror')
  assert (one, other) == (0.5, 0.5)
  np.testing.assert_array_equal(plain(tf.constant(IMAGES)), IMAGES)
  np.testing.assert_array_equal(
    mirrored(tf.constant(IMAGES)), IMAGES[:, :, ::-1]
  )


def test_the_six_views_are_airbenchs():
  """As `airbench94_muon.py` cuts them out of the padded images."""
  border = [(0, 0), (1, 1), (1, 1), (0, 0)]
  padded = np.pad(IMAGES, border, mode='reflect')
  expected = []
  for weight, window in (
    (0.25, IMAGES),
    (0.125, padded[:, :3, :4]),
    (0.125, padded[:, 2:, 2:]),
  ):
    expected += [(weight, window), (weight, window[:, :, ::-1])]
  view = views.get('mirror_translate')
  for (weight, look), (of_weight, window) in zip(view, expected, strict=True):
    assert weight == of_weight
    np.testing.assert_array_equal(look(tf.constant(IMAGES)), window)


@pytest.mark.parametrize(('down', 'right'), [(2, 0), (0, -3), (-1, 2)])
def test_a_shift_reads_what_is_reflected_beyond_the_border(down, right):
  rows = np.abs(np.arange(3) + down)
  rows = 2 - np.abs(2 - rows)
  columns = np.abs(np.arange(4) + right)
  columns = 3 - np.abs(3 - columns)
  move = views.Moved(down, right)
  shifted = tf.function(move, jit_compile=True)(tf.constant(IMAGES))
  np.testing.assert_array_equal(shifted, IMAGES[:, rows][:, :, columns])


def test_logits_are_weighted_and_nothing_is_looked_at_twice(corners):
  calls, images = [], tf.constant(IMAGES)
  plain = tf.constant([[100.0, 0.0], [0.0, 100.0]])
  seen = {views.PLAIN: plain}
  found = views.logits(model_of(calls), images, seen, corners)
  left, right = (np.rot90(IMAGES, k, (1, 2)) for k in (1, 3))
  expected = 0.5 * plain.numpy()
  for turned in (left, right):
    corner = turned[:, 0, 0, 0]
    expected += 0.25 * np.stack([corner, corner**2], axis=1)
  np.testing.assert_allclose(found, expected, rtol=1e-6)
  assert len(calls) == 2
  again = views.logits(model_of(calls), images, seen, corners)
  np.testing.assert_array_equal(again, found)
  assert len(calls) == 2


def test_what_an_accuracy_over_a_view_is_called(corners):
  assert views.metric_name(corners) == 'accuracy_test_corners'
  assert views.words(corners) == 'with two turns'
  # A table may have the column of a view that nothing registers any more.
  assert views.words('gone') == 'over the view gone'


def test_a_view_that_is_not_there_names_those_that_are(corners):
  with pytest.raises(UserError, match="'miror'; there are mirror, mirror_tr"):
    views.get('miror')
