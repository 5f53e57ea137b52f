"""What is made of labelled images, wherever they come from.

Tests of official_ext.local_data.examples, test_split and remarks.
"""

import collections
import hashlib

import numpy as np
import pytest
from helpers.pictures import noise

from official_ext.errors import UserError
from official_ext.local_data import examples, remarks, test_split
from official_ext.local_data.examples import LabelledImages

NAMES = ('ant', 'bee', 'cat')


def labelled(**splits):
  """Of pairs of a seed and a label; equal seeds are equal images."""
  return LabelledImages(
    NAMES,
    (8, 8, 3),
    {
      name: examples.of_array(
        np.stack([noise(seed, (8, 8, 3)) for seed, _ in pairs]),
        np.array([label for _, label in pairs]),
        name,
      )
      for name, pairs in splits.items()
    },
  )


def seeds_of(images, split):
  """Returns pairs of a seed and a label of a split, sorted."""
  known = {examples.digest(noise(seed, (8, 8, 3))): seed for seed in range(200)}
  return sorted((known[one.digest], one.label) for one in images.splits[split])


def test_a_share_of_each_class_is_drawn():
  pairs = [(seed, int(seed >= 40) + int(seed >= 100)) for seed in range(120)]
  images = test_split.draw(labelled(train=pairs), 0.1, seed=0)
  counts = collections.Counter(one.label for one in images.splits['test'])
  assert counts == {0: 4, 1: 6, 2: 2}
  assert sorted(seeds_of(images, 'train') + seeds_of(images, 'test')) == pairs
  assert [*images.splits] == ['train', 'test']
  assert images.notes == (
    'Drawn for test: 12 of 120 images, 10% of each class, by --seed 0; equal '
    'images stay together.',
  )


def test_the_draw_depends_on_seed_and_pixels_alone():
  pairs = [(seed, seed % 3) for seed in range(90)]
  first = test_split.draw(labelled(train=pairs), 0.2, seed=0)
  again = test_split.draw(labelled(train=pairs[::-1]), 0.2, seed=0)
  other = test_split.draw(labelled(train=pairs), 0.2, seed=1)
  assert seeds_of(first, 'test') == seeds_of(again, 'test')
  assert seeds_of(first, 'test') != seeds_of(other, 'test')
  # With one image more, nearly all of the others stay where they were.
  more = test_split.draw(labelled(train=[*pairs, (90, 0)]), 0.2, seed=0)
  moved = set(seeds_of(first, 'test')) ^ set(seeds_of(more, 'test'))
  assert len(moved) <= 2


def test_the_draw_is_the_same_everywhere():
  """By SHA-256 of the seed and the pixels, computed here once more."""
  values = range(0, 200, 10)
  pixels = {value: np.full((8, 8, 3), value, np.uint8) for value in values}
  images = with_pixels(*pixels.values())
  ranks = {
    value: hashlib.sha256(b'7:' + hashlib.sha256(bytes([value] * 192)).digest())
    for value in values
  }
  last = sorted(values, key=lambda value: ranks[value].digest())[-4:]
  drawn = test_split.draw(images, 0.2, seed=7).splits['test']
  assert {int(one.read()[0, 0, 0]) for one in drawn} == {*last}
  assert {*last} == {0, 90, 120, 170}


