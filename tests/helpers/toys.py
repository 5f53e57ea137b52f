"""Small data sets that TFDS finds by their files alone, and their damages."""

import os

import numpy as np
import tensorflow_datasets as tfds

from official_ext.configs.image_classification import (
  DataConfig,
  ImageClassificationModel,
  ImageClassificationTask,
)
from official_ext.dataloaders.data_sets import DataSets

SHAPE = (5, 6, 3)
NAMES = ['circle', 'square', 'star']


def make_images(count, shape=SHAPE, dtype=np.uint8):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (count, *shape)).astype(dtype)


def store(folder, name='toys', image=None, labels=None, train=None):
  """Writes a data set that TFDS finds by its files alone."""
  features = {
    'picture': image or tfds.features.Image(shape=SHAPE),
    **(labels or {'kind': tfds.features.ClassLabel(names=NAMES)}),
  }
  if train is None:
    train = examples(7)
  return tfds.dataset_builders.store_as_tfds_dataset(
    name=name,
    version='1.0.0',
    features=tfds.features.FeaturesDict(features),
    split_datasets={
      'train': list(enumerate(train)),
      'test': list(enumerate(train[:2])),
    },
    data_dir=folder,
    disable_shuffling=True,
  ).data_path


def examples(count, **labels):
  labels = labels or {'kind': [i % 3 for i in range(count)]}
  return [
    {'picture': image, **{key: value[i] for key, value in labels.items()}}
    for i, image in enumerate(make_images(count))
  ]


def train_config(folder, name='toys', split='train', **overrides):
  return DataConfig(
    tfds_name=name,
    tfds_split=split,
    tfds_data_dir=str(folder),
    is_training=True,
    **overrides,
  )


def model_config(num_classes=3, shape=SHAPE):
  return ImageClassificationModel(
    num_classes=num_classes, input_size=list(shape)
  )


def load(config, model):
  return DataSets(ImageClassificationTask(model=model)).load(config)


def cut_short(path):
  os.truncate(path, os.path.getsize(path) // 2)


def cut_between_records(path):
  """Leaves out the last one: 8 bytes of length, 4 + 4 of checksums, data."""
  content, end = path.read_bytes(), 0
  while end < len(content):
    start, end = (
      end,
      end + 16 + int.from_bytes(content[end : end + 8], 'little'),
    )
  path.write_bytes(content[:start])


def flip_a_byte(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
