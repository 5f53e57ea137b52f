"""Training on smaller images first."""

import json
import signal

import numpy as np
import pytest
import tensorflow as tf
from helpers import runs, tiny

from official_ext.configs.progressive_resizing import (
  ProgressiveResizing,
  Stage,
  stages,
)
from official_ext.errors import Stopped, UserError
from official_ext.modeling.layers import global_pool
from official_ext.ops import resizing
from official_ext.tasks import image_classification
from official_ext.training import trainer as trainers

# Nine steps, of which two are of the first size and three of the second.
BINDINGS = [
  'small_images.resizing = @progressive_resizing()',
  'progressive_resizing.sides = [16, 24]',
  'progressive_resizing.until = [0.2, 0.5]',
]
SIZES = [(16, 16)] * 2 + [(24, 24)] * 2 + [(32, 32)] * 5


def test_stages_end_at_shares_of_the_steps():
  config = ProgressiveResizing(sides=[20, 24], until=[0.15, 0.5])
  last = stages(None, [32, 32, 3], 200)
  assert [stage.size for stage in last] == [(32, 32)]
  assert stages(config, [32, 32, 3], 200) == [
    Stage((20, 20), 30),
    Stage((24, 24), 100),
    *last,
  ]
  # Of a training of one step, only the last size is left.
  assert stages(config, [32, 32, 3], 1) == last
  assert stages(config, [32, 64, 3], 200)[0].size == (20, 40)


@pytest.mark.parametrize(
  ('sides', 'until'),
  [([], []), ([20], [0.2, 0.4]), ([20, 24], [0.5, 0.2]), ([20], [1.0])],
)
def test_stages_that_do_not_follow_one_another_are_refused(
  shapes_dir, sides, until
):
  bindings = [
    BINDINGS[0],
    f'progressive_resizing.sides = {sides}',
    f'progressive_resizing.until = {until}',
  ]
  with pytest.raises(UserError, match='give each side the share of the steps'):
    tiny.config(shapes_dir, bindings)


def test_what_cannot_be_trained_is_told_before(shapes_dir, tmp_path):
  small = 'progressive_resizing.sides = [4, 24]'
  with pytest.raises(UserError, match=r'sides.*: images of 4×4 are too small'):
    tiny.run(shapes_dir, tmp_path / 'a', [*BINDINGS, small])
  loop = 'trainer.train_tf_while_loop=True'
  with pytest.raises(UserError, match='True is one program for all sizes of'):
    tiny.config(shapes_dir, BINDINGS, loop)


@pytest.fixture
def sizes(monkeypatch):
  """Lists the sizes of the images of each step, without a traced function."""
  sizes = []
  resize = resizing.resize

  def resize_and_list(images, size):
    tf.py_function(lambda: sizes.append(size), [], [])
    return resize(images, size)

  monkeypatch.setattr(resizing, 'resize', resize_and_list)
  return sizes


def test_each_step_has_its_size_and_a_run_goes_on_alike(
  shapes_dir, tmp_path, sizes, monkeypatch
):
  whole, parts = tmp_path / 'whole', tmp_path / 'parts'
  tiny.run(shapes_dir, whole, BINDINGS)
  # Each of the sizes is tried once before the clock starts.
  assert sizes == [(16, 16), (24, 24), (32, 32), *SIZES]
  sizes.clear()
  asked = []
  agree = trainers.StopRequest.agree

  def stop_after_four(self):
    asked.append(self)
    if len(asked) == 6:  # Once for each step, and once at the end of an epoch.
      self.signal = signal.SIGTERM
    return agree(self)

  with monkeypatch.context() as patch:
    patch.setattr(trainers.StopRequest, 'agree', stop_after_four)
    with pytest.raises(Stopped, match='after step 4 of 9'):
      tiny.run(shapes_dir, parts, BINDINGS)
  tiny.run(shapes_dir, parts, BINDINGS)
  assert sizes[3:7] == SIZES[:4]
  assert sizes[10:] == SIZES[4:]
  runs.assert_same_run(whole, parts)


def test_a_size_is_a_program_and_all_sizes_one_model(shapes_dir, tmp_path):
  traced = []
  step = image_classification.ImageClassificationTask.train_step

  def count(self, *args, **kwargs):
    traced.append(self._train_size)
    return step(self, *args, **kwargs)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      image_classification.ImageClassificationTask, 'train_step', count
    )
    tiny.run(shapes_dir, tmp_path / 'run', BINDINGS)
  assert traced == [(16, 16), (24, 24), (32, 32)]
  rows = (tmp_path / 'run' / 'epochs.jsonl').read_text().splitlines()
  assert np.isfinite([json.loads(row)['train_loss'] for row in rows]).all()


@pytest.mark.parametrize('pooling', ['max', 'avg'])
def test_a_pool_spans_any_map(pooling):
  maps = tf.random.stateless_normal((2, 3, 5, 4), (0, 0))
  pool = global_pool.GlobalPool2D(pooling)
  reduce = {'max': np.max, 'avg': np.mean}[pooling]
  expected = reduce(maps.numpy(), axis=(1, 2), keepdims=True)
  np.testing.assert_allclose(pool(maps), expected, rtol=1e-6)
  again = global_pool.GlobalPool2D.from_config(pool.get_config())
  np.testing.assert_array_equal(again(maps), pool(maps))
