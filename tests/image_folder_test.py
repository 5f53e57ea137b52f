"""Tests of official_ext.local_data.image_folder and folder_layout."""

import os
import shutil

import numpy as np
import pytest
from helpers.pictures import noise, save
from PIL import Image

from official_ext.errors import UserError, UserErrors
from official_ext.local_data import examples, image_folder, picture

AS_IT_IS = picture.Options()


@pytest.fixture
def photos(tmp_path):
  """Two classes, two training images and one test image each, of 10×8."""
  seed = 0
  for split, count in (('train', 2), ('test', 1)):
    for name in ('cat', 'ant'):
      for i in range(count):
        save(tmp_path / split / name / f'{i}.png', noise(seed))
        seed += 1
  return tmp_path


def errors_of(folder, options=AS_IT_IS, share=None):
  """Returns all that is wrong with a folder, a line each."""
  with pytest.raises(UserError) as caught:
    image_folder.read(folder, options, share)
  assert all(line.isprintable() for line in caught.value.lines)
  return list(caught.value.lines)


def paths_of(images):
  return {
    split: [(one.origin, one.label) for one in examples]
    for split, examples in images.splits.items()
  }


def test_reads_a_folder_of_images(photos):
  images = image_folder.read(photos, AS_IT_IS)
  assert images.class_names == ('ant', 'cat')
  assert images.image_shape == (8, 10, 3)
  assert images.notes == ()
  assert paths_of(images) == {
    'train': [
      (f'{photos}/train/{name}/{i}.png', label)
      for label, name in enumerate(('ant', 'cat'))
      for i in range(2)
    ],
    'test': [(f'{photos}/test/ant/0.png', 0), (f'{photos}/test/cat/0.png', 1)],
  }
  # The fixture's fifth picture is the first of cats to be tested on.
  np.testing.assert_array_equal(images.splits['test'][1].read(), noise(4))
  digests = [one.digest for one in images.splits['train']]
  assert len(set(digests)) == 4
  assert digests[2] == examples.digest(noise(0))


def test_a_file_that_changes_is_kept_as_it_was_or_noticed(photos, monkeypatch):
  """As long as there is room: here, for one image."""
  monkeypatch.setattr(image_folder, '_KEPT_BYTES', 8 * 10 * 3)
  first, second, *_ = image_folder.read(photos, AS_IT_IS).splits['train']
  np.testing.assert_array_equal(second.read(), noise(3))
  for number in range(2):
    save(photos / f'train/ant/{number}.png', noise(99))
  np.testing.assert_array_equal(first.read(), noise(2))
  with pytest.raises(UserError, match=r'ant/1\.png has changed while the im'):
    second.read()


def test_all_that_is_wrong_is_told_at_once(photos):
  """By kind, with the first of each."""
  cat = photos / 'train/cat'
  for name in ('x.png', 'y.jpg', 'z.webp'):
    (cat / name).touch()
  (cat / 'notes.txt').write_text('cats')
  frames = [Image.fromarray(noise(seed)) for seed in range(2)]
  for place in (cat, photos / 'test/ant'):
    frames[0].save(place / 'a.gif', save_all=True, append_images=frames[1:])
  save(photos / 'test/cat/large.png', noise(1, (9, 12, 3)))
  (photos / 'test/cat/more').mkdir()
  with pytest.raises(UserErrors) as caught:
    image_folder.read(photos, AS_IT_IS)
  assert caught.value.lines == [
    f'{photos}/test/cat/more: a folder in a class folder; move its images up.',
    f'{cat}/a.gif and 1 more: an animation; keep one of its pictures, as PNG.',
    f'{cat}/notes.txt: no picture in PNG, JPEG, WebP, GIF or BMP; convert, or '
    'remove.',
    f'{cat}/x.png and 2 more: empty; remove, or get anew.',
    f'{photos}: images of several sizes, 6 of 10×8 (the first: '
    f'{photos}/train/ant/0.png), 1 of 12×9 (the first: '
    f'{photos}/test/cat/large.png); give --resize 8, or bring them to one '
    'size.',
  ]
  assert str(caught.value) == ' '.join(caught.value.lines)


def test_several_sizes_are_told_with_a_side_that_suits_them(photos):
  for number in range(5):
    save(photos / f'train/cat/s{number}.png', noise(0, (61, 30 + number, 3)))
  (line,) = errors_of(photos)
  assert line.startswith(
    f'{photos}: images of several sizes, 6 of 10×8 (the first: {photos}/train/'
    f'ant/0.png), 1 of 30×61 (the first: {photos}/train/cat/s0.png), 1 of 31×6'
  )
  assert line.endswith(
    ', and 3 other sizes; give --resize 8, or bring them to one size.'
  )
  shutil.rmtree(photos / 'train/ant')
  shutil.rmtree(photos / 'test/ant')
  for split in ('train', 'test'):
    save(photos / split / 'cat/0.png', noise(0, (50, 90, 3)))
    save(photos / split / 'dog/0.png', noise(0, (50, 90, 3)))
  (photos / 'train/cat/1.png').unlink()
  assert '; give --resize 32, or bring' in errors_of(photos)[0]


