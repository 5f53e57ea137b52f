"""The recipe that `prepare_data` writes for a data set."""

import dataclasses
import itertools

import pytest

from official_ext import registry_imports  # noqa: F401
from official_ext.augmentation import crop, cutout, flip
from official_ext.configuration import experiment, gin_config
from official_ext.local_data import recipe

FACTS = recipe.Facts(
  dataset='my_pictures',
  data_dir='/a b/"quoted"',
  num_train=1000,
  image_shape=(28, 40, 3),
  num_classes=3,
  mean=[10.5, 20.0, 0.0],
  stddev=[30.25, 40.0, 0.0],
  mirror=True,
)


@pytest.fixture
def parse(tmp_path, monkeypatch):
  """Writes a recipe, and makes the config of it in another folder."""
  (tmp_path / 'elsewhere').mkdir()
  monkeypatch.chdir(tmp_path / 'elsewhere')
  path = tmp_path / 'mine.gin'

  def parse(**changes):
    facts = dataclasses.replace(FACTS, **changes)
    path.write_text(recipe.text(facts, path))
    gin_config.parse([str(path)], [])
    return experiment.parse_gin_alone()

  return parse


def kinds(config):
  return [type(one.get()) for one in config.task.train_data.augmentations]


def test_it_is_the_recipe_of_these_data(parse):
  params = parse()
  data = params.task.train_data
  assert (data.tfds_name, data.tfds_data_dir) == (
    'my_pictures',
    '/a b/"quoted"',
  )
  assert data.mean_rgb == [10.5, 20.0, 0.0]
  assert data.stddev_rgb == [30.25, 40.0, 1.0]  # What is nowhere stays 0.
  assert params.task.validation_data.mean_rgb == data.mean_rgb
  assert kinds(params) == [crop.Crop, flip.Flip, cutout.Cutout]
  cropped, _, cut = (one.get() for one in data.augmentations)
  assert (cropped.padding, cut.size) == (round(28 / 8), 28 / 4)
  trainer = params.trainer
  assert data.global_batch_size == recipe.batch_size(1000)
  assert trainer.epochs == recipe.epochs(1000)
  schedule = trainer.optimizer_config.learning_rate.get()
  assert schedule.peak_learning_rate == recipe.peak_learning_rate(
    data.global_batch_size
  )
  assert 0 < schedule.peak_epoch < trainer.epochs / 4
  assert trainer.epochs / trainer.evaluation_interval <= 30
  # The rest is as in the file that it begins with.
  gin_config.parse(['gin/resnet9_v100.gin'], [])
  base = experiment.parse_gin_alone()
  assert params.task.model.backbone == base.task.model.backbone
  optimizer = trainer.optimizer_config.optimizer
  assert optimizer == base.trainer.optimizer_config.optimizer


def test_without_mirror_images(parse):
  assert kinds(parse(mirror=False)) == [crop.Crop, cutout.Cutout]


def test_of_as_many_images_as_cifar10_it_is_the_originals(parse):
  """But for the data set: batch, rate, length and augmentation."""
  params = parse(num_train=50_000, image_shape=(32, 32, 3))
  gin_config.parse(['gin/resnet9_v100.gin'], [])
  base = experiment.parse_gin_alone()
  for name in ('global_batch_size', 'augmentations'):
    assert getattr(params.task.train_data, name) == getattr(
      base.task.train_data, name
    )
  assert params.trainer.epochs == base.trainer.epochs
  rates = [
    each.trainer.optimizer_config.learning_rate for each in (params, base)
  ]
  assert rates[0].triangular.peak_learning_rate == 0.4
  assert rates[0].triangular.peak_epoch == rates[1].triangular.peak_epoch


@pytest.mark.parametrize('count', [2, 31, 32, 33, 599, 3000, 10**6])
def test_it_fits_any_number_of_images(parse, count):
  params = parse(num_train=count)
  assert 1 <= params.task.train_data.global_batch_size <= count


@pytest.mark.parametrize(
  ('count', 'batch', 'rate', 'epochs'),
  [
    (2, 2, 0.025, 480),
    (54, 13, 0.064, 480),
    (250, 32, 0.1, 480),
    (599, 32, 0.1, 458),
    (1000, 64, 0.141, 326),
    (4000, 128, 0.2, 129),
    (12_000, 256, 0.283, 62),
    (30_000, 512, 0.4, 34),
    (60_000, 512, 0.4, 24),
  ],
)
def test_the_numbers_of_the_page(count, batch, rate, epochs):
  assert recipe.batch_size(count) == batch
  assert recipe.peak_learning_rate(batch) == rate
  assert recipe.epochs(count) == epochs


def test_fewer_images_are_in_smaller_batches_and_seen_more_often():
  counts = [2, 10, 100, 250, 1000, 4000, 16_000, 50_000, 10**6]
  for fewer, more in itertools.pairwise(counts):
    assert recipe.batch_size(fewer) <= recipe.batch_size(more)
    assert recipe.epochs(fewer) >= recipe.epochs(more)


def test_each_choice_has_its_reason_in_the_file(tmp_path):
  text = recipe.text(FACTS, tmp_path / 'mine.gin')
  comments = ' '.join(
    line.removeprefix('# ') for line in text.splitlines() if line[:1] == '#'
  )
  choices = recipe.choose(FACTS)
  for choice in choices:
    assert choice.why[1:] + '.' in comments
    for name, value in choice.bindings.items():
      assert f'\n{name} = {value}\n' in text
  lines = [line for line in text.splitlines() if 'Command' not in line]
  assert max(map(len, lines)) <= 80


def test_names_are_quoted_for_the_shell(tmp_path):
  assert recipe.command(tmp_path / 'a b.gin') == (
    f"python -m official_ext.train --gin_file '{tmp_path}/a b.gin'"
  )
