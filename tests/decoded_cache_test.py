"""What was decoded is kept for the next process, and used only if it is right.

Here another handle on the data set stands for the next process, where none is
started.
"""

import concurrent.futures
import mmap
import os
import pathlib
import shutil
import signal
import types

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from helpers import toys
from helpers.commands import CONTEXT

from official_ext.dataloaders import decoded_cache, in_memory
from official_ext.errors import UserError
from official_ext.files import whole

IMAGE_BYTES = 5 * 6 * 3


@pytest.fixture
def decoded(monkeypatch):
  """Lists the splits that are decoded, one after the other."""
  splits, read = [], in_memory._read

  def read_and_list(source):
    splits.append(source.split)
    return read(source)

  monkeypatch.setattr(in_memory, '_read', read_and_list)
  return splits


def load(folder, split='train', **overrides):
  config = toys.train_config(folder, split=split, **overrides)
  return toys.load(config, toys.model_config())


def kept(path):
  """The files that are there, less the one by which a writer keeps others out.

  Args:
    path: TFDS' own kind of path.
  """
  files = pathlib.Path(path, 'decoded').iterdir()
  return sorted(file for file in files if file.name != '.lock')


def assert_is_train(data, images=None):
  images = toys.make_images(7) if images is None else images
  np.testing.assert_array_equal(data.images, images)
  np.testing.assert_array_equal(data.labels, [0, 1, 2, 0, 1, 2, 0])


@pytest.mark.parametrize(
  'split', ['train', 'train[2:5]', 'test+train[5:]', 'train+test+train']
)
def test_the_next_process_reads_the_same(tmp_path, decoded, split):
  toys.store(tmp_path)
  first, second = load(tmp_path, split), load(tmp_path, split)
  assert decoded == [split]
  assert first.info == second.info
  for name in ('images', 'labels'):
    one, other = getattr(first, name), getattr(second, name)
    np.testing.assert_array_equal(one, other)
    assert (one.dtype, one.device) == (other.dtype, other.device)


def test_one_channel(tmp_path, decoded):
  shape = (5, 6, 1)
  image = toys.make_images(1, shape)[0]
  toys.store(
    tmp_path,
    image=tfds.features.Image(shape=shape),
    train=[{'picture': image, 'kind': 0}] * 2,
  )
  for _ in range(2):
    data = toys.load(toys.train_config(tmp_path), toys.model_config(3, shape))
    np.testing.assert_array_equal(data.images, [image, image])
  assert decoded == ['train']


def test_another_label_is_another_file(tmp_path, decoded):
  label = tfds.features.ClassLabel(num_classes=3)
  toys.store(
    tmp_path,
    labels={'fine': label, 'coarse': label},
    train=toys.examples(2, fine=[1, 2], coarse=[0, 1]),
  )
  for key, labels in {'fine': [1, 2], 'coarse': [0, 1]}.items():
    for _ in range(2):
      data = load(tmp_path, label_field_key=key)
      np.testing.assert_array_equal(data.labels, labels)
  assert decoded == ['train', 'train']


def test_the_images_are_in_memory_once(tmp_path, monkeypatch):
  toys.store(tmp_path)
  load(tmp_path)
  maps, make = [], mmap.mmap

  def make_and_list(*args):
    maps.append(make(*args))
    return maps[-1]

  monkeypatch.setattr(mmap, 'mmap', make_and_list)
  images = load(tmp_path).images
  (pages,) = maps
  assert len(pages) == 7 * IMAGE_BYTES
  assert np.shares_memory(np.frombuffer(pages, np.uint8), np.asarray(images))


def test_the_file_is_the_images_the_labels_and_a_checksum(tmp_path):
  path = toys.store(tmp_path)
  data = load(tmp_path)
  (file,) = kept(path)
  content = file.read_bytes()
  assert len(content) == 7 * (IMAGE_BYTES + 4) + 4
  expected = data.images.numpy().tobytes() + data.labels.numpy().tobytes()
  assert content[:-4] == expected


