"""What the fuzzers of `tests/fuzz.py` found, and the sound inputs they vary."""

import io
import json
import pickle
import resource
import zipfile

import pytest
import yaml
from helpers import fuzz_targets

from official_ext.errors import UserError
from official_ext.files import safe_yaml
from official_ext.local_data import cifar10_archive, restricted_pickle
from official_ext.progress import epoch_table
from official_ext.serving import image_files

# Nine of nine of nine …, a few bytes for a billion values.
_ALIASES = 'a: &a [x]\n' + ''.join(
  f'{name}: &{name} [{", ".join(9 * ["*" + before])}]\n'
  for before, name in zip('abcdefghi', 'bcdefghij', strict=True)
)
# The opcode of a bytearray of 4 GiB, and none of its bytes.
_GREAT = b'\x80\x05\x96' + (2**32).to_bytes(8, 'little')
# A bitmap of run lengths, of 64 million pixels.
_RUNS = bytes.fromhex(
  '424d7604000000003600040000002800000008007a00080000000100'
  '0800010000004031000000c40e0059005a003c000000000000222232'
)
# An archive with the names of arrays, and none in it.
_NO_ARRAY = io.BytesIO()
with zipfile.ZipFile(_NO_ARRAY, 'w') as _archive:
  for _name in ('x.npy', 'y.npy'):
    _archive.writestr(_name, b'x')
_ROW = {'epoch': 1, 'step': 9, 'total_train_seconds': 3}

_FOUND = {
  'archive': [b'', b'\x1f\x8b\x08'],
  'pickle': [b'', _GREAT, pickle.dumps([0])],
  'image': [b'', b'\x89PNG\r\n\x1a\n', _RUNS],
  'npz': [b'', _NO_ARRAY.getvalue()],
  'yaml': [b'[' * 5000, b'&a [*a]', b'2001-13-01', _ALIASES.encode()],
  'table': [b'\xff\n', b'[' * 10**5 + b'\n', b'[9]\n', b'null\n', b'{}\n'],
  'checkpoints': [b'', b'\xff', b'model_checkpoint_path: 3'],
}


@pytest.mark.parametrize(
  ('reader', 'content'),
  [(reader, content) for reader in _FOUND for content in _FOUND[reader]],
)
def test_a_reader_ends_as_its_callers_expect(reader, content):
  assert not fuzz_targets.READERS[reader](content)


@pytest.mark.parametrize('reader', fuzz_targets.READERS)
def test_a_reader_takes_the_sound_inputs(reader):
  inputs = fuzz_targets.seeds(reader)
  assert inputs
  assert all(map(fuzz_targets.READERS[reader], inputs))
  assert cifar10_archive.BATCH_SIZE == 10_000  # Two, in the sound inputs.


def test_a_bitmap_of_run_lengths_is_not_decoded(tmp_path):
  path = tmp_path / 'a.bmp'
  path.write_bytes(_RUNS)
  with pytest.raises(UserError, match='is a compressed BMP; save it as PNG'):
    image_files.read(str(path), (8, 8, 3))


def test_no_room_is_made_for_bytes_that_do_not_come():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  with pytest.raises(ValueError, match='but only 0 remain'):
    restricted_pickle.load(_GREAT)
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 2**20


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    (_ALIASES, 'it has more than 100,000 values'),
    ('&a [*a]', 'it has more than 100,000 values'),
    ('2001-13-01', 'it cannot be read: month must be in 1..12'),
    ('[' * 5000, 'it cannot be read: maximum recursion depth exceeded'),
    ('!!python/object/apply:os.getcwd []', 'could not determine a constructor'),
  ],
)
def test_yaml_that_is_refused(text, message):
  with pytest.raises(yaml.YAMLError, match=message):
    safe_yaml.load(text)


def test_an_alias_that_is_not_too_much():
  assert safe_yaml.load('a: &a [1, 2]\nb: [*a, *a]') == {
    'a': [1, 2],
    'b': [[1, 2], [1, 2]],
  }


@pytest.mark.parametrize(
  'damage',
  ['{"epoch": 1', '{}', json.dumps(_ROW | {'step': '9'}), '[1]', '\x00'],
)
def test_a_damaged_row_is_named(tmp_path, damage):
  path = tmp_path / 'epochs.jsonl'
  path.write_text(f'{json.dumps(_ROW)}\n{damage}\n{json.dumps(_ROW)}\n')
  with pytest.raises(UserError, match='line 2 is damaged'):
    epoch_table.read(path)


def test_a_row_that_a_full_disk_cut_short_is_left_out(tmp_path):
  path = tmp_path / 'epochs.jsonl'
  path.write_text(f'{json.dumps(_ROW)}\n{json.dumps(_ROW)[:20]}')
  assert epoch_table.read(path) == [_ROW]