@pytest.mark.parametrize('seed', range(20))
def test_equal_images_stay_together(seed):
  """Within a class and across classes; so some classes have a few more."""
  pairs = [(number // 4, 0) for number in range(40)]
  pairs += [(number, 1) for number in range(5, 30)]
  images = test_split.draw(labelled(train=pairs), 0.1, seed)
  train, test = (
    {image for image, _ in seeds_of(images, split)}
    for split in ('train', 'test')
  )
  assert not train & test
  assert {label for _, label in seeds_of(images, 'test')} == {0, 1}
  assert {label for _, label in seeds_of(images, 'train')} == {0, 1}


@pytest.mark.parametrize('share', [0.001, 0.999])
def test_at_least_one_of_each_class_is_on_either_side(share):
  pairs = [(seed, seed % 3) for seed in range(9)]
  images = test_split.draw(labelled(train=pairs), share, seed=0)
  for split in ('train', 'test'):
    assert {label for _, label in seeds_of(images, split)} == {0, 1, 2}


def test_a_single_image_is_trained_on():
  pairs = [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (4, 2)]
  images = test_split.draw(labelled(train=pairs), 0.5, seed=0)
  assert {label for _, label in seeds_of(images, 'test')} == {0, 1}
  assert remarks.of(images) == ['warning: test has no image of cat.']
  with pytest.raises(UserError, match=r'^--test_share=0\.5: no class has two '):
    test_split.draw(labelled(train=[(0, 0), (0, 0), (1, 1)]), 0.5, seed=0)


def test_without_a_share_nothing_is_drawn():
  images = labelled(train=[(0, 0), (1, 1)], test=[(2, 0)])
  assert test_split.draw(images, None, seed=0) is images


EVEN = [(seed, seed % 3) for seed in range(30)]


@pytest.mark.parametrize(
  ('train', 'test', 'lines'),
  [
    (EVEN, [(30, 0), (31, 1), (32, 2)], []),
    (
      [*EVEN, *((seed, 1) for seed in range(40, 61))],
      [(30, 0), (31, 1), (32, 2)],
      [
        'warning: classes of unequal size: 31 training images of bee, 10 of '
        'cat; accuracy is mostly that of the large ones '
        "(losses.class_weights = 'balanced' in the recipe has all count alike "
        'in training).'
      ],
    ),
    (
      EVEN,
      [(30, 0), (7, 1), (8, 2), (7, 1)],
      [
        'warning: 3 of 4 test images are in train too, pixel for pixel (the '
        'first: test[1] is train[7]); they stay, and accuracy on test flatters '
        'by them.'
      ],
    ),
    (
      [*EVEN, (4, 2), (5, 0)],
      [(30, 0), (31, 1), (32, 2)],
      [
        'warning: 2 images are in another class too, pixel for pixel (the '
        'first: train[30] is train[4]); all are stored.'
      ],
    ),
    (EVEN, [(31, 1)], ['warning: test has no image of ant, cat.']),
    (
      [(0, 0)],
      [(1, 0), (2, 1), (3, 2)],
      ['warning: train has no image of bee, cat.'],
    ),
  ],
)
def test_what_is_remarkable(train, test, lines):
  assert remarks.of(labelled(train=train, test=test)) == lines


def grey(seed, channels):
  return np.repeat(noise(seed, (8, 8, 1)), channels, axis=-1)


def with_pixels(*images):
  shape = images[0].shape
  labels = np.zeros(len(images), np.int64)
  train = examples.of_array(np.stack(images), labels, 'x')
  return LabelledImages(NAMES, shape, {'train': train})


def read_all(images):
  return np.stack([one.read() for one in images.splits['train']])


@pytest.mark.parametrize('stored', [1, 3])
def test_images_that_are_all_grey_have_one_channel(stored):
  images = with_pixels(*(grey(seed, stored) for seed in range(3)))
  one = examples.with_one_number_of_channels(images, keep_rgb=False)
  assert one.image_shape == (8, 8, 1)
  expected = np.stack([grey(seed, 1) for seed in range(3)])
  np.testing.assert_array_equal(read_all(one), expected)
  assert one.notes == (
    'All images are grey: they are stored with one channel.',
  )
  three = examples.with_one_number_of_channels(images, keep_rgb=True)
  assert three.image_shape == (8, 8, 3)
  np.testing.assert_array_equal(read_all(three), expected.repeat(3, axis=-1))
  assert three.notes == (
    '3 of 3 images are grey; they are stored as RGB, by --rgb.',
  )


def test_one_colour_gives_all_three_channels():
  pixels = np.stack([grey(0, 3), grey(1, 3), noise(2, (8, 8, 3))])
  images = with_pixels(*pixels)
  mixed = examples.with_one_number_of_channels(images, keep_rgb=False)
  assert mixed.image_shape == (8, 8, 3)
  np.testing.assert_array_equal(read_all(mixed), pixels)
  assert mixed.notes == (
    '2 of 3 images are grey; they are stored as RGB, as the others have '
    'colours.',
  )
  colours = with_pixels(pixels[2])
  assert examples.with_one_number_of_channels(colours, False) is colours
