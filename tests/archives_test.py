"""Tests of official_ext.local_data.cifar10_archive and restricted_pickle."""

import contextlib
import gzip
import io
import os
import pickle
import re
import struct
import tarfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from official_ext.errors import UserError
from official_ext.local_data import cifar10_archive

N = 20  # images in a batch, instead of 10,000

NAMES = [
  'airplane',
  'automobile',
  'bird',
  'cat',
  'deer',
  'dog',
  'frog',
  'horse',
  'ship',
  'truck',
]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
  monkeypatch.setattr(cifar10_archive, 'BATCH_SIZE', N)


@pytest.fixture(scope='module')
def pixels():
  """Six batches; each image is its planes of red, green and blue."""
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (6, N, 3072), dtype=np.uint8)


@pytest.fixture(scope='module')
def labels():
  return np.random.default_rng(1).integers(0, 10, (6, N), dtype=np.uint8)


BATCHES = [*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch']


def binary_files(pixels, labels):
  records = np.concatenate([labels[..., np.newaxis], pixels], axis=-1)
  files = {
    f'{name}.bin': batch.tobytes()
    for name, batch in zip(BATCHES, records, strict=True)
  }
  return files | {'batches.meta.txt': '\n'.join([*NAMES, '', '']).encode()}


def python_files(pixels, labels, dump=pickle.dumps):
  batches = {
    name: dump({b'data': data, b'labels': label.tolist()})
    for name, data, label in zip(BATCHES, pixels, labels, strict=True)
  }
  return batches | {'batches.meta': dump({b'label_names': NAMES})}


def dump_as_python_2(value):
  """Pickles as Python 2 and NumPy 1 wrote the official archive."""

  def string(text):
    return b'T' + struct.pack('<i', len(text)) + text

  def item(value):
    match value:
      case bytes():
        return string(value)
      case str():
        return string(value.encode())
      case int():
        return b'K' + bytes([value])
      case list():
        return b'](' + b''.join(map(item, value)) + b'e'
      case dict():
        parts = (item(k) + item(v) for k, v in value.items())
        return b'}(' + b''.join(parts) + b'u'
      case np.ndarray():
        rows, columns = value.shape
        return (
          b'cnumpy.core.multiarray\n_reconstruct\n'
          b'(cnumpy\nndarray\n(K\x00tU\x01btR'
          b'(K\x01(' + struct.pack('<BiBi', 74, rows, 74, columns) + b't'
          b'cnumpy\ndtype\n(U\x02u1K\x00K\x01tR'
          b'(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
          b'\x89' + string(value.tobytes()) + b'tb'
        )
    raise TypeError(value)

  return b'\x80\x02' + item(value) + b'.'


def tar(files, folder='cifar-10-batches-bin/', extra=()):
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode='w') as archive:
    for name, content in files.items():
      member = tarfile.TarInfo(folder + name)
      member.size = len(content)
      archive.addfile(member, io.BytesIO(content))
    for member in extra:
      archive.addfile(member)
  return buffer.getvalue()


def write(path, content):
  path.write_bytes(content)
  return path


def write_folder(path, files):
  path.mkdir()
  for name, content in files.items():
    (path / name).write_bytes(content)
  return path


def check(read, pixels, labels):
  """Compares what was read with the planes that were written."""
  images = pixels.reshape(6, N, 3, 32, 32)
  assert read.class_names == tuple(NAMES)
  assert read.image_shape == (32, 32, 3)
  train, test = (
    np.stack([one.read() for one in read.splits[split]])
    for split in ('train', 'test')
  )
  assert train.shape == (5 * N, 32, 32, 3)
  assert test.shape == (N, 32, 32, 3)
  assert train.dtype == test.dtype == np.uint8
  for channel in range(3):
    np.testing.assert_array_equal(
      train[..., channel].reshape(5, N, 32, 32), images[:5, :, channel]
    )
    np.testing.assert_array_equal(test[..., channel], images[5, :, channel])
  assert [one.label for one in read.splits['train']] == [*labels[:5].ravel()]
  assert [one.label for one in read.splits['test']] == [*labels[5]]


def read_error(path):
  """Returns the one line by which reading a source fails."""
  with pytest.raises(UserError) as caught:
    cifar10_archive.read(path)
  message = str(caught.value)
  assert message.isprintable()
  assert str(path) in message
  return message


