"""The order, the sharing among workers and the resumption of the input."""

import itertools
import logging
import time

import numpy as np
import pytest
import tensorflow as tf
from helpers.input_batches import (
  SHAPE,
  assert_same,
  augmented_by,
  batches,
  make_data,
  train_config,
)

from official_ext.augmentation.crop import Crop
from official_ext.augmentation.cutout import Cutout
from official_ext.augmentation.flip import Flip
from official_ext.configs.image_classification import DataConfig
from official_ext.dataloaders import (
  augmentation_choices,
  classification_input,
  preprocessing,
  resident,
)
from official_ext.errors import UserError
from official_ext.ops import placement


def validation_config(**overrides):
  return DataConfig(
    is_training=False,
    **{
      'global_batch_size': 4,
      'mean_rgb': [0.0] * 3,
      'stddev_rgb': [1.0] * 3,
      **overrides,
    },
  )


def labels_of_epochs(data, config, epochs):
  """Returns the labels as [epoch, image]."""
  steps = data.info.num_examples // config.global_batch_size
  dataset = classification_input.build(data, config)
  labels = [labels for _, labels in batches(dataset, epochs * steps)]
  return np.concatenate(labels).reshape(epochs, -1)


def test_an_epoch_has_no_image_twice():
  labels = labels_of_epochs(make_data(23), train_config(), epochs=40)
  assert labels.shape == (40, 20)
  assert all(len(set(epoch)) == 20 for epoch in labels)
  # Another order, and other images left out, in each epoch.
  assert len(np.unique(labels, axis=0)) == 40
  assert set(labels.ravel()) == set(range(23))