def test_tfds_does_not_mind(tmp_path):
  path = toys.store(tmp_path)
  load(tmp_path)
  builders = (
    tfds.builder('toys', data_dir=tmp_path),
    tfds.builder('toys:1.*.*', data_dir=tmp_path),
    tfds.builder_from_directory(path),
  )
  for builder in builders:
    assert builder.is_prepared()
    read = [example['picture'] for example in builder.as_dataset('train')]
    np.testing.assert_array_equal(read, toys.make_images(7))


# A file that is not used.


def lengthen(path):
  path.write_bytes(path.read_bytes() + b'\0')


def empty(path):
  path.write_bytes(b'')


def change_the_label_of_the_last(path):
  content = bytearray(path.read_bytes())
  content[-8] = (content[-8] + 1) % 3
  path.write_bytes(content)


def hold_zeros(path):
  """As a file may after a power cut."""
  path.write_bytes(b'\0' * path.stat().st_size)


DAMAGES = [
  *(toys.cut_short, toys.flip_a_byte, lengthen, empty),
  *(change_the_label_of_the_last, hold_zeros),
]


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_file_is_made_anew(tmp_path, decoded, damage):
  path = toys.store(tmp_path)
  load(tmp_path)
  (file,) = kept(path)
  content = file.read_bytes()
  damage(file)
  for _ in range(2):
    assert_is_train(load(tmp_path))
  assert decoded == ['train', 'train']
  assert file.read_bytes() == content


def test_a_file_of_another_name_is_not_used(tmp_path, decoded):
  """Two splits of one size, one's file under the other's name."""
  path = toys.store(tmp_path)
  load(tmp_path, 'train[:3]')
  (file,) = kept(path)
  load(tmp_path, 'train[3:6]')
  (other,) = set(kept(path)) - {file}
  assert file.stat().st_size == other.stat().st_size
  shutil.copy(other, file)
  data = load(tmp_path, 'train[:3]')
  np.testing.assert_array_equal(data.images, toys.make_images(7)[:3])
  assert decoded == ['train[:3]', 'train[3:6]', 'train[:3]']


@pytest.mark.parametrize(
  'damage',
  [toys.cut_short, toys.cut_between_records, toys.flip_a_byte, os.remove],
)
def test_damage_of_the_data_set_is_still_told(tmp_path, damage):
  path = toys.store(tmp_path)
  load(tmp_path)
  (shard,) = path.glob('toys-train.tfrecord*')
  damage(shard)
  with pytest.raises(UserError, match=f'{path} is damaged'):
    load(tmp_path)


def test_labels_are_checked_each_time(tmp_path):
  toys.store(tmp_path, train=toys.examples(4, kind=[0, 1, -1, 2]))
  for _ in range(2):
    with pytest.raises(UserError, match='image 2 of toys train has label -1'):
      load(tmp_path)


def test_files_of_a_data_set_that_is_made_anew_are_replaced(tmp_path, decoded):
  path = toys.store(tmp_path / 'old')
  for split in ('train', 'test'):
    load(tmp_path / 'old', split)
  others = 255 - toys.make_images(7)
  train = [{'picture': image, 'kind': i % 3} for i, image in enumerate(others)]
  new = toys.store(tmp_path / 'new', train=train)
  shutil.copytree(path / 'decoded', new / 'decoded')
  assert len(kept(new)) == 2
  for _ in range(2):
    assert_is_train(load(tmp_path / 'new'), others)
  assert decoded == ['train', 'test', 'train']
  (file,) = kept(new)
  assert file.name not in {old.name for old in kept(path)}


def test_the_versions_that_decode_count(tmp_path, decoded, monkeypatch):
  toys.store(tmp_path)
  for module in (tf, tfds):
    load(tmp_path)
    monkeypatch.setattr(module, '__version__', 'another')
  load(tmp_path)
  assert decoded == ['train'] * 3


# What lies there is little, and nobody waits for it.


