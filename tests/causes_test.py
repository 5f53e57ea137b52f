"""Each file of gin/causes changes what it is named after, and nothing else."""

import pathlib

import pytest
from official.core import exp_factory

from official_ext import registry_imports  # noqa: F401
from official_ext.configuration import gin_config

_ROOT = pathlib.Path(__file__).resolve().parents[1]

_BACKBONE = 'task.model.backbone.resnet9.'
_SGD = 'trainer.optimizer_config.optimizer.sgd_coupled_decay.'
_HEAD = 'task.model.head.'
_CROP = 'task.train_data.augmentations.0.crop.'
_CUTOUT = 'task.train_data.augmentations.2.cutout.'
_RATE = 'trainer.optimizer_config.learning_rate.triangular.'

CHANGES = {
  'average_pooling': {f'{_HEAD}pooling': 'avg'},
  'cutout_black': {f'{_CUTOUT}before_normalization': True},
  'cutout_cut_off': {f'{_CUTOUT}inside': False},
  'decay_on_kernels_only': {
    f'{_SGD}exclude_from_weight_decay': ['gamma', 'beta']
  },
  'float32': {'runtime.mixed_precision_dtype': 'float32'},
  'he_uniform': {
    f'{_HEAD}kernel_initializer': 'he_uniform',
    f'{_BACKBONE}kernel_initializer': 'he_uniform',
  },
  'keras_batch_norm': {
    'task.model.norm_activation.norm_momentum': 0.99,
    'task.model.norm_activation.norm_epsilon': 1e-3,
  },
  'logit_scale_1': {f'{_HEAD}logit_scale': 1.0},
  'no_nesterov': {f'{_SGD}nesterov': False},
  'padding_symmetric': {f'{_CROP}mode': 'symmetric'},
  'padding_zero': {f'{_CROP}mode': 'zero'},
  'weight_decay_5e-5': {f'{_SGD}weight_decay': 5e-5},
}
CHANGES['earlier_port'] = (
  CHANGES['he_uniform']
  | CHANGES['weight_decay_5e-5']
  | CHANGES['cutout_cut_off']
)


# What they change, in the recipe. Its own file leaves some of it to the
# experiment, so records do not hold it.
RECIPE = {
  'runtime.mixed_precision_dtype': None,  # What the machine has.
  f'{_HEAD}kernel_initializer': 'torch_uniform',
  f'{_HEAD}logit_scale': 0.125,
  'task.model.norm_activation.norm_epsilon': 1e-5,
  'task.model.norm_activation.norm_momentum': 0.9,
  f'{_HEAD}pooling': 'max',
  f'{_CROP}mode': 'reflect',
  f'{_BACKBONE}kernel_initializer': 'torch_uniform',
  f'{_CUTOUT}before_normalization': False,
  f'{_CUTOUT}inside': True,
  f'{_SGD}exclude_from_weight_decay': [],
  f'{_SGD}nesterov': True,
  f'{_SGD}weight_decay': 5e-4,
}


def _config(*files):
  gin_config.parse(['gin/resnet9_v100.gin', *files], [])
  return _flat(exp_factory.get_exp_config('small_images').as_dict())


def _flat(tree, place=''):
  """Returns values by dotted place; items of lists of dicts have numbers."""
  if isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
    tree = dict(enumerate(tree))
  if not isinstance(tree, dict):
    return {place[:-1]: tree}
  return {
    key: value
    for name, inner in tree.items()
    for key, value in _flat(inner, f'{place}{name}.').items()
  }


def test_the_recipe_is_as_it_was_for_the_records():
  config = _config()
  keys = {key for change in CHANGES.values() for key in change}
  assert keys == set(RECIPE)
  assert {key: config[key] for key in keys} == RECIPE


def test_every_file_has_its_change():
  files = (_ROOT / 'gin' / 'causes').glob('*.gin')
  assert {file.stem for file in files} == set(CHANGES)


@pytest.mark.parametrize('name', CHANGES)
def test_nothing_else_changes(name):
  before, after = _config(), _config(f'gin/causes/{name}.gin')
  assert before.keys() == after.keys()
  changed = {key: after[key] for key in after if after[key] != before[key]}
  assert changed == CHANGES[name]


def _schedule(*files):
  """Returns peak, length in epochs and in steps, as the schedule has them."""
  config = _config(*files)
  assert config['trainer.epochs'] == config[f'{_RATE}epochs']
  assert config[f'{_RATE}steps_per_epoch'] == 97
  return (
    config[f'{_RATE}peak_epoch'],
    config[f'{_RATE}epochs'],
    config['trainer.train_steps'],
  )


def test_six_epochs_keep_the_peak_at_its_fraction():
  assert _schedule('gin/six_epochs.gin') == (6 * 5 / 24, 6, 6 * 97)


def test_thirty_epochs_have_a_later_peak():
  assert _schedule() == (5, 24, 24 * 97)
  assert _schedule('gin/thirty_epochs.gin') == (8, 30, 30 * 97)