def test_one_size_is_made_of_several(photos):
  save(photos / 'train/cat/a.png', noise(11, (20, 30, 3)))
  save(photos / 'train/cat/b.png', noise(12, (16, 16, 3)))
  options = picture.Options(side=16)
  images = image_folder.read(photos, options)
  assert images.image_shape == (16, 16, 3)
  assert images.notes == (
    'Brought to 16×16: 7 of 8 images, by scaling the shorter side '
    '(antialiased, Lanczos) and cropping around the centre; 6 of them were '
    'smaller.',
  )
  by_path = {one.origin: one for one in images.splits['train']}
  np.testing.assert_array_equal(
    by_path[f'{photos}/train/cat/b.png'].read(), noise(12, (16, 16, 3))
  )
  np.testing.assert_array_equal(
    by_path[f'{photos}/train/cat/a.png'].read(),
    picture.read(photos / 'train/cat/a.png', options).pixels,
  )


def test_what_was_done_is_told_by_kind(photos):
  for name in ('a', 'b'):
    save(photos / f'train/cat/{name}.png', noise(20), 'P')
  save(photos / 'train/ant/c.jpg', noise(21), 'CMYK')
  (photos / 'test/ant/Thumbs.db').touch()
  assert image_folder.read(photos, AS_IT_IS).notes == (
    f'Left out: {photos}/test/ant/Thumbs.db (hidden, or a file of the system).',
    "CMYK, stored as RGB by Pillow's formula without a colour profile: "
    f'{photos}/train/ant/c.jpg.',
    'Stored as RGB of the same colours (a palette, or opaque throughout): '
    f'{photos}/train/cat/a.png and 1 more.',
  )


# Where files lie.


@pytest.mark.parametrize(
  'name',
  [
    '.DS_Store',
    '.thumbs.png',
    '._0.png',
    'Thumbs.db',
    'desktop.ini',
    '.thumbnails/0.png',
    '@eaDir/0.png',
  ],
)
@pytest.mark.parametrize('place', ['.', 'train', 'train/cat'])
def test_hidden_files_and_those_of_systems_are_left_out(photos, name, place):
  expected = paths_of(image_folder.read(photos, AS_IT_IS))
  path = photos / place / name
  path.parent.mkdir(exist_ok=True)
  path.write_bytes(b'x')
  images = image_folder.read(photos, AS_IT_IS)
  assert paths_of(images) == expected
  first = (photos / place / name.split('/')[0]).resolve()
  assert images.notes == (
    f'Left out: {first} (hidden, or a file of the system).',
  )


def test_what_lies_beside_the_splits_is_told(photos):
  (photos / 'labels.csv').touch()
  (photos / 'train/labels.csv').touch()
  save(photos / 'extra/cat/0.png', noise(0))
  assert image_folder.read(photos, AS_IT_IS).notes == (
    f'Left out: {photos}/extra and 2 more (outside of the class folders).',
  )
  save(photos / 'train/0.png', noise(0))
  assert errors_of(photos) == [
    f'{photos}/train/0.png: an image outside of the class folders; move into '
    'one.'
  ]


@pytest.mark.parametrize('name', ['val', 'valid', 'Validation'])
def test_validation_is_the_test_split_where_there_is_no_other(photos, name):
  (photos / 'test').rename(photos / name)
  images = image_folder.read(photos, AS_IT_IS)
  assert paths_of(images)['test'] == [
    (f'{photos}/{name}/ant/0.png', 0),
    (f'{photos}/{name}/cat/0.png', 1),
  ]
  assert images.splits.keys() == {'train', 'test'}
  assert images.notes == (
    f'{photos}/{name} is taken for the test split, as there is no other.',
  )


def test_validation_beside_test_is_a_split_of_its_own(photos):
  shutil.copytree(photos / 'test', photos / 'val')
  images = image_folder.read(photos, AS_IT_IS)
  assert [*images.splits] == ['train', 'test', 'validation']
  assert paths_of(images)['validation'][0] == (f'{photos}/val/ant/0.png', 0)
  assert images.notes == (
    f'{photos}/val becomes the split validation, beside test; --gin_params '
    '"data.test_split=\'validation\'" evaluates on it.',
  )


def test_splits_by_other_names(photos):
  (photos / 'train').rename(photos / 'Training')
  (photos / 'test').rename(photos / 'testing')
  images = image_folder.read(photos, AS_IT_IS)
  assert images.splits.keys() == {'train', 'test'}
  shutil.copytree(photos / 'Training', photos / 'train')
  assert errors_of(photos) == [
    f'{photos}/train: a second folder of train, beside Training; put their '
    'images together.'
  ]


