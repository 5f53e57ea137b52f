"""The pages say where things are: the table of rooms and that of settings."""

import ast
import pathlib
import re

import pytest

import official_ext
from official_ext import registry_imports  # noqa: F401
from official_ext.schema import parts

PACKAGE = pathlib.Path(official_ext.__file__).parent
DOCS = pathlib.Path(__file__).parents[1] / 'docs'


def rows():
  """The rooms of each line of the table in extending.md."""
  text = (DOCS / 'extending.md').read_text()
  table = text.partition('## Where things are')[2]
  lines = re.findall(r'^\| (`.*?) \|', table, re.MULTILINE)
  return [
    [name.removesuffix('/') for name in re.findall(r'`([\w./]+)`', line)]
    for line in lines
  ]


def floors():
  """The floor of each room; the commands are above all of them."""
  return {
    name.removesuffix('.py'): floor
    for floor, names in enumerate(rows())
    for name in names
  }


def imported(file):
  """The rooms that a file imports, also inside of its functions."""
  for node in ast.walk(ast.parse(file.read_text())):
    if isinstance(node, ast.ImportFrom) and node.module:
      yield from (f'{node.module}.{alias.name}' for alias in node.names)
    elif isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)


def test_each_room_is_in_the_table():
  there = {
    path.stem
    for path in PACKAGE.iterdir()
    if (path / '__init__.py').exists() or path.suffix == '.py'
  }
  commands = {
    path.stem for path in PACKAGE.glob('*.py') if 'cli.run(' in path.read_text()
  }
  assert there - commands - {'__init__'} == floors().keys()


@pytest.mark.parametrize('room', sorted(floors()))
def test_a_room_uses_those_above_its_line_only(room):
  where = floors()
  folder = PACKAGE / room
  files = folder.rglob('*.py') if folder.is_dir() else [PACKAGE / f'{room}.py']
  used = {
    name.split('.')[1]
    for file in files
    for name in imported(file)
    if name.startswith('official_ext.')
  }
  assert {other for other in used if where[other] > where[room]} == set()


def test_each_network_is_registered_with_the_others():
  folder = PACKAGE / 'modeling' / 'backbones'
  networks = {
    f'official_ext.modeling.backbones.{file.stem}'
    for file in folder.glob('*.py')
    if 'register_backbone_builder(' in file.read_text()
  }
  assert networks == set(imported(folder / '__init__.py'))


def test_each_part_has_a_table_of_settings():
  text = (DOCS / 'settings.md').read_text()
  tables = re.findall(r'<!-- table: part (\w+) -->', text)
  # Of a test's own, there are others.
  ours = {
    name
    for name, config in parts.by_name().items()
    if config.__module__.startswith(('official_ext.', 'official.'))
  }
  assert sorted(tables) == sorted(ours)