def test_the_whole_set_is_shuffled():
  labels = labels_of_epochs(make_data(100), train_config(), epochs=200)
  counts = np.zeros([10, 10])  # [tenth of the epoch, tenth of the data]
  np.add.at(counts, (np.arange(100) // 10, labels // 10), 1)
  # 200 are expected in each cell.
  chi_square = ((counts - 200) ** 2 / 200).sum() / 0.9
  assert abs(chi_square - 81 / 0.9) < 5 * np.sqrt(2 * 81)


def test_images_are_those_of_their_labels_augmented():
  data, config = make_data(23), train_config()

  dataset = classification_input.build(data, config)
  for number, (images, labels) in enumerate(batches(dataset, 12)):
    originals = tf.gather(data.images, labels)
    epoch, step = map(tf.constant, divmod(number, 5))
    rows, size = tf.range(len(labels)), originals.shape[1:3]
    choices = augmentation_choices.choose(config, epoch, step, rows, size)
    expected = preprocessing.apply(originals, config, choices)
    np.testing.assert_array_equal(images, expected)


@pytest.mark.parametrize('replicas', [1, 2])
@pytest.mark.parametrize('jit_compile', [False, True])
def test_the_device_makes_of_the_bytes_what_the_host_does(
  replicas, jit_compile
):
  data, context = make_data(23), tf.distribute.InputContext(1, 0, replicas)
  here, there = (
    train_config(preprocess_on_device=flag) for flag in (False, True)
  )

  images_there = resident.copies(data, [''])

  @tf.function(jit_compile=jit_compile)
  def on_device(batch):
    images = resident.gather(images_there, batch.images)
    return preprocessing.apply(images, there, batch.choices)

  by_host = classification_input.build(data, here, context)
  unprocessed = classification_input.build(data, there, context, start_step=2)
  expected = batches(by_host, 20)[2 * replicas :]
  for (batch, labels), (images, same_labels) in zip(
    unprocessed, expected, strict=False
  ):
    assert batch.images.dtype == tf.int32
    assert batch.images.shape == labels.shape
    np.testing.assert_array_equal(labels, same_labels)
    np.testing.assert_allclose(on_device(batch), images, rtol=0, atol=1e-6)


def test_evaluation_on_the_device_is_told_which_images():
  data = make_data(23)
  config = validation_config(preprocess_on_device=True)
  rows, labels = map(
    np.concatenate,
    zip(*batches(classification_input.build(data, config)), strict=True),
  )
  np.testing.assert_array_equal(rows, np.arange(23))
  np.testing.assert_array_equal(labels, data.labels)


@pytest.mark.parametrize('asked', [None, True, False])
def test_images_live_on_a_gpu_unless_told_otherwise(asked):
  config = train_config(preprocess_on_device=asked)
  assert preprocessing.on_device(config) == bool(asked)
  with placement.as_on_accelerator():
    assert preprocessing.on_device(config) == (asked is not False)


def test_the_seed_decides_all():
  data = make_data(23)

  def first(seed):
    dataset = classification_input.build(data, train_config(seed=seed))
    return batches(dataset, 3)

  zero = first(0)
  assert_same(zero, first(0))
  assert_same(zero, first(None))
  for seed in (1, 2**32, -1):
    for ours, others in zip(zero[0], first(seed)[0], strict=True):
      assert not np.array_equal(ours, others)


def test_goes_on_from_any_step():
  data = make_data(23)
  whole = batches(classification_input.build(data, train_config()), 17)
  for start in (0, 1, 4, 5, 6, 13):
    rest = classification_input.build(data, train_config(), start_step=start)
    assert_same(whole[start:], batches(rest, 17 - start))


@pytest.mark.parametrize(('workers', 'replicas'), [(1, 2), (2, 4)])
def test_workers_share_the_global_batch(workers, replicas):
  data = make_data(23)
  whole = batches(classification_input.build(data, train_config()), 11)
  local = replicas // workers
  shares = []
  for worker in range(workers):
    context = tf.distribute.InputContext(workers, worker, replicas)
    dataset = classification_input.build(data, train_config(), context)
    shares.append(batches(dataset, 11 * local))
  for step, batch in enumerate(whole):
    parts = [part for share in shares for part in share[step * local :][:local]]
    assert [len(labels) for _, labels in parts] == [4 // replicas] * replicas
    joined = tuple(map(np.concatenate, zip(*parts, strict=True)))
    assert_same([batch], [joined])


def test_training_is_endless_and_of_static_shape():
  dataset = classification_input.build(make_data(23), train_config())
  assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
  images, labels = dataset.element_spec
  assert (images.shape, labels.shape) == ((4, *SHAPE), (4,))
  assert labels.dtype == tf.int32


@pytest.mark.parametrize(
  ('workers', 'batch_size'),
  # In the last, a replica halves its last batch to have as many as the other.
  [*itertools.product([1, 2, 3], [6, 12, 600]), (2, 22)],
)
def test_evaluation_sees_each_image_once(workers, batch_size, caplog):
  data = make_data(23)
  config = validation_config(global_batch_size=batch_size)
  seen, counts = [], set()
  with caplog.at_level(logging.INFO, logger='absl'):
    for worker in range(workers):
      context = tf.distribute.InputContext(workers, worker, workers)
      own = batches(classification_input.build(data, config, context))
      counts.add(len(own))
      seen += own
  assert len(counts) == 1
  assert min(len(labels) for _, labels in seen) > 0
  assert 'all 23 images of toys train' in caplog.text
  assert max(len(labels) for _, labels in seen) <= batch_size // workers
  images, labels = map(np.concatenate, zip(*seen, strict=True))
  np.testing.assert_array_equal(labels, range(23))
  np.testing.assert_array_equal(images, data.images)


def test_an_evaluation_that_would_leave_a_replica_without_an_image():
  context = tf.distribute.InputContext(1, 0, 2)
  config = validation_config(global_batch_size=2)
  message = r'batch_size=2 leaves .* 2 replicas, .* 23 images; use at least 4'
  with pytest.raises(UserError, match=message):
    classification_input.build(make_data(23), config, context)
  classification_input.build(make_data(24), config, context)


@pytest.mark.parametrize('make_config', [train_config, validation_config])
@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_type_of_the_images(make_config, dtype):
  data = make_data(4)
  exact, rounded = (
    next(iter(classification_input.build(data, make_config(dtype=dtype))))[0]
    for dtype in ('float32', dtype)
  )
  assert rounded.dtype == dtype
  np.testing.assert_array_equal(rounded, tf.cast(exact, dtype))


@pytest.mark.parametrize('make_config', [train_config, validation_config])
def test_a_batch_that_cannot_be_divided(make_config):
  config = make_config(global_batch_size=8)
  with pytest.raises(UserError, match=r'batch_size=8 .* 3 replicas'):
    classification_input.build(
      make_data(23), config, tf.distribute.InputContext(1, 0, 3)
    )


def test_a_batch_larger_than_the_data():
  with pytest.raises(UserError, match=r'batch_size=24 .* 23 images of toys'):
    classification_input.build(
      make_data(23), train_config(global_batch_size=24)
    )


def test_images_per_second(capsys):
  """Prints the speed of the input alone; machines differ too much to assert."""
  config = train_config(
    global_batch_size=512,
    dtype='bfloat16',
    augmentations=augmented_by(Crop(), Flip(), Cutout()),
  )
  data = make_data(10_000, (32, 32, 3))
  iterator = iter(classification_input.build(data, config))
  for _ in range(10):
    next(iterator)
  steps, start = 40, time.perf_counter()
  for _ in range(steps):
    images, labels = next(iterator)
  seconds = time.perf_counter() - start
  assert images.shape == [512, 32, 32, 3]
  assert labels.shape == [512]
  with capsys.disabled():
    print(f'\ninput: {steps * 512 / seconds:,.0f} augmented images a second')