def test_four_files_at_most(tmp_path, decoded):
  path = toys.store(tmp_path)
  splits = [f'train[:{count}]' for count in range(1, 7)]
  for second, split in enumerate(splits):
    before = kept(path) if second else []
    load(tmp_path, split)
    (file,) = set(kept(path)) - set(before)
    os.utime(file, (second, second))
  assert len(kept(path)) == 4
  for split in splits[2:]:
    load(tmp_path, split)
  assert decoded == splits


def die(*_):
  os.kill(os.getpid(), signal.SIGKILL)


def load_and_die(folder):
  whole.pathlib.Path.replace = die
  load(folder)


def test_a_killed_writer_leaves_nothing_that_stays(tmp_path, decoded):
  path = toys.store(tmp_path)
  process = CONTEXT.Process(target=load_and_die, args=(tmp_path,))
  process.start()
  process.join()
  assert process.exitcode == -signal.SIGKILL
  (left,) = kept(path)
  assert left.name.endswith('.new')
  assert_is_train(load(tmp_path))
  assert_is_train(load(tmp_path))
  assert decoded == ['train']
  (file,) = kept(path)
  assert file == left.with_name(left.name[1:].removesuffix('.new'))
  # One of another split goes, too.
  left.write_bytes(b'half')
  load(tmp_path, 'test')
  assert left not in kept(path)
  assert len(kept(path)) == 2


def test_several_at_once(tmp_path):
  path = toys.store(tmp_path)
  with concurrent.futures.ProcessPoolExecutor(3, CONTEXT) as processes:
    loaded = [processes.submit(load_numpy, tmp_path) for _ in range(6)]
    for future in loaded:
      np.testing.assert_array_equal(future.result(), toys.make_images(7))
  assert len(kept(path)) == 1


def load_numpy(folder):
  return load(folder).images.numpy()


def test_another_process_is_not_waited_for(tmp_path, decoded):
  path = toys.store(tmp_path)
  (path / 'decoded').mkdir()
  with decoded_cache._alone(path / 'decoded'):
    assert_is_train(load(tmp_path))
    assert kept(path) == []
  for _ in range(2):
    assert_is_train(load(tmp_path))
  assert decoded == ['train', 'train']


# Where there can be no file.


def test_a_folder_that_cannot_be_written(tmp_path, decoded):
  path = toys.store(tmp_path)
  (path / 'decoded').touch()
  for _ in range(2):
    assert_is_train(load(tmp_path))
  assert decoded == ['train', 'train']


def test_a_folder_that_cannot_be_listed(tmp_path, decoded, monkeypatch):
  """Such as one in a bucket, which only TensorFlow can read."""
  path = toys.store(tmp_path)

  def fail(_):
    raise FileNotFoundError

  # Not the module's own, which TFDS uses.
  ours = types.SimpleNamespace(scandir=fail)
  monkeypatch.setattr(decoded_cache, 'os', ours)
  for _ in range(2):
    assert_is_train(load(tmp_path))
  assert decoded == ['train', 'train']
  assert not (path / 'decoded').exists()


def test_a_folder_in_the_place_of_the_file(tmp_path, decoded):
  path = toys.store(tmp_path)
  load(tmp_path)
  (file,) = kept(path)
  file.unlink()
  file.mkdir()
  assert_is_train(load(tmp_path))
  assert kept(path) == [file]


def test_a_full_disk(tmp_path, decoded, full_disk):
  path = toys.store(tmp_path)
  full_disk(7 * IMAGE_BYTES)  # The labels have no room.
  assert_is_train(load(tmp_path))
  assert kept(path) == []
  full_disk(7 * (IMAGE_BYTES + 4) + 4)
  for _ in range(2):
    assert_is_train(load(tmp_path))
  assert decoded == ['train', 'train']


def test_half_of_the_free_disk_is_left(tmp_path, decoded, monkeypatch):
  path = toys.store(tmp_path)
  size = 7 * (IMAGE_BYTES + 4)

  def free(count):
    usage = types.SimpleNamespace(free=count)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)

  free(2 * size - 1)
  assert_is_train(load(tmp_path))
  assert kept(path) == []
  free(2 * size)
  for _ in range(2):
    assert_is_train(load(tmp_path))
  assert decoded == ['train', 'train']
