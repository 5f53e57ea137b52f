"""The lines for notebooks of docs/using.md, as they stand there."""

import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from official_ext.serving import trained_model

PAGE = pathlib.Path(__file__).parents[1] / 'docs' / 'using.md'


def code():
  pattern = r'<!-- ci: notebook -->\n```python\n(.*?)```'
  (block,) = re.findall(pattern, PAGE.read_text(), flags=re.DOTALL)
  return block


def test_the_lines_are_fewer_than_ten():
  assert len([line for line in code().splitlines() if line]) < 10


@pytest.mark.parametrize('seed', [0, 1])
def test_the_lines_name_the_class(
  seed, trained_run, tmp_path, monkeypatch, capsys
):
  (tmp_path / 'runs').mkdir()
  (tmp_path / 'runs' / 'quickstart').symlink_to(trained_run)
  pixels = np.random.RandomState(seed).randint(0, 256, (32, 32, 3), np.uint8)
  Image.fromarray(pixels).save(tmp_path / 'picture.png')
  monkeypatch.chdir(tmp_path)
  exec(compile(code(), 'using.md', 'exec'), {})
  trained = trained_model.load_for_inference(str(trained_run))
  normalised = trained.preprocess(pixels[np.newaxis])
  expected = np.argmax(trained.model(normalised, training=False))
  assert capsys.readouterr().out == f'{trained.class_names[expected]}\n'