# Archives that are as they should be.


@pytest.mark.parametrize('compress', [gzip.compress, bytes])
def test_reads_the_binary_archive(tmp_path, pixels, labels, compress):
  content = compress(tar(binary_files(pixels, labels)))
  source = write(tmp_path / 'cifar-10-binary.tar.gz', content)
  check(cifar10_archive.read(source), pixels, labels)


def numpy_at(module):
  """Pickles with NumPy's functions where another version has them."""

  def dump(value):
    content = pickle.dumps(value, protocol=2)
    return re.sub(rb'numpy\._?core', module, content)

  return dump


@pytest.mark.parametrize(
  'dump',
  [
    dump_as_python_2,
    numpy_at(b'numpy.core'),
    numpy_at(b'numpy._core'),
    *(
      lambda value, p=protocol: pickle.dumps(value, protocol=p)
      for protocol in (2, 3, 4, 5)
    ),
  ],
)
def test_reads_the_python_archive(tmp_path, pixels, labels, dump):
  files = python_files(pixels, labels, dump)
  content = gzip.compress(tar(files, 'cifar-10-batches-py/'))
  source = write(tmp_path / 'cifar-10-python.tar.gz', content)
  check(cifar10_archive.read(source), pixels, labels)


def test_reads_an_array_in_fortran_order(tmp_path, pixels, labels):
  transposed = [np.asfortranarray(batch) for batch in pixels]
  files = python_files(transposed, labels)
  source = write(tmp_path / 'a.tar', tar(files))
  check(cifar10_archive.read(source), pixels, labels)


@pytest.mark.parametrize('make', [binary_files, python_files])
@pytest.mark.parametrize('above', [False, True])
def test_reads_an_unpacked_archive(tmp_path, pixels, labels, make, above):
  folder = 'cifar-10-batches-' + ('bin' if make is binary_files else 'py')
  unpacked = write_folder(tmp_path / folder, make(pixels, labels))
  source = tmp_path if above else unpacked
  check(cifar10_archive.read(source), pixels, labels)


# Archives that are not.


def member(name, kind=tarfile.REGTYPE, target=''):
  info = tarfile.TarInfo(name)
  info.type, info.linkname = kind, target
  return info


@pytest.mark.parametrize(
  ('extra', 'reason'),
  [
    (member('../data_batch_1.bin'), 'leads out of the archive'),
    (member('a/../../etc/cron.d/x'), 'leads out of the archive'),
    (member('/etc/passwd'), 'leads out of the archive'),
    (member('x', tarfile.SYMTYPE, '/etc/passwd'), 'is a link or a device'),
    (member('x', tarfile.LNKTYPE, 'y'), 'is a link or a device'),
    (member('x', tarfile.FIFOTYPE), 'is a link or a device'),
    (member('x', tarfile.CHRTYPE), 'is a link or a device'),
    (member('b/test_batch.bin'), 'test_batch.bin is in it twice'),
  ],
)
def test_refuses_an_unsafe_archive(tmp_path, pixels, labels, extra, reason):
  content = tar(binary_files(pixels, labels), extra=[extra])
  assert reason in read_error(write(tmp_path / 'a.tar', content))


@pytest.mark.parametrize('share', [0.01, 0.5, 0.99])
def test_refuses_a_truncated_archive(tmp_path, pixels, labels, share):
  content = gzip.compress(tar(binary_files(pixels, labels)))
  cut = write(tmp_path / 'a.tar.gz', content[: int(len(content) * share)])
  assert 'ended before the end-of-stream marker' in read_error(cut)


@pytest.mark.parametrize('share', [0.01, 0.5, 0.9])
def test_refuses_a_truncated_plain_tar(tmp_path, pixels, labels, share):
  content = tar(binary_files(pixels, labels))
  cut = write(tmp_path / 'a.tar', content[: int(len(content) * share)])
  assert 'unexpected end of data' in read_error(cut)


def test_refuses_what_unpacks_to_gigabytes(tmp_path, monkeypatch):
  monkeypatch.setattr(cifar10_archive, '_MAX_ARCHIVE_BYTES', 2**20)
  source = write(tmp_path / 'a.tar.gz', gzip.compress(bytes(2**21)))
  assert 'unpacks to more than 1,048,576 bytes' in read_error(source)


