"""Slow weights: how they move, and a run that evaluates them."""

import contextlib
import json
import re

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers import tiny
from helpers.runs import assert_same_run
from helpers.small_garden import SEGMENTATION, experiment_of

from official_ext.checkpoints import compatibility, transfer
from official_ext.errors import UserError
from official_ext.modeling.optimization.lookahead import Lookahead
from official_ext.ops import placement
from official_ext.progress import epoch_table
from official_ext.schema.fields import Tie
from official_ext.serving import trained_model


def small_model():
  model = tf_keras.Sequential(
    [
      tf_keras.layers.Dense(2, input_shape=[3]),
      tf_keras.layers.BatchNormalization(),
    ]
  )
  model.set_weights([np.full(w.shape, 2.0) for w in model.get_weights()])
  return model


def looking_ahead(model, **options):
  sgd = tf_keras.optimizers.legacy.SGD(0.1, momentum=0.5)
  optimizer = Lookahead(sgd, epochs=4, steps_per_epoch=2, **options)
  optimizer.shadow_copy(model)
  return optimizer


WAYS = (contextlib.nullcontext, placement.as_on_accelerator)


@pytest.mark.parametrize('way', WAYS, ids=['cpu', 'accelerator'])
@pytest.mark.parametrize(
  ('interval', 'power', 'decay'), [(3, 3.0, 0.9), (1, 0.0, 0.5)]
)
def test_slow_weights_follow_the_recurrence(way, interval, power, decay):
  """Of all variables, in seven of eight steps; the momentum stays."""
  with way():
    model = small_model()
    optimizer = looking_ahead(
      model, interval=interval, power=power, average_decay=decay
    )
    statistic = model.layers[1].moving_mean
    # By SGD, and by batch norm, each step.
    fast, slow, velocity = np.array([2.0, 2.0]), np.array([2.0, 2.0]), 0.0
    for step in range(1, 8):
      velocity = 0.5 * velocity - 0.1 * step
      fast = fast + [velocity, step]
      if step % interval == 0:
        kept = decay**interval * (step / 8) ** power
        slow = kept * slow + (1 - kept) * fast
        fast = slow
      statistic.assign_add(tf.fill(statistic.shape, float(step)))
      variables = model.trainable_variables
      gradients = [tf.fill(v.shape, float(step)) for v in variables]
      optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def found():
      kernel = model.layers[0].kernel.numpy()
      assert np.ptp(kernel) == 0
      return [kernel[0, 0], statistic.numpy()[0]]

    np.testing.assert_allclose(found(), fast, rtol=1e-5)
    optimizer.swap_weights()
    np.testing.assert_allclose(found(), slow, rtol=1e-5)
    optimizer.swap_weights()
    np.testing.assert_allclose(found(), fast, rtol=1e-5)


def test_an_accelerator_has_no_condition_in_its_step():
  with placement.as_on_accelerator():
    model = small_model()
    optimizer = looking_ahead(model)

    @tf.function(jit_compile=True, autograph=False)
    def step():
      variables = model.trainable_variables
      gradients = [tf.ones_like(v) for v in variables]
      optimizer.apply_gradients(zip(gradients, variables, strict=True))
      return tf.constant(0)

    step()
    hlo = step.experimental_get_compiler_ir()(stage='hlo')
  assert not re.search(r' (conditional|while)\(', hlo)


def test_config_round_trip():
  sgd = tf_keras.optimizers.legacy.SGD(0.1)
  options = {
    'epochs': 1.5,
    'steps_per_epoch': 4,
    'average_decay': 0.8,
    'power': 2.0,
    'interval': 3,
    'trainable_weights_only': True,
  }
  config = Lookahead(sgd, **options).get_config()
  again = Lookahead.from_config(dict(config)).get_config()
  assert {key: again[key] for key in options} == options


# In a run, with Muon.

RECIPE = (
  'small_images.optimizer = @muon()',
  'muon.lr_groups = ['
  "{'pattern': 'kernel$', 'lr_multiplier': 0.2},"
  "{'pattern': 'prep_bn/beta$', 'until_epoch': 1.0, "
  "'compress_schedule': True}]",
  'small_images.average = @lookahead()',
  'lookahead.interval = 2',
  'run.epochs = 2',
  'triangular.peak_epoch = 0.5',
)


