"""README's commands, as they stand there, over small data."""

import os
import pathlib
import re
import shlex
import shutil

import commands
import numpy as np
import pytest
import tiny
from absl import flags
from commands import ROOT
from PIL import Image

from official_ext.core import devices
from official_ext.studies import runs

README = (ROOT / 'README.md').read_text()
BLOCKS = re.findall(r'(?<!-->\n)```sh\n(.*?)```', README, flags=re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]


def lines_of(module):
  return [line for line in LINES if f' -m official_ext.{module} ' in line]


@pytest.fixture
def run(tmp_path, monkeypatch):
  """Runs a line in an empty folder, which is the home too."""
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tensorflow_datasets'))

  def run(line, *more):
    words = [os.path.expanduser(word) for word in shlex.split(line)]
    module = words[2].removeprefix('official_ext.')
    return commands.run(module, *words[3:], *more, cwd=tmp_path)

  return run


def small(shapes_dir):
  data_dir = f"resnet9_cifar10.data_dir = '{shapes_dir}'"
  return [f'--gin_params={line}' for line in (*tiny.BINDINGS, data_dir)]


def make_pictures(folder):
  folder.mkdir(parents=True)
  for seed in range(2):
    pixels = np.random.RandomState(seed).randint(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f'{seed}.png')


def test_nothing_is_left_to_fill_in():
  assert '@@' not in README


def test_every_link_leads_somewhere():
  links = re.findall(r'\]\(([^)\s]+)\)', README)
  places = [link for link in links if not link.startswith('https://')]
  assert len(places) > 10
  assert [link for link in places if not (ROOT / link).exists()] == []


def test_every_command_of_the_package_is_tried():
  tried = {line for line in LINES if line.startswith('python -m official_ext.')}
  modules = 'train', 'prepare_data', 'repeat', 'benchmark'
  modules += 'predict', 'report', 'export'
  assert tried == {line for module in modules for line in lines_of(module)}
  # The rest are long trials of the tests' own.
  for line in set(LINES) - tried:
    name = re.fullmatch(r'python (tests/\w+\.py)( .*)?', line)[1]
    assert (ROOT / name).exists()


@pytest.mark.parametrize('line', lines_of('train'))
def test_a_training_is_understood(line, run, shapes_dir, trained_run):
  """All of its settings, up to the mode that ends it."""
  line = re.sub(r'runs/resnet9_v100-[0-9-]+', str(trained_run), line)
  of_garden = '--experiment' in line
  settings = [] if of_garden else small(shapes_dir)
  result = run(line, *settings, '--mode=train_and_validate')
  assert 'error: --mode=train_and_validate does not run here' in result.stderr


def test_every_gin_file_is_there():
  words = {word for line in LINES for word in line.split() if '.gin' in word}
  assert len(words) > 5
  assert [word for word in words if not list(ROOT.glob(word))] == []


@pytest.mark.parametrize('line', lines_of('repeat'))
def test_repeated_runs_go_with_the_records(line, tmp_path, monkeypatch):
  """The runs can begin, and the settings of kept records are those of today."""
  monkeypatch.chdir(tmp_path)
  shutil.copytree(ROOT / 'records', 'records')
  cpuinfo = tmp_path / 'cpuinfo'
  cpuinfo.write_text('flags: amx_bf16')  # The records are in bfloat16.
  monkeypatch.setattr(devices, '_CPUINFO', cpuinfo)
  values = flags.FlagValues()
  flags.DEFINE_multi_string('gin_file', [], '', flag_values=values)
  flags.DEFINE_list('seeds', None, '', flag_values=values)
  flags.DEFINE_string('records_dir', None, '', flag_values=values)
  words = shlex.split(line)[2:]
  changes = [
    str(path.relative_to(ROOT))
    for word in values(words)[1:]
    for path in sorted(ROOT.glob(word))
  ]
  recipe = pathlib.Path(values.gin_file[-1]).stem
  study = runs.Study(values.gin_file, [], values.records_dir, 'runs', recipe)
  planned = runs.plan(study, changes, values.seeds)
  runs.check(study, planned)
  assert len(planned) == len(values.seeds) * max(1, len(changes))


@pytest.mark.parametrize('line', lines_of('benchmark'))
def test_the_benchmark_is_understood(line, run):
  assert 'error: --model_dir=x has no' in run(line, '--model_dir=x').stderr


def test_data_are_prepared(run, tmp_path):
  for split in ('train', 'test'):
    for name in ('ant', 'bee'):
      make_pictures(tmp_path / 'pictures' / split / name)
  archive, folder = lines_of('prepare_data')
  (tmp_path / 'tensorflow_datasets').mkdir()
  result = run(folder)
  assert result.returncode == 0, result.stderr
  assert list(tmp_path.glob('tensorflow_datasets/my_pictures/*/*.json'))
  assert 'cifar-10-binary.tar.gz' in run(archive).stderr


def test_what_was_trained_is_used(run, tmp_path, trained_run):
  (line,) = lines_of('predict')
  model_dir = tmp_path / shlex.split(line)[4]
  shutil.copytree(trained_run, model_dir)
  make_pictures(tmp_path / 'folder')
  (tmp_path / 'folder' / '0.png').rename(tmp_path / 'picture.png')
  predicted = run(line)
  assert predicted.returncode == 0, predicted.stderr
  assert 'picture.png' in predicted.stdout
  assert '1.png' in predicted.stdout
  (line,) = lines_of('report')
  assert run(line).returncode == 0
  assert (model_dir / 'report.html').exists()
  (line,) = lines_of('export')
  assert run(line, '--noevaluate').returncode == 0
  assert (tmp_path / 'exported' / 'float32.tflite').exists()
