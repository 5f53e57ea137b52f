"""Toy images, and the batches that an input makes of them."""

import itertools

import numpy as np
import tensorflow as tf

from official_ext.augmentation.crop import Crop
from official_ext.augmentation.cutout import Cutout
from official_ext.augmentation.flip import Flip
from official_ext.configs.augmentation import Augmentation
from official_ext.configs.image_classification import DataConfig
from official_ext.dataloaders.image_source import ImageDataInfo
from official_ext.dataloaders.in_memory import ImageData

SHAPE = (8, 8, 3)


def make_data(count, shape=SHAPE):
  """Random images, each labelled with its own number."""
  images = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
  info = ImageDataInfo('toys train', count, shape, list(map(str, range(count))))
  return ImageData(info, tf.constant(images), tf.range(count))


def augmented_by(*steps):
  """Returns the list of one-ofs that a data config has for augmentations."""
  return [Augmentation.choose(step) for step in steps]


def train_config(**overrides):
  return DataConfig(
    is_training=True,
    **{
      'global_batch_size': 4,
      'augmentations': augmented_by(Crop(padding=2), Flip(), Cutout(size=2)),
      'seed': 1,
      **overrides,
    },
  )


def batches(dataset, count=None):
  return list(itertools.islice(dataset.as_numpy_iterator(), count))


def assert_same(some, others):
  assert len(some) == len(others)
  for (images, labels), (other_images, other_labels) in zip(
    some, others, strict=True
  ):
    np.testing.assert_array_equal(images, other_images)
    np.testing.assert_array_equal(labels, other_labels)