def test_refuses_a_member_that_claims_gigabytes(tmp_path):
  info = member('test_batch.bin')
  info.size = 2**40
  content = info.tobuf(tarfile.GNU_FORMAT) + bytes(2**16)
  source = write(tmp_path / 'a.tar', content)
  assert "'test_batch.bin' is larger than" in read_error(source)


@pytest.mark.parametrize('content', [b'', b'<html>404</html>', bytes(5000)])
def test_refuses_what_is_no_archive(tmp_path, content):
  message = read_error(write(tmp_path / 'a.tar.gz', content))
  assert 'get CIFAR-10 anew from https://www.cs.toronto.edu' in message


def test_names_the_files_that_are_missing(tmp_path, pixels, labels):
  files = binary_files(pixels, labels)
  del files['data_batch_3.bin']
  source = write(tmp_path / 'a.tar', tar(files))
  assert 'lacks data_batch_3.bin; get CIFAR-10 anew' in read_error(source)


@pytest.mark.parametrize('change', [-1, 1, 3073])
def test_refuses_records_of_another_length(tmp_path, pixels, labels, change):
  files = binary_files(pixels, labels)
  content = files['data_batch_2.bin'] + bytes(3073)
  files['data_batch_2.bin'] = content[: N * 3073 + change]
  message = read_error(write(tmp_path / 'a.tar', tar(files)))
  assert 'data_batch_2.bin' in message
  assert f'{N * 3073 + change:,} bytes, not 20 records of 3,073' in message


def test_refuses_a_label_that_is_no_class(tmp_path, pixels, labels):
  wrong = labels.copy()
  wrong[5, 7] = 10
  source = write(tmp_path / 'a.tar', tar(binary_files(pixels, wrong)))
  message = read_error(source)
  assert re.search(
    r'test_batch\.bin .*labels from \d to 10, not 0 to 9', message
  )


@pytest.mark.parametrize('make', [binary_files, python_files])
def test_refuses_other_classes(tmp_path, pixels, labels, make, monkeypatch):
  monkeypatch.setitem(globals(), 'NAMES', sorted(NAMES, reverse=True))
  source = write(tmp_path / 'a.tar', tar(make(pixels, labels)))
  assert re.search(
    r"batches\.meta.*its classes are \('truck'", read_error(source)
  )


class Call:
  """Is pickled as a call."""

  def __init__(self, function, *args):
    self.call = function, args

  def __reduce__(self):
    return self.call


DATA = np.zeros((N, 3072), np.uint8)
LABELS = [0] * N


@pytest.mark.parametrize(
  ('batch', 'reason'),
  [
    (Call(os.mkdir, 'MARK'), "it asks for 'posix.mkdir'"),
    (Call(eval, "open('MARK', 'w')"), "it asks for 'builtins.eval'"),
    (Call(np.load, 'x'), "it asks for 'numpy.load'"),
    (np.float32(1), r'it asks for .numpy\.\w+\.multiarray.scalar'),
    ([DATA, LABELS], 'a list, not a dict'),
    ({'labels': LABELS}, 'no data or no labels'),
    ({'data': DATA[1:], 'labels': LABELS}, r'shape \(19, 3072\), not \(20, 3'),
    ({'data': DATA.T, 'labels': LABELS}, r'shape \(3072, 20\), not \(20, 3'),
    ({'data': DATA.astype('f4'), 'labels': LABELS}, 'other values than bytes'),
    ({'data': DATA.astype('i1'), 'labels': LABELS}, 'other values than bytes'),
    ({'data': DATA.astype('O'), 'labels': LABELS}, 'other values than bytes'),
    ({'data': DATA.tolist(), 'labels': LABELS}, 'data is a list, not an array'),
    ({'data': DATA, 'labels': LABELS[1:]}, '19 labels, not 20'),
    ({'data': DATA, 'labels': LABELS[1:] + [10]}, 'labels from 0 to 10'),
    ({'data': DATA, 'labels': LABELS[1:] + [-1]}, 'labels from -1 to 0'),
    ({'data': DATA, 'labels': LABELS[1:] + [2**70]}, 'too large'),
    ({'data': DATA, 'labels': LABELS[1:] + ['0']}, 'not a list of integers'),
    ({'data': DATA, 'labels': bytes(N)}, 'not a list of integers'),
  ],
)
def test_refuses_a_pickle_of_anything_else(
  tmp_path, pixels, labels, monkeypatch, batch, reason
):
  monkeypatch.chdir(tmp_path)
  files = python_files(pixels, labels)
  files['data_batch_4'] = pickle.dumps(batch)
  source = write(tmp_path / 'a.tar', tar(files))
  message = read_error(source)
  assert 'data_batch_4' in message
  assert re.search(reason, message)
  assert not (tmp_path / 'MARK').exists()


