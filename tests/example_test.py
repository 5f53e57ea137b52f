"""The example of a network of one's own, from its training to its use."""

import numpy as np
import pytest
import tf_keras
from helpers import commands
from helpers.commands import ROOT
from official.vision.modeling.backbones import factory
from PIL import Image

from official_ext.configs.backbones import Backbone
from official_ext.configs.image_classification import NormActivation
from official_ext.files import safe_yaml


@pytest.fixture(scope='module')
def run(shapes_dir, tmp_path_factory):
  """The folder of a training of one step, by the page's command."""
  folder = tmp_path_factory.mktemp('example') / 'run'
  arguments = ['--gin_file', 'examples/plain_cnn.gin', '--model_dir', folder]
  arguments += [f"--gin_params=data.data_dir='{shapes_dir}'"]
  arguments += ["--gin_params=data.train_split='train[:128]'"]
  arguments += ["--gin_params=data.test_split='test[:50]'"]
  arguments += ['--params_override', 'trainer.train_steps=1']
  result = commands.run('official_ext.train', *arguments)
  assert result.returncode == 0, result.stderr
  return folder


def test_the_network_is_trained(run):
  config = safe_yaml.load((run / 'params.yaml').read_text())
  backbone = config['task']['model']['backbone']
  assert backbone == {
    'type': 'plain_cnn',
    'plain_cnn': {'filters': 32, 'kernel_size': 3},
  }


def test_what_was_trained_predicts(run, tmp_path):
  """The run's own gin text says which module to import."""
  picture = tmp_path / 'picture.png'
  Image.fromarray(np.zeros([32, 32, 3], np.uint8)).save(picture)
  result = commands.run('official_ext.predict', '--model_dir', run, picture)
  assert result.returncode == 0, result.stderr
  assert 'picture.png' in result.stdout


def test_without_the_module_a_run_says_what_is_missing(run, tmp_path):
  text = (run / 'requested.gin').read_text()
  moved = tmp_path / 'run'
  moved.mkdir()
  for name in ('params.yaml', 'class_names.txt'):
    (moved / name).write_bytes((run / name).read_bytes())
  there = 'import examples.plain_cnn\n'
  assert there in text
  text = text.replace(there, 'import not_to_be_found\n')
  (moved / 'requested.gin').write_text(text)
  picture = tmp_path / 'picture.png'
  Image.new('RGB', (32, 32)).save(picture)
  result = commands.run('official_ext.predict', '--model_dir', moved, picture)
  assert result.returncode == 2
  assert 'imports not_to_be_found, which cannot be imported' in result.stderr


def test_endpoints_halve_and_take_a_gradient():
  import examples.plain_cnn

  config = examples.plain_cnn.PlainCnnConfig(filters=4)
  specs = tf_keras.layers.InputSpec(shape=[None, 16, 24, 3])
  backbone = factory.build_backbone(
    specs, Backbone.choose(config), NormActivation()
  )
  assert {k: tuple(v) for k, v in backbone.output_specs.items()} == {
    '1': (None, 8, 12, 4),
    '2': (None, 4, 6, 8),
  }
  assert (ROOT / 'examples' / 'plain_cnn.gin').exists()
