"""The readers of outside bytes, each from one string of bytes.

Each returns whether the bytes were read, or refused as they should be.
"""

import contextlib
import gzip
import io
import os
import pathlib
import pickle
import struct
import tarfile
import tempfile
from unittest import mock

import numpy as np
import yaml
from PIL import Image

from official_ext.checkpoints import folder
from official_ext.errors import UserError
from official_ext.files import safe_yaml
from official_ext.local_data import (
  cifar10_archive,
  idx_files,
  labelled_arrays,
  npz_file,
  picture,
)
from official_ext.progress import epoch_table
from official_ext.serving import image_files

_SHAPE = (8, 8, 3)
_ALL_FOR_TRAINING = labelled_arrays.Options(test_share=0.5)
_CHECKPOINTS = b"""model_checkpoint_path: "ckpt-3"
all_model_checkpoint_paths: "ckpt-3"
"""


def _takes(read, *arguments):
  """Whether the reader takes its input, or refuses it in one line."""
  try:
    read(*arguments)
  except UserError as error:
    refusal = str(error)
  else:
    return True
  assert len(refusal.splitlines()) == 1, refusal
  return False


@contextlib.contextmanager
def _file(content, name):
  """A file of a folder of its own, beside which nothing may appear."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / name
    path.write_bytes(content)
    yield path
    assert os.listdir(folder) == [name]


def _two_images_a_batch():
  return mock.patch.object(cifar10_archive, 'BATCH_SIZE', 2)


@_two_images_a_batch()
def read_archive(content):
  with _file(content, 'cifar-10.tar.gz') as path:
    return _takes(cifar10_archive.read, path)


@_two_images_a_batch()
def read_pickle(content):
  """A batch of the python version, behind a name that is wanted."""
  batches = [f'data_batch_{number}' for number in range(1, 6)]
  with tempfile.TemporaryDirectory() as folder:
    for name in (*batches, 'test_batch', 'batches.meta'):
      (pathlib.Path(folder) / name).write_bytes(content)
    return _takes(cifar10_archive.read, pathlib.Path(folder))


def read_image(content):
  """What training takes, prediction takes too."""
  with _file(content, 'image.png') as path:
    trains = _takes(picture.read, path, picture.Options(side=_SHAPE[0]))
    predicts = _takes(image_files.read, path, _SHAPE)
    assert predicts or not trains
    return predicts


def read_idx(content):
  """Both files from one, which begins with the length of the first."""
  end = 2 + int.from_bytes(content[:2], 'big')
  images, labels = content[2:end], content[end:]
  with tempfile.TemporaryDirectory() as folder:
    for name, part in (('images-idx3', images), ('labels-idx1', labels)):
      (pathlib.Path(folder) / f'train-{name}-ubyte').write_bytes(part)
    return _takes(idx_files.read, pathlib.Path(folder), _ALL_FOR_TRAINING)


def read_npz(content):
  with _file(content, 'arrays.npz') as path:
    return _takes(npz_file.read, path, 'x,y', _ALL_FOR_TRAINING)


def read_yaml(content):
  try:
    data = safe_yaml.load(content.decode(errors='replace'))
  except yaml.YAMLError:
    return False
  safe_yaml.dump(data)
  return True


def read_table(content):
  with _file(content, epoch_table.FILE_NAME) as path:
    return _takes(epoch_table.read, path)


def read_checkpoints(content):
  with _file(content, 'checkpoint') as path:
    return bool(folder.listed(str(path.parent)))


READERS = {
  'archive': read_archive,
  'pickle': read_pickle,
  'image': read_image,
  'idx': read_idx,
  'npz': read_npz,
  'yaml': read_yaml,
  'table': read_table,
  'checkpoints': read_checkpoints,
}


def seeds(reader):
  """Returns sound inputs to begin with."""
  return {
    'archive': _archives,
    'pickle': _pickles,
    'image': _images,
    'idx': lambda: [_idx(bytes), _idx(gzip.compress)],
    'npz': lambda: [_npz(np.savez), _npz(np.savez_compressed)],
    'yaml': lambda: [b'a: {b: [1, 2.0, x], c: 1e-4}\nd: &e [1]\nf: *e\n'],
    'table': lambda: [
      b'{"epoch": 1.0, "step": 97, "total_train_seconds": 3}\n'
    ],
    'checkpoints': lambda: [_CHECKPOINTS],
  }[reader]()


def _archives():
  records = np.zeros([2, 3073], np.uint8).tobytes()
  names = '\n'.join(cifar10_archive.CLASS_NAMES).encode()
  batches = [*(f'data_batch_{n}.bin' for n in range(1, 6)), 'test_batch.bin']
  files = dict.fromkeys(batches, records) | {'batches.meta.txt': names}
  packed = []
  for mode in ('w', 'w:gz'):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
      for name, content in files.items():
        member = tarfile.TarInfo(f'cifar-10-batches-bin/{name}')
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    packed.append(file.getvalue())
  return packed


def _pickles():
  batch = {
    b'data': np.zeros([2, 3072], np.uint8),
    b'labels': [0, 1],
    b'label_names': [name.encode() for name in cifar10_archive.CLASS_NAMES],
  }
  return [pickle.dumps(batch, protocol) for protocol in range(6)]


def _images():
  image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(_SHAPE))
  files = []
  for kind in ('PNG', 'JPEG', 'GIF', 'BMP', 'WEBP'):
    for mode in ('RGB', 'L'):
      file = io.BytesIO()
      image.convert(mode).save(file, kind)
      files.append(file.getvalue())
  return files


def _idx(pack):
  images = struct.pack('>HBB3I', 0, 8, 3, 2, 8, 8) + bytes(range(128))
  labels = struct.pack('>HBBI', 0, 8, 1, 2) + bytes([0, 1])
  packed = pack(images)
  return len(packed).to_bytes(2, 'big') + packed + pack(labels)


def _npz(save):
  file = io.BytesIO()
  pixels = np.arange(128, dtype=np.uint8).reshape([2, 8, 8])
  save(file, x=pixels, y=np.array([0, 1]))
  return file.getvalue()
