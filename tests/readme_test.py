"""The commands of README and docs, as they stand there, over small data."""

import json
import os
import pathlib
import re
import shlex
import shutil

import numpy as np
import pytest
from absl import flags
from helpers import commands, tiny
from helpers.commands import ROOT
from PIL import Image

from official_ext.machine import devices
from official_ext.repeats import plan

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
BLOCKS = [
  block
  for page in PAGES
  for block in re.findall(
    r'(?<!-->\n)```sh\n(.*?)```', page.read_text(), flags=re.DOTALL
  )
]
LINES = [line for block in BLOCKS for line in block.splitlines()]
TABLES = 'python -m studies.tables'
_TABLE = r'(<!-- table: [^>]*-->\n).*?(<!-- end table -->)'


def lines_of(module):
  return [
    line
    for line in LINES
    if re.match(rf'python -m (official_ext|studies)\.{module} ', line)
  ]


@pytest.fixture
def run(tmp_path, monkeypatch):
  """Runs a line in an empty folder, which is the home too."""
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tensorflow_datasets'))

  def run(line, *more):
    words = [os.path.expanduser(word) for word in shlex.split(line)]
    return commands.run(*words[2:], *more, cwd=tmp_path)

  return run


def small(shapes_dir):
  data_dir = f"data.data_dir = '{shapes_dir}'"
  return [f'--gin_params={line}' for line in (*tiny.BINDINGS, data_dir)]


def make_pictures(folder):
  folder.mkdir(parents=True)
  for seed in range(2):
    pixels = np.random.RandomState(seed).randint(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f'{seed}.png')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_nothing_is_left_to_fill_in(page):
  assert '@@' not in page.read_text()


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
  links = re.findall(r'\]\(([^)\s]+)\)', page.read_text())
  places = [link for link in links if not link.startswith('https://')]
  assert places
  for place in places:
    name, _, section = place.partition('#')
    linked = page.parent / name
    assert linked.exists(), place
    assert not section or section in sections(linked), place


def sections(page):
  """Returns the names by which a link finds the titles of a page."""
  titles = re.findall(r'^#+ (.*)', page.read_text(), flags=re.MULTILINE)
  return {re.sub(r'[^\w -]', '', t).lower().replace(' ', '-') for t in titles}


def test_every_command_of_the_package_is_tried():
  tried = {line for line in LINES if line.startswith('python -m ')}
  modules = 'train', 'prepare_data', 'repeat', 'benchmark'
  modules += 'predict', 'report', 'export'
  known = {line for module in modules for line in lines_of(module)}
  assert tried == known | {TABLES, *lines_of('gpu_check')}
  # The rest are long trials of the tests' own.
  for line in set(LINES) - tried:
    name = re.fullmatch(r'python (tests/\w+\.py)( .*)?', line)[1]
    assert (ROOT / name).exists()


@pytest.mark.parametrize(
  'line',
  [line for line in lines_of('train') if 'my_pictures.gin' not in line],
)
def test_a_training_is_understood(line, run, shapes_dir, trained_run):
  """All of its settings, up to the mode that ends it."""
  line = re.sub(r'runs/resnet9_v100-[0-9-]+', str(trained_run), line)
  of_garden = '--experiment' in line
  settings = [] if of_garden else small(shapes_dir)
  if 'examples/' in line:  # Of another network.
    settings = [s for s in settings if '=resnet9.' not in s]
  result = run(line, *settings, '--mode=train_and_validate')
  assert 'error: --mode=train_and_validate does not run here' in result.stderr


def test_every_gin_file_is_there():
  words = {word for line in LINES for word in line.split() if '.gin' in word}
  assert len(words) > 5
  # The last one is written by a command of the page.
  assert [word for word in words if not list(ROOT.glob(word))] == [
    'my_pictures.gin'
  ]


def plan_of(line):
  """Returns the study and the runs of a line of `repeat`."""
  values = flags.FlagValues()
  for name in ('gin_file', 'gin_params'):
    flags.DEFINE_multi_string(name, [], '', flag_values=values)
  flags.DEFINE_list('seeds', None, '', flag_values=values)
  flags.DEFINE_string('records_dir', None, '', flag_values=values)
  words = shlex.split(line)[2:]
  changes = []
  for word in values(words)[1:]:
    found = sorted(ROOT.glob(word))
    changes += [str(path.relative_to(ROOT)) for path in found] or [word]
  recipe = pathlib.Path(values.gin_file[-1]).stem
  study = plan.Study(
    values.gin_file, values.gin_params, values.records_dir, 'runs', recipe
  )
  planned = plan.of(study, changes, values.seeds)
  assert len(planned) == len(values.seeds) * max(1, len(changes))
  return study, planned


@pytest.mark.parametrize('line', lines_of('repeat'))
def test_repeated_runs_go_with_the_records(line, tmp_path, monkeypatch):
  """The runs can begin, and the settings of kept records are those of today."""
  monkeypatch.chdir(tmp_path)
  shutil.copytree(ROOT / 'records', 'records')
  cpuinfo = tmp_path / 'cpuinfo'
  # A machine of the records' precision.
  flags = 'avx2' if line.endswith('_float32') else 'amx_bf16'
  cpuinfo.write_text(f'flags: {flags}')
  monkeypatch.setattr(devices, '_CPUINFO', cpuinfo)
  plan.check(*plan_of(line))


