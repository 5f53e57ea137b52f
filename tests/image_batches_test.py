"""What a person gives as images: taken for what it is, or refused."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from official_ext.errors import UserError
from official_ext.serving import image_batches, image_files, trained_model

SHAPE = (32, 32, 3)
PIXELS = np.random.RandomState(0).randint(0, 256, (2, *SHAPE), np.uint8)
ONE = PIXELS[0]
SCALED = np.float32(PIXELS / 255)


def as_batch(images, shape=SHAPE):
  batch = image_batches.as_batch(images, shape)
  assert batch.dtype == tf.uint8
  return batch.numpy()


@pytest.mark.parametrize('kind', [np.uint8, np.int64, np.float32, np.float64])
def test_whole_numbers_up_to_255_are_pixels(kind):
  pixels, one = PIXELS.astype(kind), ONE.astype(kind)
  for images in (pixels, tf.constant(pixels), [*pixels], pixels.tolist()):
    np.testing.assert_array_equal(as_batch(images), PIXELS)
  for image in (one, tf.constant(one), [one], one.tolist()):
    np.testing.assert_array_equal(as_batch(image), PIXELS[:1])


def test_black_is_black_in_any_range():
  assert not as_batch(np.zeros((1, *SHAPE))).any()


@pytest.fixture
def picture(tmp_path):
  path = tmp_path / 'a.png'
  Image.fromarray(ONE).save(path)
  return path


def test_files_and_pillow_images_are_pixels(picture):
  pillow = Image.open(picture)
  for image in (picture, str(picture), pillow):
    np.testing.assert_array_equal(as_batch(image), PIXELS[:1])
  mixed = [picture, ONE, pillow, tf.constant(PIXELS)]
  np.testing.assert_array_equal(as_batch(mixed), PIXELS[[0, 0, 0, 0, 1]])


def test_they_are_scaled_as_predict_does(tmp_path):
  pillow = Image.fromarray(PIXELS.reshape(64, 32, 3)).convert('L')
  pillow.save(tmp_path / 'a.png')
  expected, changes = image_files.read(str(tmp_path / 'a.png'), (16, 16, 3))
  assert changes == ['L to RGB', '32×64 to 16×16']
  for image in (pillow, str(tmp_path / 'a.png')):
    np.testing.assert_array_equal(as_batch(image, (16, 16, 3))[0], expected)


def test_one_channel_may_be_left_out():
  grey = PIXELS[..., :1]
  for images in (grey, grey[..., 0]):
    np.testing.assert_array_equal(as_batch(images, (32, 32, 1)), grey)
  for image in (grey[0], grey[0, ..., 0]):
    np.testing.assert_array_equal(as_batch(image, (32, 32, 1)), grey[:1])


PIXELS_ARE = 'but pixels are whole numbers from 0 to 255; give'


@pytest.mark.parametrize(
  ('images', 'message'),
  [
    (
      SCALED,
      'the images are float32 from 0 to 1, '
      f'{PIXELS_ARE} np.uint8(np.rint(255 * images)).',
    ),
    (
      tf.constant(SCALED[0] / 2),
      'the images are float32 from 0 to 0.5, '
      f'{PIXELS_ARE} np.uint8(np.rint(255 * images)).',
    ),
    (
      np.ones((1, *SHAPE)),
      'the images are float64 from 1 to 1, '
      f'{PIXELS_ARE} np.uint8(np.rint(255 * images)).',
    ),
    (
      PIXELS + np.float64(0.25),
      'the images are float64 from 0.25 to 255.25, '
      f'{PIXELS_ARE} them as they are in an image file of 8 bits, not '
      'normalised.',
    ),
    (
      PIXELS / 2,
      f'the images are float64 with fractions, {PIXELS_ARE} '
      'np.uint8(np.rint(images)).',
    ),
    (
      PIXELS.astype(np.int32) - 1,
      f'the images are int32 from -1 to 254, {PIXELS_ARE} them as they are in '
      'an image file of 8 bits, not normalised.',
    ),
    (
      PIXELS.astype(np.uint16) * 257,
      f'the images are uint16 from 0 to 65535, {PIXELS_ARE} them as they are '
      'in an image file of 8 bits, not normalised.',
    ),
    (
      np.full((1, *SHAPE), np.nan),
      f'the images are float64 from nan to nan, {PIXELS_ARE} them as they are '
      'in an image file of 8 bits, not normalised.',
    ),
    (
      PIXELS > 127,
      f'the images are bool, {PIXELS_ARE} an array of uint8.',
    ),
    (
      PIXELS[:, :16],
      'the images are [2, 16, 32, 3], but the network takes [batch, 32, 32, '
      '3], or one of [32, 32, 3]; give a Pillow image or a file to have it '
      'scaled.',
    ),
    (
      PIXELS.transpose(0, 3, 1, 2),
      'the images are [2, 3, 32, 32], but the network takes [batch, 32, 32, '
      '3], or one of [32, 32, 3]; give a Pillow image or a file to have it '
      'scaled.',
    ),
    ([], 'there are no images in an empty list; give one or more.'),
    (
      '/nowhere.png',
      '/nowhere.png cannot be read: No such file or directory.',
    ),
    (
      Image.new('I;16', (32, 32)),
      'the image has mode I;16; save it with 8 bits a channel.',
    ),
  ],
)
def test_what_is_no_image_is_refused_with_the_mend(images, message):
  with pytest.raises(UserError) as caught:
    image_batches.as_batch(images, SHAPE)
  assert str(caught.value) == message


def test_the_mend_is_one():
  mended = np.uint8(np.rint(255 * SCALED))
  np.testing.assert_array_equal(as_batch(mended), PIXELS)


def test_a_graph_takes_uint8_alone():
  made = tf.function(
    lambda images: image_batches.as_batch(images, SHAPE), autograph=False
  )
  np.testing.assert_array_equal(made(tf.constant(PIXELS)), PIXELS)
  np.testing.assert_array_equal(made(tf.constant(ONE)), PIXELS[:1])
  with pytest.raises(UserError, match='are float32, but in a graph they must'):
    made(tf.constant(SCALED))


def test_a_trained_model_takes_them(trained_run, picture):
  trained = trained_model.load_for_inference(trained_run)
  expected = trained.logits(PIXELS).numpy()
  assert expected.shape == (2, 10)
  assert np.abs(expected[0] - trained.logits(0 * PIXELS)[0]).max() > 0.01
  for images in (PIXELS.astype(np.float32), tf.constant(PIXELS), [*PIXELS]):
    np.testing.assert_array_equal(trained.logits(images), expected)
  for image in (ONE, picture, Image.open(picture)):
    np.testing.assert_allclose(
      trained.logits(image), expected[:1], rtol=1e-4, atol=1e-6
    )
  for refusing in (trained.logits, trained.preprocess):
    with pytest.raises(UserError, match='are float32 from 0 to 1, but'):
      refusing(SCALED)