@pytest.mark.parametrize(
  'program',
  [
    b'cos\nsystem\n(S"touch MARK"\ntR.',
    b'(S"touch MARK"\nios\nsystem\n.',
    b'c\x1b[2J\nx\n.',  # Would clear the screen.
    # Sets an attribute of the class that stands for numpy.ndarray.
    b'cnumpy\nndarray\n(N}S"value"\nK\x01sdb.',
    b'c_codecs\nencode\n(N}S"value"\nK\x01stb.',
    # Ten bytes that ask for a memo, and for a buffer, of gigabytes.
    b'Nr\xff\xff\xff\x7f.',
    b'\x8e' + struct.pack('<Q', 2**62) + b'x.',
    b'\x96' + struct.pack('<Q', 2**62) + b'x.',
    b'(' * 10_000 + b'.',
    b'I' + b'9' * 10_000 + b'\n.',
    b'\x82\x01.',
    b'Pid\n.',
    b'',
  ],
)
def test_refuses_a_hostile_pickle(
  tmp_path, pixels, labels, monkeypatch, program
):
  monkeypatch.chdir(tmp_path)
  files = python_files(pixels, labels)
  files['data_batch_1'] = program
  assert 'data_batch_1' in read_error(write(tmp_path / 'a.tar', tar(files)))
  assert not (tmp_path / 'MARK').exists()
  # The classes that stand in for NumPy's are as they were.
  good = write(tmp_path / 'b.tar', tar(python_files(pixels, labels)))
  check(cifar10_archive.read(good), pixels, labels)


@hypothesis.settings(
  max_examples=200,
  deadline=None,
  derandomize=True,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(
  changes=st.lists(
    st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=3
  ),
  in_headers=st.booleans(),
)
def test_damage_anywhere_is_a_user_error_or_harmless(
  tmp_path, pixels, labels, changes, in_headers
):
  files = python_files(pixels, labels)
  content = bytearray(tar(files))
  for place, value in changes:
    # The headers of the archive and the beginning of the first pickle.
    place %= 700 if in_headers else len(content)
    content[place] = value
  source = write(tmp_path / 'a.tar', bytes(content))
  with contextlib.suppress(UserError):
    train = cifar10_archive.read(source).splits['train']
    assert {one.read().shape for one in train} == {(32, 32, 3)}
    assert len(train) == 5 * N
    assert max(one.label for one in train) < 10


def test_refuses_a_link_in_an_unpacked_archive(tmp_path, pixels, labels):
  files = binary_files(pixels, labels)
  folder = write_folder(tmp_path / 'a', files)
  (folder / 'test_batch.bin').rename(tmp_path / 'elsewhere')
  (folder / 'test_batch.bin').symlink_to(tmp_path / 'elsewhere')
  assert 'test_batch.bin is a link' in read_error(folder)


def test_refuses_a_pipe_in_an_unpacked_archive(tmp_path, pixels, labels):
  folder = write_folder(tmp_path / 'a', binary_files(pixels, labels))
  (folder / 'test_batch.bin').unlink()
  os.mkfifo(folder / 'test_batch.bin')
  assert 'test_batch.bin is not a file' in read_error(folder)


def test_refuses_a_file_of_gigabytes(tmp_path, pixels, labels):
  folder = write_folder(tmp_path / 'a', binary_files(pixels, labels))
  os.truncate(folder / 'data_batch_1.bin', 2**33)
  assert 'data_batch_1.bin is larger than 67,108,864' in read_error(folder)


def test_says_what_to_give(tmp_path):
  assert 'does not exist; give cifar-10-b' in read_error(tmp_path / 'nowhere')
  assert 'has neither test_batch.bin nor test_batch' in read_error(tmp_path)