def test_a_folder_that_is_not_split(photos):
  (photos / 'train').rename(photos / 'all')
  shutil.rmtree(photos / 'test')
  assert errors_of(photos / 'all') == [
    f'{photos}/all: no test images; give --test_share 0.1, which draws a tenth '
    'of each class.'
  ]
  images = image_folder.read(photos / 'all', AS_IT_IS, 0.1)
  assert [*images.splits] == ['train']
  assert images.class_names == ('ant', 'cat')
  assert errors_of(photos, share=0.1) == [
    f'{photos} holds all alone, which holds the other folders; give --folder '
    f'{photos}/all.'
  ]


def test_a_folder_with_train_alone(photos):
  shutil.rmtree(photos / 'test')
  assert f'{photos}: no test images; give --test_share' in errors_of(photos)[0]
  assert len(image_folder.read(photos, AS_IT_IS, 0.1).splits['train']) == 4


def test_a_share_is_not_drawn_where_there_are_test_images(photos):
  assert errors_of(photos, share=0.1) == [
    f'--test_share=0.1: {photos} has test images; leave it out.'
  ]


def test_trains_are_a_class_too(photos):
  (photos / 'train/cat').rename(photos / 'plane')
  (photos / 'train/ant').rename(photos / 'Train')
  shutil.rmtree(photos / 'train')
  shutil.rmtree(photos / 'test')
  images = image_folder.read(photos, AS_IT_IS, 0.1)
  assert images.class_names == ('Train', 'plane')


def test_splits_without_class_folders(tmp_path):
  for split in ('train', 'test'):
    save(tmp_path / split / '0.png', noise(0))
  assert errors_of(tmp_path) == [
    f'{tmp_path}/train/0.png and 1 more: an image outside of the class '
    'folders; move into one.',
    f'{tmp_path}/train: 0 class folders; sort the images into a folder for '
    'each class, at least two.',
  ]


def test_a_test_split_alone(photos):
  shutil.rmtree(photos / 'train')
  assert errors_of(photos) == [
    f'{photos}/train: not a folder; sort the images as {photos}/train/CLASS/'
    f'*.png, or as {photos}/CLASS/*.png with --test_share 0.1.'
  ]


def test_classes_of_one_split_only(photos):
  for name in ('dog', 'eel'):
    save(photos / f'test/{name}/0.png', noise(0))
  save(photos / 'train/fox/0.png', noise(0))
  assert errors_of(photos) == [
    f'{photos}/train/dog and 2 more: missing, though the class is in another '
    'split; add it, or remove the class from all splits.'
  ]


def test_an_empty_class_and_a_single_one(photos):
  (photos / 'test/cat/0.png').unlink()
  assert errors_of(photos) == [
    f'{photos}/test/cat: a class folder without images; put some there, or '
    'remove.'
  ]
  for split in ('train', 'test'):
    shutil.rmtree(photos / split / 'cat')
  assert errors_of(photos) == [
    f'{photos}/train: 1 class folders; sort the images into a folder for each '
    'class, at least two.'
  ]


def test_a_place_that_is_no_folder(tmp_path):
  place = tmp_path / 'a.zip'
  assert errors_of(place) == [
    f'{place} is not a folder; name the one with the images.'
  ]


@pytest.mark.parametrize('name', ['a\nb', ' a', 'a\x1b[31m'])
def test_names_that_do_not_fit_a_line(photos, name):
  for split in ('train', 'test'):
    (photos / split / 'cat').rename(photos / split / name)
  first, *_ = errors_of(photos)
  assert first == (
    f'{photos}/train holds {name!r} and 1 more: not a name for a line; rename '
    'without line breaks, control characters and outer spaces.'
  )


def test_a_link_out_of_the_folder(photos, tmp_path_factory):
  secret = tmp_path_factory.mktemp('home') / 'secret.png'
  save(secret, noise(0))
  (photos / 'train/cat/a.png').symlink_to(secret)
  assert errors_of(photos) == [
    f'{photos}/train/cat/a.png: a link out of {photos}; put what it leads to '
    'in its place.'
  ]


def test_follows_a_link_within_the_folder(photos):
  (photos / 'train/cat/a.png').symlink_to(photos / 'train/cat/0.png')
  assert len(image_folder.read(photos, AS_IT_IS).splits['train']) == 5


@pytest.mark.parametrize(
  'make', [os.mkfifo, lambda path: path.symlink_to(path)]
)
def test_a_pipe_and_a_link_to_itself(photos, make):
  make(photos / 'train/cat/a.png')
  assert errors_of(photos) == [f'{photos}/train/cat/a.png: not a file; remove.']