@pytest.fixture(scope='module')
def whole_run(shapes_dir, tmp_path_factory):
  folder = tmp_path_factory.mktemp('whole')
  tiny.run(shapes_dir, folder, RECIPE)
  return folder


def test_a_stopped_run_goes_on_as_if_it_had_not(
  whole_run, shapes_dir, tmp_path
):
  """In the middle of an interval, and where a group ends."""
  tiny.run(shapes_dir, tmp_path, RECIPE, 'trainer.train_steps=3')
  tiny.run(shapes_dir, tmp_path, RECIPE)
  assert_same_run(whole_run, tmp_path)


def test_slow_weights_are_what_is_evaluated_and_loaded(whole_run):
  trained = trained_model.load_for_inference(str(whole_run))
  assert trained.averaged
  data = trained.task.data.load(trained.params.task.validation_data)
  logits = trained.logits(data.images).numpy()
  rows = epoch_table.read(whole_run / epoch_table.FILE_NAME)
  accuracy = np.mean(logits.argmax(-1) == data.labels)
  assert rows[-1]['test_accuracy'] == pytest.approx(accuracy, abs=1e-6)


def test_another_run_begins_with_slow_weights_alone(
  whole_run, shapes_dir, tmp_path
):
  """Those of the best checkpoint; the others lie beside fast ones."""
  begins = f"small_images.init_checkpoint = '{whole_run}'"
  params = tiny.config(shapes_dir, [*RECIPE, begins])
  with pytest.raises(
    UserError, match=r'beside their slow weights, which .*best'
  ):
    transfer.check(params.task, None)
  best = [*RECIPE, f"small_images.init_checkpoint = '{whole_run / 'best'}'"]
  tiny.run(shapes_dir, tmp_path, best, 'trainer.train_steps=1', 'train')
  assert (tmp_path / 'ckpt-1.index').exists()


def test_a_run_that_looks_ahead_does_so_to_its_end(whole_run, shapes_dir):
  without = [line for line in RECIPE if 'lookahead' not in line]
  place = 'with trainer.optimizer_config.lookahead, but here there is none'
  with pytest.raises(UserError, match=place):
    tiny.run(shapes_dir, whole_run, without)
  longer = tiny.config(shapes_dir, [*RECIPE, 'run.epochs = 3'])
  assert longer.trainer.optimizer_config.lookahead.epochs == 3
  compatibility.check(longer, str(whole_run), Tie.RUN)


# Configs.


def test_its_length_is_that_of_the_training(shapes_dir):
  params = tiny.config(shapes_dir, ['small_images.average = @lookahead()'])
  config = params.trainer.optimizer_config
  assert config.ema is None
  assert (config.lookahead.epochs, config.lookahead.steps_per_epoch) == (3, 3)


@pytest.mark.parametrize(
  ('bindings', 'override', 'message'),
  [
    (
      ['lookahead.epochs = 2'],
      '',
      r'lookahead\.epochs=2 \(gin: lookahead.epochs\) is to be that of the tra',
    ),
    (
      [],
      'trainer.optimizer_config.ema.interval=2',
      r'\.ema and trainer\.optimizer_config\.lookahead cannot both be',
    ),
    (['lookahead.interval = 0'], '', r'interval .*=0 must be at least 1'),
    (['small_images.average = @head()'], '', r'average.* but must be .*Looka'),
  ],
)
def test_what_cannot_be_is_refused(shapes_dir, bindings, override, message):
  bindings = ['small_images.average = @lookahead()', *bindings]
  with pytest.raises(UserError, match=message):
    tiny.config(shapes_dir, bindings, override)


@pytest.mark.parametrize(
  ('lookahead', 'message'),
  [
    ({}, r'lookahead\.steps_per_epoch=0 must be at least 1'),
    ({'steps_per_epoch': 1}, r'lookahead\.epochs=0 is to be .* here \d+: trai'),
  ],
)
def test_other_tasks_have_to_tell_its_length(lookahead, message):
  config = {'trainer': {'optimizer_config': {'lookahead': lookahead}}}
  with pytest.raises(UserError, match=message):
    experiment_of(SEGMENTATION, override=json.dumps(config))
