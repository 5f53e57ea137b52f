"""Tests of images in arrays: IDX files, NumPy's archives, names of classes."""

import gzip
import io
import struct

import numpy as np
import psutil
import pytest
from helpers.pictures import noise

from official_ext.errors import UserError
from official_ext.local_data import class_names, idx_files, npz_file
from official_ext.local_data.labelled_arrays import Options

AS_IT_IS = Options()
PIXELS = {'train': noise(0, (6, 10, 8)), 'test': noise(1, (3, 10, 8))}
LABELS = {
  'train': np.uint8([0, 1, 2, 0, 1, 2]),
  'test': np.uint8([2, 1, 0]),
}
OF_MNIST = {'train': 'train', 'test': 't10k'}


def idx(array):
  header = struct.pack('>HBB', 0, 8, array.ndim)
  return header + struct.pack(f'>{array.ndim}I', *array.shape) + array.tobytes()


def write_idx(folder, before='', names=OF_MNIST, dot='-', pack=bytes):
  """Writes the four files of MNIST, or as others have named them."""
  folder.mkdir(exist_ok=True)
  ending = '.gz' if pack is gzip.compress else ''
  for split, name in names.items():
    for what, array in (
      (f'images{dot}idx3', PIXELS[split]),
      (f'labels{dot}idx1', LABELS[split]),
    ):
      path = folder / f'{before}{name}-{what}-ubyte{ending}'
      path.write_bytes(pack(idx(array)))
  return folder


def check(images, pixels=PIXELS, labels=LABELS):
  """Compares what was read with what was written."""
  assert [*images.splits] == [*pixels]
  for split, expected in pixels.items():
    read = np.stack([one.read() for one in images.splits[split]])
    assert read.dtype == np.uint8
    assert read.shape[1:] == images.image_shape
    np.testing.assert_array_equal(read, expected.reshape(read.shape))
    found = [one.label for one in images.splits[split]]
    assert found == labels[split].reshape(-1).tolist()


def errors_of(read, source, *arguments):
  with pytest.raises(UserError) as caught:
    read(source, *arguments)
  lines = list(caught.value.lines)
  assert all(line.isprintable() and str(source) in line for line in lines)
  return [line.replace(str(source), 'SOURCE') for line in lines]


# IDX files.


@pytest.mark.parametrize('pack', [bytes, gzip.compress])
@pytest.mark.parametrize('dot', ['-', '.'])
def test_reads_the_files_of_mnist(tmp_path, pack, dot):
  images = idx_files.read(write_idx(tmp_path, dot=dot, pack=pack), AS_IT_IS)
  check(images)
  assert images.class_names == ('0', '1', '2')
  assert images.notes == ()
  place = f'{tmp_path}/train-images{dot}idx3-ubyte'
  assert images.splits['train'][4].origin.removesuffix('[4]') in (
    place,
    f'{place}.gz',
  )


EMNIST = {'train': 'train', 'test': 'test'}


def test_reads_one_of_the_sets_of_emnist(tmp_path):
  write_idx(tmp_path, 'emnist-digits-', EMNIST)
  write_idx(tmp_path, 'emnist-letters-', EMNIST, pack=gzip.compress)
  assert errors_of(idx_files.read, tmp_path, AS_IT_IS) == [
    'SOURCE holds 2 sets of IDX files; name one, such as --idx '
    'SOURCE/emnist-digits (of emnist-digits, emnist-letters).'
  ]
  images = idx_files.read(tmp_path / 'emnist-letters', AS_IT_IS)
  check(images)
  assert images.notes == (
    "EMNIST's images are stored with rows and columns exchanged, so they lie "
    'on their side; --transpose turns them upright.',
  )
  upright = idx_files.read(tmp_path / 'emnist-letters', Options(transpose=True))
  turned = {split: array.swapaxes(1, 2) for split, array in PIXELS.items()}
  assert upright.image_shape == (8, 10, 1)
  check(upright, turned)
  assert upright.notes == ()


