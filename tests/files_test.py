"""Files are written whole or not at all, old ones kept, hidden ones known."""

import pathlib

import pytest

from official_ext.files import hidden, whole


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path):
  path = tmp_path / 'file.txt'
  whole.write(path, 'old')
  with pytest.raises(UnicodeEncodeError):
    whole.write(path, 'new \ud800')
  assert [file.read_text() for file in tmp_path.iterdir()] == ['old']


def test_an_old_file_is_kept_if_it_says_something_else(tmp_path):
  for text in ('one', 'two', 'two', 'three'):
    whole.write_anew(tmp_path / 'a.yaml', text)
  found = {file.name: file.read_text() for file in tmp_path.iterdir()}
  assert found == {'a.yaml': 'three', 'a.1.yaml': 'one', 'a.2.yaml': 'two'}


def test_a_folder_appears_when_it_is_filled(tmp_path):
  with whole.folder(tmp_path / 'in' / 'out') as folder:
    (folder / 'file').touch()
    assert not (tmp_path / 'in' / 'out').exists()
  assert [f.name for f in (tmp_path / 'in').rglob('*')] == ['out', 'file']


def fill_half(folder: pathlib.Path):
  with whole.folder(folder) as unfinished:
    (unfinished / 'file').touch()
    raise OSError


def test_a_folder_that_is_not_filled_goes_again(tmp_path):
  with pytest.raises(OSError):  # noqa: PT011
    fill_half(tmp_path / 'out')
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ('path', 'expected'),
  [
    ('cat/0.png', False),
    ('cat/thumbs.png', False),
    ('cat/..png', True),
    ('cat/._0.png', True),
    ('cat/.thumbnails/large/0.png', True),
    ('__MACOSX/cat/0.png', True),
    ('cat/Thumbs.db', True),
    ('cat/THUMBS.DB', True),
    ('desktop.ini', True),
    ('@eaDir/0.png', True),
    ('lost+found', True),
  ],
)
def test_which_files_are_hidden(path, expected):
  assert hidden.is_hidden(pathlib.PurePath(path)) is expected
