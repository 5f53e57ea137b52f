"""The lines for notebooks of docs/using.md, as they stand there."""

import re
import shlex

import numpy as np
import pytest
from helpers.commands import ROOT
from PIL import Image

PAGE = ROOT / 'docs' / 'using.md'
_PATTERN = r'<!-- ci: notebook -->\n```python\n(.*?)```'
TO_CONFUSIONS, OF_A_PICTURE = re.findall(
  _PATTERN, PAGE.read_text(), flags=re.DOTALL
)


@pytest.fixture
def run(trained_run, tmp_path, monkeypatch):
  """Runs the lines of Python in a folder that holds a run."""
  (tmp_path / 'runs').mkdir()
  (tmp_path / 'runs' / 'quickstart').symlink_to(trained_run)
  monkeypatch.chdir(tmp_path)

  def run(text):
    lines = [line for line in text.splitlines() if not line.startswith('!')]
    names = {}
    exec(compile('\n'.join(lines), 'using.md', 'exec'), names)
    return names

  return run


@pytest.mark.parametrize('text', [TO_CONFUSIONS, OF_A_PICTURE])
def test_the_lines_are_ten_at_most(text):
  assert len([line for line in text.splitlines() if line]) <= 10


def test_the_commands_are_those_of_readme():
  readme = (ROOT / 'README.md').read_text()
  install, train = (
    line[1:] for line in TO_CONFUSIONS.splitlines() if line.startswith('!')
  )
  assert install.replace(' -q', '') in readme
  *command, model_dir, folder = shlex.split(train)
  assert shlex.join(command[2:]) in readme
  assert (model_dir, folder) == ('--model_dir', 'runs/quickstart')


def test_a_confusion_matrix_is_drawn(run, tmp_path):
  names = run(TO_CONFUSIONS)
  with Image.open(tmp_path / 'confusion.png') as picture:
    assert min(picture.size) > 300
  trained, data = names['trained'], names['test']
  logits = np.array(trained.logits(data.images))
  expected = np.zeros_like(names['counts'])
  np.add.at(expected, (data.labels.numpy(), logits.argmax(axis=1)), 1)
  np.testing.assert_array_equal(names['counts'], expected)


@pytest.mark.parametrize('seed', [0, 1])
def test_the_lines_name_the_class(seed, run, tmp_path, capsys):
  pixels = np.random.RandomState(seed).randint(0, 256, (32, 32, 3), np.uint8)
  Image.fromarray(pixels).save(tmp_path / 'picture.png')
  trained = run(OF_A_PICTURE)['trained']
  normalised = trained.preprocess(pixels[np.newaxis])
  expected = np.argmax(trained.model(normalised, training=False))
  assert capsys.readouterr().out == f'{trained.class_names[expected]}\n'