def test_training_images_alone_need_a_share(tmp_path):
  write_idx(tmp_path, names={'train': 'train'})
  assert errors_of(idx_files.read, tmp_path, AS_IT_IS) == [
    'SOURCE: no test images; give --test_share 0.1, which draws a tenth of '
    'each class.'
  ]
  images = idx_files.read(tmp_path, Options(test_share=0.1))
  check(images, {'train': PIXELS['train']})


def test_files_that_are_missing_or_there_twice(tmp_path):
  folder = write_idx(tmp_path)
  (folder / 't10k-labels-idx1-ubyte').unlink()
  example = 'train-images-idx3-ubyte and train-labels-idx1-ubyte'
  assert errors_of(idx_files.read, folder, AS_IT_IS) == [
    f'SOURCE lacks the test-labels; name the folder with {example}, gzipped or '
    'not.'
  ]
  nowhere = folder / 'nowhere'
  assert errors_of(idx_files.read, nowhere, AS_IT_IS) == [
    f'SOURCE is no folder with IDX files; name the one with {example}, gzipped '
    'or not.'
  ]
  write_idx(tmp_path, pack=gzip.compress)
  assert errors_of(idx_files.read, folder, AS_IT_IS) == [
    'SOURCE/t10k-images-idx3-ubyte.gz and t10k-images-idx3-ubyte are both the '
    't10k images; leave one of them there.'
  ]


IMAGES = idx(PIXELS['train'])


@pytest.mark.parametrize(
  ('content', 'reason'),
  [
    (
      b'',
      ' cannot be read (unpack requires a buffer of 4 bytes); get it anew.',
    ),
    (
      IMAGES[:-1],
      ' holds fewer than the 480 bytes of 6×10×8 that it states; get it anew.',
    ),
    (
      IMAGES + b'\0',
      ' holds more than the 480 bytes of 6×10×8 that it states; get it anew.',
    ),
    (
      IMAGES[:2] + b'\x0d' + IMAGES[3:],
      ' is no IDX file of 3 axes of unsigned bytes; get it anew, or save its '
      'array with numpy.savez and use --npz.',
    ),
    (
      idx(LABELS['train']),
      ' is no IDX file of 3 axes of unsigned bytes; get it anew, or save its '
      'array with numpy.savez and use --npz.',
    ),
    (
      gzip.compress(IMAGES)[:-9],
      ' cannot be read (Compressed file ended before the end-of-stream marker '
      'was reached); get it anew.',
    ),
  ],
)
def test_a_damaged_file_is_named(tmp_path, content, reason):
  path = write_idx(tmp_path) / 'train-images-idx3-ubyte'
  path.write_bytes(content)
  (line,) = errors_of(idx_files.read, tmp_path, AS_IT_IS)
  assert line == f'SOURCE/{path.name}{reason}'


def test_what_states_gigabytes_is_not_read(tmp_path):
  path = write_idx(tmp_path) / 'train-images-idx3-ubyte'
  path.write_bytes(struct.pack('>HBB3I', 0, 8, 3, 2**31, 2**10, 2**10))
  (line,) = errors_of(idx_files.read, tmp_path, AS_IT_IS)
  assert line.startswith(
    'SOURCE/train-images-idx3-ubyte takes 2097152.0 GiB, more than half of the '
  )


# NumPy's archives.

ARRAYS = {
  'x_train': PIXELS['train'],
  'y_train': LABELS['train'],
  'x_test': PIXELS['test'],
  'y_test': LABELS['test'],
}


def write_npz(path, save=np.savez_compressed, **changes):
  save(path, **ARRAYS | changes)
  return path


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_reads_the_arrays_of_keras(tmp_path, save):
  path = write_npz(tmp_path / 'mnist.npz', save)
  images = npz_file.read(path, npz_file.KEYS, AS_IT_IS)
  check(images)
  assert images.splits['test'][2].origin == f'{path}:x_test[2]'


