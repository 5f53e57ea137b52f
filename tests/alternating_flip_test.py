"""Flips that go on from epoch to epoch."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from helpers import input_batches

from official_ext.augmentation.crop import Crop
from official_ext.augmentation.flip import Flip
from official_ext.dataloaders import (
  augmentation_choices,
  classification_input,
)

COUNT, BATCH = 203, 20
STEPS = COUNT // BATCH


def config_of(*steps, **overrides):
  return input_batches.train_config(
    global_batch_size=BATCH,
    augmentations=input_batches.augmented_by(*steps),
    mean_rgb=[0.0] * 3,
    stddev_rgb=[1.0] * 3,
    seed=5,
    **overrides,
  )


def flips_by_image(config, epochs):
  """Whether each image was flipped, `[epochs, COUNT]`; -1 where left out."""
  data = input_batches.make_data(COUNT)
  originals = data.images.numpy()
  found = np.full([epochs, COUNT], -1)
  dataset = classification_input.build(data, config)
  batches = itertools.islice(dataset.as_numpy_iterator(), epochs * STEPS)
  for number, (images, labels) in enumerate(batches):
    for image, label in zip(images, labels, strict=True):
      original = originals[label]
      flipped = (image == original[:, ::-1]).all()
      assert flipped or (image == original).all()
      found[number // STEPS, label] = flipped
  return found


@pytest.mark.parametrize('stratified', [False, True])
def test_each_image_is_flipped_in_every_other_epoch(stratified):
  config = config_of(Flip(alternating=True, stratified=stratified))
  found = flips_by_image(config, 5)
  # Images of partial batches are left out, other ones each time.
  assert ((found == -1).sum(1) == COUNT - STEPS * BATCH).all()
  begins = found ^ (np.arange(5)[:, np.newaxis] % 2)
  of_image = [
    set(row[seen]) for row, seen in zip(begins.T, found.T >= 0, strict=True)
  ]
  assert {len(values) for values in of_image} == {1}
  flipped = sum(max(values) for values in of_image)
  if stratified:
    assert flipped in (COUNT // 2, COUNT // 2 + 1)
  else:  # Within four deviations of half.
    assert abs(flipped - COUNT / 2) < 4 * np.sqrt(COUNT) / 2


def test_half_of_the_images_begin_flipped():
  for seed in range(3):
    config = config_of(Flip(alternating=True), Crop(padding=2))
    config.seed = seed
    first, second = (
      augmentation_choices.choose_for_epoch(
        config, epoch, tf.range(10_000), [8, 8]
      )[0].numpy()
      for epoch in (0, 1)
    )
    np.testing.assert_array_equal(second, ~first)
    assert abs(first.sum() - 5000) < 4 * 50
    # Not a pattern of the places in the data set.
    assert abs((first[1:] != first[:-1]).sum() - 5000) < 4 * 50


def test_a_resume_and_two_workers_choose_the_same():
  start = STEPS + 4
  steps = Flip(alternating=True), Crop(padding=2), Flip(stratified=True)
  config = config_of(*steps, preprocess_on_device=True)

  def unprocessed(begin, context=None):
    data = input_batches.make_data(COUNT)
    dataset = classification_input.build(data, config, context, begin)
    return [
      (batch.images, *batch.choices)
      for batch, _ in input_batches.batches(dataset, 2 * STEPS - begin)
    ]

  whole = unprocessed(0)[start:]
  shares = [
    unprocessed(start, tf.distribute.InputContext(2, worker, 2))
    for worker in range(2)
  ]
  for batch, *parts in zip(whole, *shares, strict=True):
    for values, *of_workers in zip(batch, *parts, strict=True):
      np.testing.assert_array_equal(np.concatenate(of_workers), values)


def test_what_stands_beside_it_draws_what_it_draws_alone():
  """And an alternating flip that comes twice is drawn anew."""
  size, order = [8, 8], tf.range(400)

  def of_epoch(*steps):
    return augmentation_choices.choose_for_epoch(
      config_of(*steps), 3, order, size
    )

  flip, evenly = Flip(alternating=True), Flip(stratified=True)
  (alone,) = of_epoch(flip)
  (spread,) = of_epoch(evenly)
  one, beside, two = of_epoch(flip, evenly, flip)
  np.testing.assert_array_equal(one, alone)
  np.testing.assert_array_equal(beside, spread)
  agreeing = np.mean(one.numpy() == two.numpy())
  assert 0.4 < agreeing < 0.6
