"""Groups that end, and the two forms of the momentum."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import tiny

from official_ext.errors import UserError
from official_ext.modeling.optimization import lr_schedule, muon, sgd
from official_ext.modeling.optimization.lr_groups import LrGroup
from official_ext.schema import fields

# Eight steps, in four epochs.
STEPS, STEPS_PER_EPOCH = 8, 2
# After three of them.
END = 1.5
DECAY, MOMENTUM = 0.1, 0.9
GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, 3))


def schedule():
  return lr_schedule.PiecewiseLinear([0, 4], [1, 0], STEPS_PER_EPOCH, offset=0)


def numpy_sgd(rates, form, nesterov):
  """Returns the weights after each step."""
  weight, velocity, path = np.array([1.0, -2.0, 3.0]), np.zeros(3), []
  for rate, gradient in zip(rates, GRADIENTS, strict=False):
    gradient = gradient + DECAY * weight
    scale = rate if form == 'keras' else 1.0
    velocity = MOMENTUM * velocity + scale * gradient
    step = scale * gradient + MOMENTUM * velocity if nesterov else velocity
    weight = weight - (step if form == 'keras' else rate * step)
    path.append(weight)
  return np.array(path)


def path_of(optimizer, gradients=GRADIENTS):
  weight = tf.Variable([1.0, -2.0, 3.0], name='whiten/bias')
  path = []
  for gradient in gradients:
    optimizer.apply_gradients([(tf.constant(gradient, tf.float32), weight)])
    path.append(weight.numpy())
  return np.array(path)


@pytest.mark.parametrize('form', ['keras', 'torch'])
@pytest.mark.parametrize('nesterov', [True, False])
def test_the_rate_is_in_the_velocity_or_not(form, nesterov):
  optimizer = sgd.SGDCoupledDecay(
    schedule(), MOMENTUM, nesterov, DECAY, momentum_form=form
  )
  expected = numpy_sgd(1 - np.arange(STEPS) / STEPS, form, nesterov)
  np.testing.assert_allclose(path_of(optimizer), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('compress', [True, False])
@pytest.mark.parametrize(
  'optimizer_of',
  [
    lambda **kwargs: sgd.SGDCoupledDecay(
      momentum=MOMENTUM, nesterov=True, **kwargs
    ),
    lambda **kwargs: muon.Muon(
      sgd_momentum=MOMENTUM, momentum_form='keras', **kwargs
    ),
    lambda **kwargs: muon.Muon(sgd_momentum=MOMENTUM, **kwargs),
  ],
  ids=['sgd', 'muon_keras', 'muon_torch'],
)
def test_a_group_ends(optimizer_of, compress):
  """Whatever comes then: decay, momentum, or a gradient that is no number."""
  group = {
    'pattern': 'bias$',
    'lr_multiplier': 0.5,
    'until_epoch': END,
    'compress_schedule': compress,
  }
  optimizer = optimizer_of(
    learning_rate=schedule(), weight_decay=DECAY, lr_groups=[group]
  )
  last = 3 if compress else STEPS
  rates = 0.5 * (1 - np.arange(3) / last)
  form = optimizer.get_config()['momentum_form']
  gradients = np.concatenate([GRADIENTS[:4], [[np.nan] * 3, [1.0] * 3]])
  path = path_of(optimizer, gradients)
  np.testing.assert_allclose(
    path[:3], numpy_sgd(rates, form, True), rtol=1e-5, atol=1e-6
  )
  for later in path[3:]:
    np.testing.assert_array_equal(later, path[2])


def test_the_others_go_on():
  """Those of a group of another name, and of none."""
  groups = [
    {'pattern': 'kernel$', 'until_epoch': END},
    {'pattern': 'kernel$|bias$', 'lr_multiplier': 0.5},
  ]
  optimizer = sgd.SGDCoupledDecay(
    schedule(), MOMENTUM, True, DECAY, lr_groups=groups
  )
  expected = numpy_sgd(0.5 - np.arange(STEPS) / 16, 'keras', True)
  np.testing.assert_allclose(path_of(optimizer), expected, rtol=1e-5, atol=1e-6)
  again = sgd.SGDCoupledDecay.from_config(
    optimizer.get_config() | {'learning_rate': schedule()}
  )
  np.testing.assert_allclose(path_of(again), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('offset', [0, 1])
def test_a_compressed_schedule_has_the_same_rates_sooner(offset):
  knots, rates = [0, 1, 4], [0.5, 1.0, 0.0]
  whole = lr_schedule.PiecewiseLinear(knots, rates, 4, offset)
  steps = np.arange(12)
  np.testing.assert_allclose(
    [whole.compressed(2.5)(step) for step in steps],
    np.interp(steps + offset, np.array(knots) * 2.5, rates),
    atol=1e-6,
  )


def test_a_constant_rate_does_not_tell_when_a_group_ends():
  optimizer = sgd.SGDCoupledDecay(
    0.1, lr_groups=[{'pattern': 'bias$', 'until_epoch': END}]
  )
  with pytest.raises(TypeError, match=r"'bias\$' ends at epoch 1\.5, but"):
    path_of(optimizer)


def test_nothing_is_compressed_without_an_end():
  with pytest.raises(UserError, match=r'^x\.compress_schedule=True has no'):
    fields.check(LrGroup(pattern='a', compress_schedule=True), 'x.')


@pytest.mark.parametrize(
  ('until', 'override', 'message'),
  [
    (3.5, '', r'lr_groups\[0\]\.until_epoch=3.5 is after .*, epoch 3; use'),
    (
      2.0,
      'trainer.optimizer_config.learning_rate.type=cosine',
      r"lr_groups\[0\]\.until_epoch=2 needs .* learning_rate\.type='cosine' do",
    ),
  ],
)
def test_an_end_that_cannot_be_is_refused(shapes_dir, until, override, message):
  group = {'pattern': 'beta$', 'until_epoch': until}
  bindings = [f'sgd_coupled_decay.lr_groups = [{group}]']
  with pytest.raises(UserError, match=message):
    tiny.config(shapes_dir, bindings, override)


def test_an_end_at_that_of_the_schedule(shapes_dir):
  group = {'pattern': 'beta$', 'until_epoch': 3.0}
  bindings = [f'sgd_coupled_decay.lr_groups = [{group}]']
  params = tiny.config(shapes_dir, bindings)
  sgd_config = params.trainer.optimizer_config.optimizer.get()
  assert sgd_config.lr_groups[0].until_epoch == 3.0