def test_reads_arrays_by_their_names(tmp_path):
  """Labels of Keras' CIFAR-10 are a column; MedMNIST has a validation split."""
  pixels = {
    'train': noise(0, (6, 8, 9, 3)),
    'test': noise(1, (3, 8, 9, 3)),
    'validation': noise(2, (2, 8, 9, 3)),
  }
  labels = {
    'train': np.int64([[5], [7], [5], [7], [9], [9]]),
    'test': np.int64([[9], [7], [5]]),
    'validation': np.int64([[5], [9]]),
  }
  path = tmp_path / 'a.npz'
  np.savez(
    path,
    **{f'images_{split}': array for split, array in pixels.items()},
    **{f'labels_{split}': array for split, array in labels.items()},
  )
  keys = ', '.join(f'images_{s},labels_{s}' for s in pixels)
  images = npz_file.read(path, keys, AS_IT_IS)
  assert images.class_names == ('5', '7', '9')
  check(images, pixels, {s: (array - 5) // 2 for s, array in labels.items()})
  alone = npz_file.read(
    path, 'images_train,labels_train', Options(test_share=0.5)
  )
  assert [*alone.splits] == ['train']


def test_all_that_is_wrong_with_arrays_is_told_at_once(tmp_path):
  path = write_npz(
    tmp_path / 'a.npz',
    x_train=PIXELS['train'].reshape(6, 80) / 255,
    y_train=np.eye(3)[LABELS['train']],
    x_test=PIXELS['test'].astype(np.int64)[:, np.newaxis],
    y_test=LABELS['test'][:2],
  )
  assert errors_of(npz_file.read, path, npz_file.KEYS, AS_IT_IS) == [
    'SOURCE:x_train (float64): images of another type than uint8; store them, '
    "scaled to 0 to 255, as x.astype('uint8').",
    'SOURCE:x_train (shape [6, 80]): not [n, height, width] or [n, height, '
    'width, 1 or 3]; reshape them.',
    'SOURCE:y_train (float64, shape [6, 3]): several numbers for an image; '
    'store y.argmax(axis=1).',
    'SOURCE:x_test (int64): images of another type than uint8; store them as '
    "x.astype('uint8').",
    'SOURCE:x_test (shape [3, 1, 10, 8]): not [n, height, width] or [n, '
    'height, width, 1 or 3]; store x.transpose(0, 2, 3, 1).',
    'SOURCE:y_test (uint8, shape [2]): not a label for each of the 3 images of '
    'SOURCE:x_test; store one for each.',
  ]


@pytest.mark.parametrize(
  ('changes', 'line'),
  [
    (
      {'x_test': PIXELS['test'][:, :9]},
      'SOURCE:x_test has images of [9, 8, 1], but SOURCE:x_train of [10, 8, '
      '1]; bring them to one shape.',
    ),
    (
      {'x_test': PIXELS['test'][:, :7]},
      'SOURCE:x_test (shape [3, 7, 8]): no images of 8 pixels a side or more, '
      'which the network halves three times; scale them.',
    ),
    (
      {'x_test': PIXELS['test'][:0], 'y_test': LABELS['test'][:0]},
      'SOURCE:x_test (shape [0, 10, 8]): no images of 8 pixels a side or more, '
      'which the network halves three times; scale them.',
    ),
    (
      {'y_test': np.int64([0, -1, 2])},
      'SOURCE:y_test (-1): a label below 0; leave unlabelled images out.',
    ),
    (
      {'y_test': np.float32([0, 1, 2])},
      'SOURCE:y_test (float32, shape [3]): labels that are no integers; store '
      "y.astype('int64').",
    ),
    (
      {'y_test': np.array(['a', 'b', 'c'])},
      'SOURCE:y_test (<U1, shape [3]): labels that are no integers; store '
      "y.astype('int64').",
    ),
    (
      {'y_test': np.int64(3)},
      'SOURCE:y_test (int64, shape []): not a label for each of the 3 images '
      'of SOURCE:x_test; store one for each.',
    ),
    (
      {'x_test': np.uint8(3), 'y_test': LABELS['test'][:1]},
      'SOURCE:x_test (shape []): not [n, height, width] or [n, height, width, '
      '1 or 3]; reshape them.',
    ),
    (
      {'x_test': np.array([{}], object)},
      'SOURCE:x_test cannot be read (Object arrays cannot be loaded when '
      'allow_pickle=False); save arrays of numbers with '
      'numpy.savez_compressed.',
    ),
  ],
)
def test_arrays_that_are_not_of_images_and_labels(tmp_path, changes, line):
  path = write_npz(tmp_path / 'a.npz', **changes)
  assert errors_of(npz_file.read, path, npz_file.KEYS, AS_IT_IS) == [line]


def test_names_that_are_not_in_the_archive(tmp_path):
  path = write_npz(tmp_path / 'a.npz')
  assert errors_of(npz_file.read, path, 'images,y_train', AS_IT_IS) == [
    'SOURCE has no images, but x_train, y_train, x_test, y_test; name the '
    f'images and the labels with --npz_keys, as in {npz_file.KEYS}.'
  ]
  for keys in ('x_train', 'x_train,y_train,x_test', 'x_train,', ''):
    with pytest.raises(UserError, match=f'^--npz_keys={keys} does not name im'):
      npz_file.read(path, keys, AS_IT_IS)


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04', b'<html>', None])
def test_a_file_that_is_no_archive(tmp_path, content):
  path = tmp_path / 'a.npz'
  if content is None:
    file = io.BytesIO()
    np.save(file, PIXELS['train'])
    content = file.getvalue()
  path.write_bytes(content)
  (line,) = errors_of(npz_file.read, path, npz_file.KEYS, AS_IT_IS)
  assert line.startswith('SOURCE cannot be read (')
  path.unlink()
  assert errors_of(npz_file.read, path, npz_file.KEYS, AS_IT_IS) == [
    'SOURCE is not a file; name one that numpy.savez wrote.'
  ]


def test_an_array_larger_than_the_memory_is_not_read(tmp_path, monkeypatch):
  path = write_npz(tmp_path / 'a.npz', x_train=np.zeros((99, 90, 80), np.uint8))
  memory = psutil.virtual_memory()._replace(available=2**20)
  monkeypatch.setattr(psutil, 'virtual_memory', lambda: memory)
  (line,) = errors_of(npz_file.read, path, npz_file.KEYS, AS_IT_IS)
  assert line.startswith('SOURCE:x_train takes 0.0 GiB, more than half of')


# Names of classes.


def names_of(labels, classes):
  labels = {'train': np.array(labels), 'test': np.array(labels[:1])}
  names, values, notes = class_names.of(labels, classes, 'LABELS')
  return names, values.tolist(), notes


def test_classes_are_named_by_their_labels_in_order():
  assert names_of([10, 2, 10, 3], None) == (('2', '3', '10'), [2, 3, 10], ())


def test_classes_are_named_by_a_list_or_a_file(tmp_path):
  path = tmp_path / 'class_names.txt'
  path.write_text('ant\nbig bee\n\ncat\n')
  expected = ('ant', 'big bee', 'cat'), [0, 1, 2]
  assert names_of([0, 2], 'ant, big bee,cat') == (*expected, ())
  assert names_of([0, 2], str(path)) == (*expected, ())
  # As EMNIST's letters have it.
  assert names_of([1, 3, 2], str(path)) == (
    expected[0],
    [1, 2, 3],
    ("Labels begin with 1: it is ant's.",),
  )


@pytest.mark.parametrize(
  ('labels', 'classes', 'reason'),
  [
    ([0, 3], 'a,b,c', '--classes=a,b,c has 3 names, but labels of LABELS go '),
    ([4, 4], None, 'LABELS has the label 4 alone; there must be two classes.'),
    ([0, 1], 'a,b,a', '--classes=a,b,a: a is there twice; give at least two'),
    ([0, 1], 'nowhere.txt', '--classes=nowhere.txt: no list of names; give at'),
  ],
)
def test_names_that_do_not_fit(labels, classes, reason):
  with pytest.raises(UserError, match=f'^{reason}'):
    names_of(labels, classes)
