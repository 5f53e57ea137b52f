"""A run is compared with the data that it was trained on."""

import json
import shutil
import types

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from helpers import tiny, toys

from official_ext import export
from official_ext.dataloaders.image_source import ImageDataInfo
from official_ext.dataloaders.in_memory import ImageData
from official_ext.errors import UserError
from official_ext.reporting import content
from official_ext.serving import trained_model

SHAPE = (32, 32, 3)
BINDINGS = (
  "data.dataset = 'toys'",
  "data.train_split = 'train'",
  "data.test_split = 'test'",
  'data.batch_size = 10',
)
STOP = 'trainer.train_steps=1'


def prepare(folder, changed=()):
  """Writes 30 images; those `changed` are the negatives of what they were."""
  images = toys.make_images(30, SHAPE)
  images[list(changed)] ^= 255
  train = [{'picture': image, 'kind': i % 3} for i, image in enumerate(images)]
  shutil.rmtree(folder, ignore_errors=True)
  toys.store(folder, image=tfds.features.Image(shape=SHAPE), train=train)


@pytest.fixture(scope='module')
def begun(tmp_path_factory):
  """The folders of a data set and of a run that was stopped."""
  folder = tmp_path_factory.mktemp('begun')
  prepare(folder / 'tfds')
  tiny.run(folder / 'tfds', folder / 'run', BINDINGS, STOP)
  return folder


@pytest.fixture
def place(begun, tmp_path):
  return shutil.copytree(begun, tmp_path / 'place', symlinks=True)


def go_on(place, mode='train_and_eval', bindings=()):
  bindings = [*BINDINGS, *bindings]
  tiny.run(place / 'tfds', place / 'run', bindings, mode=mode)


def test_the_digest_is_of_images_and_labels():
  def digest(images, labels):
    info = ImageDataInfo('', 2, (1, 2, 1), [])
    images = tf.constant(images, tf.uint8, [2, 1, 2, 1])
    return ImageData(info, images, tf.constant(labels, tf.int32)).digest

  assert digest([1, 2, 3, 4], [0, 1]) == 'crc32:b67bbeab'
  assert digest([1, 2, 3, 4], [1, 0]) != digest([1, 2, 3, 4], [0, 1])
  assert digest([3, 4, 1, 2], [0, 1]) != digest([1, 2, 3, 4], [0, 1])


def test_a_run_says_what_its_data_are(begun):
  found = json.loads((begun / 'run' / 'data.json').read_text())
  digests = [split.pop('digest') for split in found.values()]
  toys_1 = {'tfds_name': 'toys', 'version': '1.0.0'}
  assert found == {
    'train': toys_1 | {'split': 'train', 'num_examples': 30},
    'test': toys_1 | {'split': 'test', 'num_examples': 2},
  }
  assert len(set(digests)) == 2
  names = (begun / 'run' / 'class_names.txt').read_text().splitlines()
  assert names == toys.NAMES


def test_the_same_images_prepared_anew_are_the_same(place):
  before = (place / 'run' / 'data.json').read_bytes()
  prepare(place / 'tfds')
  go_on(place)
  assert (place / 'run' / 'data.json').read_bytes() == before
  assert not (place / 'run' / 'data.1.json').exists()


@pytest.mark.parametrize(
  ('mode', 'changed', 'split'),
  [
    ('train_and_eval', 20, 'train'),
    ('train', 20, 'train'),
    ('eval', 1, 'test'),
  ],
)
def test_other_images_under_the_same_name_are_refused(
  place, mode, changed, split
):
  before = sorted(place.rglob('run/*'))
  prepare(place / 'tfds', [changed])
  message = (
    rf'run was trained with other images or labels of toys {split}: '
    rf"{split}.digest='crc32:\w+' \(data.json\), but here it is 'crc32:\w+'; us"
  )
  with pytest.raises(UserError, match=message):
    go_on(place, mode)
  assert sorted(place.rglob('run/*')) == before


def test_a_part_of_the_test_images_may_be_evaluated(place, capsys):
  go_on(place, 'eval', ["data.test_split = 'test[:1]'"])
  assert 'Evaluating' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('key', 'before', 'message'),
  [
    (
      'version',
      '0.9.0',
      "test.version='0.9.0' .data.json.* it is '1.0.0'; use",
    ),
    ('num_examples', 3, r'test.num_examples=3 .data.json.* it is 2; use'),
    (
      'tfds_name',
      'games',
      "test.tfds_name='games' .data.json.* is 'toys'; use",
    ),
  ],
)
def test_what_is_known_without_reading_is_compared_first(
  place, monkeypatch, key, before, message
):
  file = place / 'run' / 'data.json'
  record = json.loads(file.read_text())
  record['test'][key] = before
  file.write_text(json.dumps(record))
  monkeypatch.delattr('official_ext.dataloaders.in_memory.load')
  with pytest.raises(UserError, match=message):
    go_on(place)


@pytest.mark.parametrize('text', ['', '[]', '{"train": {"name": 1}}'])
def test_a_damaged_record_is_named(place, text):
  (place / 'run' / 'data.json').write_text(text)
  with pytest.raises(UserError, match=r'data.json is damaged: .*; restore it,'):
    go_on(place, 'eval')


def test_an_older_run_has_no_record(place):
  (place / 'run' / 'data.json').unlink()
  prepare(place / 'tfds', [20])
  go_on(place)
  assert (place / 'run' / 'data.json').exists()


@pytest.mark.parametrize('changed', [1, 20])
def test_a_report_is_of_the_runs_own_images(place, changed):
  prepare(place / 'tfds', [changed])
  trained = trained_model.load_for_inference(
    str(place / 'run'), data_dir=str(place / 'tfds')
  )
  with pytest.raises(UserError, match='other images or labels of toys t'):
    content.gather(trained)


def test_an_export_is_compared_on_the_runs_own_images(place, monkeypatch):
  prepare(place / 'tfds', [1])
  flags = types.SimpleNamespace(
    model_dir=str(place / 'run'),
    export_dir=str(place / 'exported'),
    checkpoint='',
    data_dir=str(place / 'tfds'),
    evaluate=True,
    onnx=False,
  )
  monkeypatch.setattr(export, 'FLAGS', flags)
  with pytest.raises(UserError, match='other images or labels of toys test'):
    export.main()
  assert not (place / 'exported').exists()


def test_labels_mean_what_they_meant(place):
  """Though the data set has its classes in another order now."""
  labels = {'kind': tfds.features.ClassLabel(names=toys.NAMES[::-1])}
  shutil.rmtree(place / 'tfds')
  images = toys.make_images(30, SHAPE)
  toys.store(
    place / 'tfds',
    image=tfds.features.Image(shape=SHAPE),
    labels=labels,
    train=[{'picture': image, 'kind': i % 3} for i, image in enumerate(images)],
  )
  trained = trained_model.load_for_inference(
    str(place / 'run'), data_dir=str(place / 'tfds')
  )
  assert trained.class_names == toys.NAMES
  with pytest.raises(UserError, match=r"label 0 is 'circle' .* it is 'star'"):
    trained.load(trained.params.task.validation_data)


def test_classes_of_an_older_run_are_those_of_the_data(place, capsys):
  (place / 'run' / 'class_names.txt').unlink()
  trained = trained_model.load_for_inference(
    str(place / 'run'), data_dir=str(place / 'tfds')
  )
  assert trained.class_names == toys.NAMES
  assert capsys.readouterr().err == (
    'warning: the run has no class_names.txt; its classes are called as those '
    'of toys are now.\n'
  )
