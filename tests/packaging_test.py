"""What an installed package holds, declares and pins."""

import ast
import configparser
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_GIN_FILES = sorted(
  str(path.relative_to(_ROOT / 'gin'))
  for path in (_ROOT / 'gin').rglob('*.gin')
)
# What provides a module whose name is not its distribution's.
_DISTRIBUTIONS = {
  'PIL': 'pillow',
  'absl': 'absl-py',
  'gin': 'gin-config',
  'official': 'tf-models-official',
  'orbit': 'tf-models-official',
  'yaml': 'pyyaml',
}


def _run(code: str, cwd: pathlib.Path, pythonpath: str = '') -> str:
  """Returns what a new interpreter prints; `cwd` is first on its path."""
  environment = os.environ | {'PYTHONPATH': pythonpath}
  return subprocess.run(
    [sys.executable, '-c', code],
    cwd=cwd,
    env=environment,
    check=True,
    stdout=subprocess.PIPE,
    text=True,
  ).stdout.strip()


def _gin_config_file() -> str:
  """Returns where the gin-config distribution keeps its package."""
  return str(
    importlib.metadata.distribution('gin-config').locate_file('gin/__init__.py')
  )


def _declared(*extras: str) -> list[Requirement]:
  """Returns the requirements in setup.cfg, with those of the extras."""
  config = configparser.ConfigParser()
  config.read(_ROOT / 'setup.cfg')
  texts = [config['options']['install_requires']]
  texts += [config['options.extras_require'][extra] for extra in extras]
  return [
    Requirement(line) for text in texts for line in text.split('\n') if line
  ]


def _pins(python: str) -> dict[str, str]:
  """Returns the versions in constraints.txt for a version of Python."""
  pins: dict[str, str] = {}
  for line in (_ROOT / 'constraints.txt').read_text().splitlines():
    if line.startswith('#'):
      continue
    requirement = Requirement(line)
    marker = requirement.marker
    if marker and not marker.evaluate({'python_version': python}):
      continue
    (pin,) = requirement.specifier
    name = canonicalize_name(requirement.name)
    assert pin.operator == '=='
    assert name not in pins
    pins[name] = pin.version
  return pins


@pytest.fixture(scope='module')
def wheel(
  tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[zipfile.ZipFile]:
  """A wheel built, without the network, from a copy of the sources."""
  source = tmp_path_factory.mktemp('source')
  for name in ('official_ext', 'studies', 'gin'):
    shutil.copytree(_ROOT / name, source / name)
  for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
    shutil.copy(_ROOT / name, source)
  code = 'from setuptools import build_meta as b; b.build_wheel(".")'
  _run(code, source)
  (path,) = source.glob('*.whl')
  with zipfile.ZipFile(path) as archive:
    yield archive


def test_gin_is_gin_config_at_the_repository_root() -> None:
  code = 'import gin; print(gin.__file__)'
  assert _run(code, _ROOT) == _gin_config_file()


def test_wheel_holds_every_file_of_the_package_and_no_other(
  wheel: zipfile.ZipFile,
) -> None:
  package = _ROOT / 'official_ext'
  expected = {f'official_ext/gin/{name}' for name in _GIN_FILES}
  expected |= {
    path.relative_to(_ROOT).as_posix()
    for path in package.rglob('*')
    if path.is_file() and '__pycache__' not in path.parts
  }
  packed = {name for name in wheel.namelist() if '.dist-info/' not in name}
  assert packed == expected, 'setup.cfg must list every subpackage.'


def test_installed_wheel_finds_its_gin_files_and_gin_config(
  wheel: zipfile.ZipFile, tmp_path: pathlib.Path
) -> None:
  site = tmp_path / 'site'
  elsewhere = tmp_path / 'elsewhere'
  wheel.extractall(site)
  elsewhere.mkdir()
  code = (
    'import gin; from official_ext.configuration import gin_files as c;'
    'print(gin.__file__, c.__file__, *c.shipped())'
  )
  assert _run(code, elsewhere, str(site)).split() == [
    _gin_config_file(),
    str(site / 'official_ext/configuration/gin_files.py'),
    *(f'gin/{name}' for name in _GIN_FILES),
  ]


def test_everything_imported_is_declared() -> None:
  imported = set()
  for path in (_ROOT / 'official_ext').rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Import):
        imported |= {alias.name.split('.')[0] for alias in node.names}
      elif isinstance(node, ast.ImportFrom) and node.module:
        imported.add(node.module.split('.')[0])
  third_party = imported - sys.stdlib_module_names - {'official_ext'}
  assert {'gin', 'official', 'tensorflow'} <= third_party
  needed = {
    canonicalize_name(_DISTRIBUTIONS.get(name, name)) for name in third_party
  }
  # What runs an ONNX file comes with the extra that writes it.
  assert needed <= {canonicalize_name(r.name) for r in _declared('onnx')}


@pytest.mark.parametrize('python', ['3.10', '3.11', '3.12', '3.13'])
def test_constraints_pin_what_is_declared(python: str) -> None:
  pins = _pins(python)
  for requirement in _declared('test'):
    assert requirement.specifier.contains(
      pins[canonicalize_name(requirement.name)]
    ), requirement
