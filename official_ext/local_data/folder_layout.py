"""Finds the splits, the classes and the files of a folder of pictures.

FOLDER/SPLIT/CLASS/FILE, or FOLDER/CLASS/FILE where nothing is split yet. The
folder is taken for untrusted: no link leads out of it.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image

from official_ext.errors import UserError
from official_ext.files import hidden
from official_ext.local_data import picture
from official_ext.local_data.tally import Problems, Tally, and_more

# What people call them, in small letters.
_SPLITS = {
  'train': 'train',
  'training': 'train',
  'test': 'test',
  'testing': 'test',
  'val': 'validation',
  'valid': 'validation',
  'validation': 'validation',
}
_ORDER = ('train', 'test', 'validation')

Files = Sequence[tuple[pathlib.Path, int]]


@dataclasses.dataclass(frozen=True)
class Layout:
  """What a folder holds.

  Attributes:
    class_names: Sorted names of the class folders; a label is an index of it.
    files: Regular files and their labels, by split; without any folder that is
      named as a split, all are of 'train'.
    notes: What was left out or taken for something else, a line each.
  """

  class_names: tuple[str, ...]
  files: Mapping[str, Files]
  notes: tuple[str, ...]


def find(folder: pathlib.Path, problems: Problems) -> Layout:
  """Lists a folder; what is wrong with it is added to the problems.

  Raises:
    UserError: If nothing can be made of the folder.
  """
  if not folder.is_dir():
    raise UserError(f'{folder} is not a folder; name the one with the images.')
  walk = _Walk(folder, problems)
  places, notes = _split_places(walk)
  found = {split: walk.classes(place) for split, place in places.items()}
  class_names = tuple(
    sorted({name for names in found.values() for name in names})
  )
  for split, place in places.items():
    for name in class_names:
      if name not in found[split]:
        problems.add(
          place / name,
          'missing, though the class is in another split',
          'add it, or remove the class from all splits',
        )
  if len(class_names) < 2:
    problems.add(
      places.get('train', folder),
      f'{len(class_names)} class folders',
      'sort the images into a folder for each class, at least two',
    )
  files = {
    split: [
      (path, label)
      for label, name in enumerate(class_names)
      for path in names.get(name, ())
    ]
    for split, names in found.items()
  }
  return Layout(class_names, files, (*notes, *walk.notes()))


def _split_places(
  walk: '_Walk',
) -> tuple[dict[str, pathlib.Path], Sequence[str]]:
  """Returns the folder of each split, and what is to be told of them."""
  folder = walk.folder
  entries = walk.entries(folder)
  folders = [path for path in entries if path.is_dir()]
  named = [path for path in folders if path.name.lower() in _SPLITS]
  others = [path for path in folders if path not in named]
  # Trains are a class too; then their pictures lie in the folder itself.
  if others and not any(map(_holds_folders, named)):
    if len(folders) == 1 and _holds_folders(folders[0]):
      raise UserError(
        f'{folder} holds {folders[0].name} alone, which holds the other '
        f'folders; give --folder {folders[0]}.'
      )
    return {'train': folder}, ()
  walk.leave_out(path for path in entries if path not in named)
  places: dict[str, pathlib.Path] = {}
  for path in named:
    split = _SPLITS[path.name.lower()]
    if split in places:
      walk.problems.add(
        path,
        f'a second folder of {split}, beside {places[split].name}',
        'put their images together',
      )
    places.setdefault(split, path)
  if 'train' not in places:
    walk.problems.add(
      folder / 'train',
      'not a folder',
      f'sort the images as {folder}/train/CLASS/*.png, or as '
      f'{folder}/CLASS/*.png with --test_share 0.1',
    )
  return _in_order(places)


def _in_order(
  places: dict[str, pathlib.Path],
) -> tuple[dict[str, pathlib.Path], Sequence[str]]:
  """Takes the validation split for that of test where there is none."""
  # In the order in which they are told of.
  places = {key: places[key] for key in _ORDER if key in places}
  place = places.get('validation')
  if not place:
    return places, ()
  if 'test' in places:
    return places, [
      f'{place} becomes the split validation, beside test; '
      '--gin_params "data.test_split=\'validation\'" evaluates on it.'
    ]
  return {
    'test' if split == 'validation' else split: path
    for split, path in places.items()
  }, [f'{place} is taken for the test split, as there is no other.']


def _holds_folders(place: pathlib.Path) -> bool:
  try:
    entries = list(place.iterdir())
  except OSError:
    return False  # `_Walk` tells it.
  return any(
    path.is_dir() and not hidden.is_hidden(pathlib.PurePath(path.name))
    for path in entries
  )


class _Walk:
  """Lists folders inside of one, and keeps what it leaves out."""

  def __init__(self, folder: pathlib.Path, problems: Problems):
    self.folder = folder
    self.problems = problems
    self._root = os.path.realpath(folder)
    self._left_out: Tally[str] = Tally()

  def notes(self) -> list[str]:
    """Returns a line for each kind of what was left out."""
    return [
      f'Left out: {and_more(first, count)} ({kind}).'
      for kind, count, first in self._left_out
    ]

  def entries(self, place: pathlib.Path) -> list[pathlib.Path]:
    """Returns what lies in a folder, sorted, and may be looked at."""
    try:
      there = sorted(place.iterdir())
    except OSError as error:
      self.problems.add(
        f'{place} ({error.strerror})', 'cannot be read', 'make it readable'
      )
      return []
    return [path for path in there if self._is_visible(path)]

  def _is_visible(self, path: pathlib.Path) -> bool:
    if hidden.is_hidden(pathlib.PurePath(path.name)):
      self._left_out.add('hidden, or a file of the system', path)
      return False
    # TFDS stores the names of the classes one a line.
    if not path.name.isprintable() or path.name != path.name.strip():
      self.problems.add(
        f'{path.parent} holds {path.name!r}',
        'not a name for a line',
        'rename without line breaks, control characters and outer spaces',
      )
      return False
    if not pathlib.Path(os.path.realpath(path)).is_relative_to(self._root):
      self.problems.add(
        path,
        f'a link out of {self.folder}',
        'put what it leads to in its place',
      )
      return False
    return True

  def leave_out(self, paths: Iterable[pathlib.Path]) -> None:
    """Notes what lies outside of the class folders."""
    for path in paths:
      if path.suffix.lower() in _suffixes() and not path.is_dir():
        self.problems.add(
          path, 'an image outside of the class folders', 'move into one'
        )
      else:
        self._left_out.add('outside of the class folders', path)

  def classes(self, place: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Returns the files of each class folder of a split."""
    entries = self.entries(place)
    self.leave_out(path for path in entries if not path.is_dir())
    return {path.name: self._files(path) for path in entries if path.is_dir()}

  def _files(self, place: pathlib.Path) -> list[pathlib.Path]:
    entries = self.entries(place)
    for path in entries:
      if path.is_dir():
        self.problems.add(
          path, 'a folder in a class folder', 'move its images up'
        )
      elif not path.is_file():
        self.problems.add(path, 'not a file', 'remove')
    if not entries:
      self.problems.add(
        place, 'a class folder without images', 'put some there, or remove'
      )
    return [path for path in entries if path.is_file()]


def _suffixes() -> set[str]:
  """Returns the endings of files that Pillow would write as ours to read."""
  known = Image.registered_extensions().items()
  return {suffix for suffix, kind in known if kind in picture.FORMATS}
