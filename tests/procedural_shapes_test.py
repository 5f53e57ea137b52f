"""Tests of official_ext.datasets.procedural_shapes."""

import hashlib
import math

import numpy as np
import pytest
import tensorflow_datasets as tfds

from official_ext.datasets import procedural_shapes as shapes


@pytest.fixture(scope='module')
def train():
  return shapes.generate('train')


@pytest.fixture(scope='module')
def test():
  return shapes.generate('test')


def test_pictures_are_the_same_everywhere(train, test):
  digests = [
    hashlib.sha256(images.tobytes()).hexdigest()[:16]
    for images, _ in (train, test)
  ]
  assert digests == ['1f6fe31509c04179', '131f4cb4a61f2edf']


def test_classes_are_balanced(train, test):
  np.testing.assert_array_equal(np.bincount(train[1]), [500] * 10)
  np.testing.assert_array_equal(np.bincount(test[1]), [100] * 10)


def test_no_test_picture_is_a_training_picture(train, test):
  pictures = [image.tobytes() for image in (*train[0], *test[0])]
  assert len(set(pictures)) == 6000


def _placement(rng, n, radius=None):
  angle = rng.uniform(0, 2 * np.pi, n)
  return shapes.Placement(
    y=rng.uniform(-3, 3, n),
    x=rng.uniform(-3, 3, n),
    cos=np.cos(angle),
    sin=np.sin(angle),
    radius=rng.uniform(7, 12, n) if radius is None else np.full(n, radius),
  )


@pytest.mark.parametrize('name', shapes.CLASS_NAMES)
def test_mirrored_picture_is_that_of_the_mirrored_placement(name):
  placement = _placement(np.random.default_rng(0), 20)
  mirrored = placement._replace(x=-placement.x, cos=-placement.cos)
  np.testing.assert_array_equal(
    shapes.coverage(name, placement)[:, :, ::-1],
    shapes.coverage(name, mirrored),
  )


def _lens(r1, r2, d):
  """Area that two circles share whose centres are d apart."""
  x = (d * d + r1 * r1 - r2 * r2) / (2 * d)
  return (
    r1**2 * math.acos(x / r1)
    + r2**2 * math.acos((d - x) / r2)
    - d * math.sqrt(r1**2 - x**2)
  )


def _pentagram(inradius):
  """Area of a pentagram around a pentagon of this inradius."""
  half_side = inradius * math.tan(math.pi / 5)
  points = 5 * half_side**2 * math.tan(2 * math.pi / 5)
  return 5 * inradius * half_side + points


# Of figures of radius 1.
AREAS = {
  'disk': math.pi * 0.9**2,
  'ring': math.pi * (0.95**2 - 0.55**2),
  'square': 1.6**2,
  'frame': 1.66**2 - 0.94**2,
  'triangle': 3 * math.sqrt(3) * 0.5**2,
  'cross': 2 * 2 * 0.56 - 0.56**2,
  'star': _pentagram(0.36),
  'crescent': math.pi * 0.95**2 - _lens(0.95, 0.75, 0.45),
  'stripes': 3 * 0.36 * 1.8,
  'checkerboard': 4 * 0.6**2,
}


@pytest.mark.parametrize('name', shapes.CLASS_NAMES)
def test_coverage_adds_up_to_the_area_of_the_figure(name):
  placement = _placement(np.random.default_rng(1), 50, radius=10.0)
  areas = shapes.coverage(name, placement).sum(axis=(1, 2))
  assert areas.mean() == pytest.approx(AREAS[name] * 100, rel=0.02)


def test_linear_classifier_fits_the_training_pictures_but_learns_little(
  train, test
):
  chosen = np.random.default_rng(0).permutation(5000)[:1500]
  x, test_x = (
    images.reshape(len(images), -1) / 127.5 - 1
    for images in (train[0][chosen], test[0])
  )
  y = train[1][chosen]
  kernel = x @ x.T
  accuracies = []
  for ridge in (1, 100, 10000):
    dual = np.linalg.solve(kernel + ridge * np.eye(len(x)), np.eye(10)[y])
    accuracies.append(np.mean((test_x @ (x.T @ dual)).argmax(1) == test[1]))
    if ridge == 1:
      assert np.mean((kernel @ dual).argmax(1) == y) > 0.99
  assert max(accuracies) < 0.15


def test_tfds_reads_what_was_written(shapes_dir, test):
  dataset, info = tfds.load(
    'procedural_shapes', data_dir=shapes_dir, split='test', with_info=True
  )
  assert info.splits['train'].num_examples == 5000
  assert info.splits['test'].num_examples == 1000
  assert tuple(info.features['label'].names) == shapes.CLASS_NAMES
  assert info.features['image'].shape == (32, 32, 3)
  assert info.features['image'].np_dtype == np.uint8
  assert info.supervised_keys == ('image', 'label')
  written = sorted(
    (int(example['label']), example['image'].tobytes())
    for example in tfds.as_numpy(dataset)
  )
  drawn = sorted((int(y), x.tobytes()) for x, y in zip(*test, strict=True))
  assert written == drawn


def test_a_slice_holds_all_classes(shapes_dir):
  dataset = tfds.load(
    'procedural_shapes', data_dir=shapes_dir, split='train[:256]'
  )
  labels = [example['label'] for example in tfds.as_numpy(dataset)]
  assert len(labels) == 256
  assert np.bincount(labels).min() > 10