def test_every_record_of_accuracy_comes_from_a_command():
  """And every run of a command has its record."""
  planned = {
    run.record for line in lines_of('repeat') for run in plan_of(line)[1]
  }
  studies = {file.parent for file in planned} - {pathlib.Path('records/mine')}
  there = {
    file.relative_to(ROOT)
    for folder in studies
    for file in (ROOT / folder).glob('*.json')
  }
  assert {file.name for file in studies} == {
    '24_epochs',
    'causes',
    '10_epochs',
    'airbench',
    'airbench_float32',
    'small_data_250',
    'small_data_1000',
    'small_data_4000',
    'small_data_16000',
    'small_fashion_1000',
    'small_fashion_4000',
  }
  assert {file for file in planned if file.parent in studies} == there


@pytest.mark.parametrize('line', lines_of('benchmark'))
def test_the_benchmark_is_understood(line, run):
  """All of its settings, up to data that are not there."""
  result = run(line, "--gin_params=data.dataset='none'")
  assert "error: task.train_data.tfds_name='none' is neither" in result.stderr


def test_tables_are_written(run, tmp_path):
  assert TABLES in LINES
  for name in ('README.md', 'claims.yaml', 'records', 'docs'):
    copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
    copy(ROOT / name, tmp_path / name)
  plots = sorted((tmp_path / 'docs').glob('*.svg'))
  assert [plot.stem for plot in plots] == ['accuracy_by_epoch', 'causes']
  for plot in plots:
    plot.unlink()
  pages = [page for page in PAGES if '<!-- table' in page.read_text()]
  assert len(pages) == 8
  for page in pages:
    copy = tmp_path / page.relative_to(ROOT)
    copy.write_text(re.sub(_TABLE, r'\1\2', page.read_text(), flags=re.S))
    assert copy.read_text() != page.read_text()
  assert run(TABLES).returncode == 0
  for page in pages:
    copy = tmp_path / page.relative_to(ROOT)
    assert copy.read_text() == page.read_text()
  assert sorted((tmp_path / 'docs').glob('*.svg')) == plots


def test_data_are_prepared(run, tmp_path):
  for split in ('train', 'test'):
    for name in ('ant', 'bee'):
      make_pictures(tmp_path / 'pictures' / split / name)
  for name in ('ant', 'bee'):
    make_pictures(tmp_path / 'photos' / name)
  pixels = np.random.RandomState(0).randint(0, 256, (2, 8, 8), np.uint8)
  splits = {f'x_{split}': pixels for split in ('train', 'test')}
  labels = {f'y_{split}': np.arange(2) for split in ('train', 'test')}
  np.savez(tmp_path / 'mnist.npz', **splits, **labels)
  archive, *local, idx, npz = lines_of('prepare_data')
  (tmp_path / 'tensorflow_datasets').mkdir()
  for line in (*local, npz):
    result = run(line)
    assert result.returncode == 0, result.stderr
  assert_trains(run, lines_of('train'), tmp_path)
  for name in ('my_pictures', 'my_photos', 'my_digits'):
    assert list(tmp_path.glob(f'tensorflow_datasets/{name}/*/*.json'))
  assert 'fashion-mnist is no folder with IDX files' in run(idx).stderr
  assert 'cifar-10-binary.tar.gz' in run(archive).stderr


def assert_trains(run, lines, folder):
  """One epoch of a narrow network by the recipe that was written."""
  (line,) = (line for line in lines if line.endswith('my_pictures.gin'))
  small = ['run.epochs=1', 'triangular.peak_epoch=0.5']
  small.append('resnet9.channels=[4, 8, 8, 8]')
  result = run(line, *(f'--gin_params={each}' for each in small))
  assert result.returncode == 0, result.stderr
  assert 'my_pictures train: 4 training images (2 steps of 2' in result.stdout
  assert list(folder.glob('runs/my_pictures-*/best'))


def test_a_gpu_is_checked(run, tmp_path):
  """In no time, so that no command begins, and all of them are told."""
  (line,) = lines_of('gpu_check')
  result = run(line, '--minutes=0')
  assert (result.returncode, result.stderr) == (1, '')
  check = tmp_path / 'gpu_check' / 'records' / 'gpu_check' / 'check.json'
  assert len(json.loads(check.read_text())['trainings']) == 4


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
  alone = [line for line in lines_of('train') if 'train --model_dir' in line]
  assert len(alone) == 2
  for line, said in zip(alone, ('is finished', 'Evaluating'), strict=True):
    assert said in run(line).stdout
  (line,) = lines_of('report')
  assert run(line).returncode == 0
  assert (model_dir / 'report.html').exists()
  (line,) = lines_of('export')
  assert run(line, '--noevaluate').returncode == 0
  assert (tmp_path / 'exported' / 'float32.tflite').exists()
