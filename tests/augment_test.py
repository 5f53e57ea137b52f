"""Crop, flip, cutout and normalisation against the original and by property."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from helpers import input_batches, tiny
from helpers.input_batches import augmented_by
from official.vision.ops import augment as garden_augment

from official_ext.augmentation import base
from official_ext.augmentation.crop import Crop
from official_ext.augmentation.cutout import Cutout
from official_ext.augmentation.flip import Flip
from official_ext.configs.augmentation import Augmentation
from official_ext.dataloaders import augmentation_choices, preprocessing
from official_ext.ops import stateless_random
from official_ext.ops.normalize import normalize
from official_ext.schema import parts

REFERENCE = pathlib.Path(__file__).parent / 'data' / 'resnet9_reference.npz'
SEED = tf.constant([3, 4])


def eagerly(function, *tensors):
  return function(*map(tf.constant, tensors)).numpy()


def in_tf_data(function, *tensors):
  batches = tf.data.Dataset.from_tensors(tensors).map(function)
  return batches.get_single_element().numpy()


def under_xla(function, *tensors):
  return tf.function(function, jit_compile=True)(*tensors).numpy()


everywhere = pytest.mark.parametrize('run', [eagerly, in_tf_data, under_xla])


def train_config(**overrides):
  options = {
    'global_batch_size': 6,
    'augmentations': augmented_by(Crop(), Flip(), Cutout()),
    **overrides,
  }
  return input_batches.train_config(**options)


def chi_square_excess(values, cells):
  """Deviations by which the counts of 0 to `cells` - 1 miss the uniform."""
  counts = np.bincount(values, minlength=cells)
  assert len(counts) == cells
  expected = len(values) / cells
  chi_square = ((counts - expected) ** 2 / expected).sum()
  return (chi_square - (cells - 1)) / np.sqrt(2 * (cells - 1))


@everywhere
def test_the_original_code_gives_the_same_images(run):
  reference = np.load(REFERENCE)
  given = reference['augment/crop_y_crop_x_flip_cutout_y_cutout_x']

  def apply(images, offsets, flips, corners):
    choices = [offsets, flips, corners]
    return preprocessing.apply(images, train_config(), choices)

  result = run(
    apply,
    reference['augment/images'],
    given[:, :2].astype(np.int32),
    given[:, 2] == 1,
    given[:, 3:].astype(np.int32),
  )
  assert np.abs(result - reference['augment/result']).max() < 1e-6


@everywhere
def test_choices_are_the_same_everywhere(run):
  """Of the last two rows of a global batch."""
  config = train_config(seed=7)
  drawn = augmentation_choices.draw(
    config, stateless_random.make_seed(7, 2, 5), [32, 32]
  )

  def choose(rows):
    return tf.concat(
      [
        tf.cast(tf.reshape(choice, [2, -1]), tf.int32)
        for choice in augmentation_choices.choose(config, 2, 5, rows, [32, 32])
      ],
      axis=1,
    )

  last = config.global_batch_size - 2
  expected = [np.reshape(choice[last:], [2, -1]) for choice in drawn]
  np.testing.assert_array_equal(
    run(choose, np.int32([last, last + 1])), np.concatenate(expected, axis=1)
  )


@everywhere
@pytest.mark.parametrize('padding', [0, 1, 4])
@pytest.mark.parametrize(
  ('mode', 'numpy_mode'),
  [('reflect', 'reflect'), ('symmetric', 'symmetric'), ('zero', 'constant')],
)
def test_crops_are_windows_of_the_padded_image(run, padding, mode, numpy_mode):
  images = np.random.default_rng(0).integers(0, 256, (81, 6, 5, 2), np.uint8)
  side = 2 * padding + 1
  offsets = np.stack(np.divmod(np.arange(81) % side**2, side), 1)
  flips = np.arange(81) % 3 == 0
  crop = Crop(padding=padding, mode=mode)
  result = run(
    lambda images, offsets, flips: Flip().apply(
      crop.apply(images, offsets), flips
    ),
    images,
    offsets.astype(np.int32),
    flips,
  )
  border = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
  padded = np.pad(images, border, mode=numpy_mode)
  for i, (y, x) in enumerate(offsets):
    window = padded[i, y : y + 6, x : x + 5]
    np.testing.assert_array_equal(
      result[i], window[:, ::-1] if flips[i] else window
    )


@pytest.mark.parametrize('padding', [-1, 5])
def test_padding_that_cannot_be_reflected(padding):
  with pytest.raises(ValueError, match=f'padding={padding} .* 6x5'):
    Crop(padding=padding).apply(tf.zeros([1, 6, 5, 1]), tf.constant([[0, 0]]))


def test_black_padding_may_be_as_wide_as_the_image():
  image = tf.range(1, 5)[tf.newaxis, :, tf.newaxis, tf.newaxis] * tf.ones(
    [1, 4, 2, 1], tf.int32
  )
  crop = Crop(padding=4, mode='zero')
  crop.check_fits(2, 'crop.')
  moved = crop.apply(image, tf.constant([[6, 5]]))
  np.testing.assert_array_equal(
    moved[0, :, :, 0], [[3, 0], [4, 0], [0, 0], [0, 0]]
  )


@everywhere
def test_cutout_zeroes_64_pixels_of_each_channel(run):
  cutout = Cutout(size=8)

  def cut(images):
    return cutout.apply(images, cutout.draw(SEED, 500, 32, 24))

  holes = run(cut, np.ones([500, 32, 24, 3], np.float32)) == 0
  np.testing.assert_array_equal(holes.sum((1, 2)), np.full([500, 3], 64))
  # 8 full rows by 8 full columns, so one square, wholly inside.
  assert (holes.any(2).sum(1) == 8).all()
  assert (holes.any(1).sum(1) == 8).all()
  rows = np.argmax(holes.any((2, 3)), 1)
  columns = np.argmax(holes.any((1, 3)), 1)
  assert (rows.min(), rows.max()) == (0, 24)
  assert (columns.min(), columns.max()) == (0, 16)


@everywhere
@pytest.mark.parametrize('size', [4, 5])
def test_cutout_may_be_cut_off_as_gardens_is(run, size):
  cutout = Cutout(size=size, inside=False)

  def cut(images):
    return cutout.apply(images, cutout.draw(SEED, 400, 8, 6))

  holes = run(cut, np.ones([400, 8, 6, 2], np.float32)) == 0
  # Clipped squares around every pixel, computed one by one.
  expected = set()
  for y, x in np.ndindex(8, 6):
    hole = np.zeros([8, 6], bool)
    top, left = y - size // 2, x - size // 2
    hole[max(top, 0) : top + size, max(left, 0) : left + size] = True
    expected.add(hole.tobytes())
  assert {hole.tobytes() for hole in holes[..., 0]} == expected
  np.testing.assert_array_equal(holes[..., 0], holes[..., 1])


def test_garden_cuts_off_the_same_squares():
  holes = set()
  for _ in range(300):
    image = tf.ones([6, 6, 1], tf.uint8)
    hole = garden_augment.cutout(image, pad_size=2).numpy()[..., 0] == 0
    holes.add(hole.tobytes())
  cutout = Cutout(size=4, inside=False)
  ours = cutout.apply(
    tf.ones([300, 6, 6, 1]), cutout.draw(SEED, 300, 6, 6)
  ).numpy()
  assert {hole.tobytes() for hole in ours[..., 0] == 0} == holes


@everywhere
def test_a_cutout_before_normalisation_is_black(run):
  config = train_config(
    augmentations=augmented_by(Cutout(size=2, before_normalization=True)),
    mean_rgb=[100.0],
    stddev_rgb=[50.0],
  )
  choices = [np.array([[1, 0]], np.int32)]
  result = run(
    lambda images: preprocessing.apply(images, config, choices),
    np.full([1, 4, 4, 1], 200, np.uint8),
  )
  expected = np.full([4, 4], 2.0)
  expected[1:3, :2] = -2.0
  np.testing.assert_array_equal(result[0, ..., 0], expected)


@pytest.mark.parametrize('dtype', ['uint8', 'float16', 'bfloat16', 'float32'])
def test_cutout_keeps_the_type(dtype):
  images = tf.cast(tf.fill([2, 8, 8, 1], 3), dtype)
  result = Cutout(size=2).apply(images, tf.constant([[0, 6], [6, 0]]))
  assert result.dtype == dtype
  assert tf.reduce_sum(tf.cast(result, tf.int32)) == 3 * 2 * (64 - 4)
  assert not result[0, 1, 7, 0]
  assert not result[1, 7, 1, 0]


def test_cutout_is_an_augmenter_of_garden():
  cutout = Cutout(size=3)
  assert isinstance(cutout, garden_augment.ImageAugment)
  image = cutout.distort(tf.ones([8, 9, 3]))
  assert image.shape == [8, 9, 3]
  assert (image.numpy() == 0).sum() == 9 * 3
  # Another square for each image, and for each call.
  first, second = (cutout.distort(tf.ones([50, 8, 9, 1])) for _ in range(2))
  assert len(np.unique(first, axis=0)) > 10
  assert (first.numpy() != second.numpy()).any()


def test_cutout_draws_anew_inside_tf_data():
  tf.random.set_seed(5)
  images = tf.data.Dataset.from_tensors(tf.ones([32, 32, 1])).repeat(20)
  cut = images.map(Cutout().distort)
  first, second = (np.stack(list(cut.as_numpy_iterator())) for _ in range(2))
  assert len(np.unique(first, axis=0)) > 15
  np.testing.assert_array_equal(first, second)


def test_cutout_of_a_size_that_does_not_fit():
  with pytest.raises(ValueError, match=r'size=33 does not fit .* 64x32'):
    Cutout(size=33).distort(tf.ones([64, 32, 3]))


def test_draws_are_uniform_and_independent():
  count = 100_000
  y, x = Crop().draw(SEED, count, 32, 32).numpy().T
  assert abs(chi_square_excess(9 * y + x, 81)) < 4
  assert abs(chi_square_excess(81 * y[::2] + 9 * y[1::2] + x[::2], 729)) < 4
  flips = Flip().draw(SEED, count, 32, 32).numpy()
  assert abs(chi_square_excess(flips[::2] + 2 * flips[1::2], 4)) < 4
  y, x = Cutout().draw(SEED, count, 32, 32).numpy().T
  assert abs(chi_square_excess(25 * y + x, 625)) < 4


def test_choices_of_one_image_are_independent():
  config = train_config(global_batch_size=100_000)
  offsets, flips, corners = (
    choice.numpy()
    for choice in augmentation_choices.draw(config, SEED, [32, 32])
  )
  joint = 25 * (9 * flips + offsets[:, 0]) + corners[:, 0]
  assert abs(chi_square_excess(joint, 450)) < 4


def test_every_epoch_step_and_seed_draws_anew():
  draws = {
    Crop()
    .draw(stateless_random.make_seed(*point), 50, 32, 32)
    .numpy()
    .tobytes()
    for point in [
      (seed, epoch, step)
      for seed in (0, 1, 2**32, -1)
      for epoch in range(5)
      for step in range(5)
    ]
  }
  assert len(draws) == 4 * 5 * 5


def test_what_is_switched_off_is_left_out():
  config = train_config(
    augmentations=[], mean_rgb=[0.0] * 3, stddev_rgb=[1.0] * 3
  )
  images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
  result = preprocessing.apply(images, config, ())
  np.testing.assert_array_equal(result, images)


def test_normalisation_by_channel():
  images = np.arange(2 * 4 * 3 * 2, dtype=np.uint8).reshape(2, 4, 3, 2)
  mean, stddev = [3.0, 100.0], [2.0, 0.5]
  np.testing.assert_array_equal(
    normalize(images, mean, stddev),
    np.float32((images - np.array(mean)) / np.array(stddev)),
  )


# Augmentations of one's own.


@parts.kind(Augmentation, 'test_gain')
@dataclasses.dataclass
class Gain(base.ImageAugmentation):
  """Multiplies each image by a number of its own, after normalisation."""

  most: int = 5

  after_normalization = True

  def draw(self, seed, count, height, width):
    del height, width
    return stateless_random.integers(seed, count, [self.most])[:, 0]

  def apply(self, images, choices):
    gains = tf.cast(choices, images.dtype)
    return images * gains[:, tf.newaxis, tf.newaxis, tf.newaxis]


def drawn(*steps, count=200):
  config = train_config(
    augmentations=augmented_by(*steps), global_batch_size=count
  )
  return [c.numpy() for c in augmentation_choices.draw(config, SEED, [32, 32])]


def test_an_augmentation_more_leaves_the_draws_of_the_others():
  crops, flips, holes = drawn(Crop(), Flip(), Cutout())
  again, gains, holes_again, flips_again = drawn(
    Crop(), Gain(), Cutout(), Flip()
  )
  np.testing.assert_array_equal(again, crops)
  np.testing.assert_array_equal(flips_again, flips)
  np.testing.assert_array_equal(holes_again, holes)
  np.testing.assert_array_equal(drawn(Gain())[0], gains)
  # From a stream of its own: uniform, and without regard to the others.
  many = 20_000
  flips, gains = drawn(Flip(), Gain(), count=many)
  assert abs(chi_square_excess(5 * flips + gains, 10)) < 4


def test_the_same_augmentation_twice_draws_anew():
  for step in (Crop(), Flip(), Gain()):
    first, second, third = drawn(step, step, step)
    assert (first != second).any()
    assert (second != third).any()
    np.testing.assert_array_equal(drawn(step)[0], first)


def test_stratified_augmentations_spread_each_by_itself():
  """Beside one that is not, and twice the same; each has ranks of its own."""
  steps = Crop(padding=1, stratified=True), Gain(), Flip(stratified=True)
  config = train_config(
    augmentations=augmented_by(*steps, Flip(stratified=True))
  )
  crops, *flips = (
    choice.numpy()
    for choice in augmentation_choices.choose_for_epoch(
      config, tf.constant(3), tf.range(90), [8, 8]
    )
  )
  counts = np.bincount(3 * crops[:, 0] + crops[:, 1], minlength=9)
  np.testing.assert_array_equal(counts, np.full(9, 10))
  assert [flip.sum() for flip in flips] == [45, 45]
  assert (flips[0] != flips[1]).any()


def test_what_needs_normalised_images_gets_them_in_its_turn():
  """Bytes up to there, float32 from there on, and normalised once."""
  images = np.full([2, 4, 4, 1], 200, np.uint8)
  config = train_config(
    augmentations=augmented_by(Flip(), Gain(), Gain(most=9)),
    mean_rgb=[100.0],
    stddev_rgb=[50.0],
  )
  choices = [np.array([True, False]), np.array([3, 0]), np.array([2, 7])]
  result = preprocessing.apply(images, config, list(map(tf.constant, choices)))
  np.testing.assert_array_equal(result[0], np.full([4, 4, 1], 2.0 * 3 * 2))
  np.testing.assert_array_equal(result[1], np.zeros([4, 4, 1]))


def test_gin_and_an_override_name_an_augmentation_of_ones_own(shapes_dir):
  lines = 'test_gain.most = 3', 'small_images.augmentations = [@test_gain()]'
  data = tiny.config(shapes_dir, lines).task.train_data
  assert [one.get() for one in data.augmentations] == [Gain(most=3)]
  override = '[{type: flip}, {type: test_gain, test_gain: {most: 2}}]'
  data = tiny.config(
    shapes_dir,
    override=f'{{task: {{train_data: {{augmentations: {override}}}}}}}',
  ).task.train_data
  assert [one.get() for one in data.augmentations] == [Flip(), Gain(most=2)]


@everywhere
def test_moves_at_once_are_moves_one_after_another(run):
  """A black border stays black, whatever moves it."""
  random = np.random.default_rng(0)
  images = random.integers(1, 256, (40, 7, 6, 2), np.uint8)
  steps = [
    Crop(padding=2, mode='zero'),
    Flip(),
    Crop(padding=1),
    Crop(padding=3, mode='zero'),
    Flip(),
  ]
  choices = [
    random.integers(0, 2, 40).astype(bool)
    if isinstance(step, Flip)
    else random.integers(0, 2 * step.padding + 1, (40, 2)).astype(np.int32)
    for step in steps
  ]
  one_by_one = tf.constant(images)
  for step, choice in zip(steps, choices, strict=True):
    one_by_one = step.apply(one_by_one, choice)
  at_once = run(
    lambda images, *choices: base.move(
      images, list(zip(steps, choices, strict=True))
    ),
    images,
    *choices,
  )
  assert 0 < np.mean(at_once == 0) < 0.6
  np.testing.assert_array_equal(at_once, one_by_one)
