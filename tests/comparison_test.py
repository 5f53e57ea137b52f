"""Whether two configs are of the same weights, run or training."""

import dataclasses

import pytest
from official.core import exp_factory
from official.modeling import hyperparams

from official_ext import registry_imports  # noqa: F401
from official_ext.files import safe_yaml
from official_ext.schema import comparison, fields
from official_ext.schema.comparison import Difference
from official_ext.schema.fields import Tie


@dataclasses.dataclass
class Kind(hyperparams.Config):
  width: int = fields.field(1)
  rate: float = fields.field(0.5, tied_to=Tie.RUN)


@dataclasses.dataclass
class Choice(hyperparams.OneOfConfig):
  type: str | None = 'one'
  one: Kind = dataclasses.field(default_factory=Kind)
  other: Kind = dataclasses.field(default_factory=Kind)


@dataclasses.dataclass
class Config(hyperparams.Config):
  weights: int = fields.field(1, tied_to=Tie.WEIGHTS)
  run: int = fields.field(1, tied_to=Tie.RUN)
  future: int = fields.field(1, tied_to=Tie.FUTURE)
  place: int = fields.field(1, tied_to=Tie.PLACE)
  unsaid: int = 1
  choice: Choice = dataclasses.field(default_factory=Choice)
  numbers: list[float] = fields.field([1.0, 2.0], tied_to=Tie.RUN)
  kinds: list[Kind] = fields.field([], tied_to=Tie.RUN)


def places(before, now, tie, **options):
  return {d.place for d in comparison.differences(before, now, tie, **options)}


@pytest.mark.parametrize(
  ('tie', 'expected'),
  [
    (Tie.WEIGHTS, {'weights', 'unsaid'}),
    (Tie.RUN, {'weights', 'unsaid', 'run'}),
    (Tie.FUTURE, {'weights', 'unsaid', 'run', 'future'}),
    (Tie.PLACE, {'weights', 'unsaid', 'run', 'future', 'place'}),
  ],
)
def test_what_is_tied_to_it_or_closer_counts(tie, expected):
  before = Config().as_dict()
  assert places(before, Config(), Tie.PLACE) == set()
  now = Config(weights=2, run=2, future=2, place=2, unsaid=2)
  assert places(before, now, tie) == expected


def test_what_a_config_is_tied_to_is_what_its_silent_fields_are():
  before, now = Config().as_dict(), Config(unsaid=2)
  assert places(before, now, Tie.RUN, inherited=Tie.FUTURE) == set()
  assert places(before, now, Tie.FUTURE, inherited=Tie.FUTURE) == {'unsaid'}


def test_a_field_that_was_not_recorded_has_had_its_default():
  before = Config(run=5).as_dict()
  del before['weights'], before['numbers']
  assert places(before, Config(run=5), Tie.RUN) == set()
  (found,) = comparison.differences(before, Config(run=5, weights=3), Tie.RUN)
  assert found == Difference('weights', 1, 3)
  before = Config().as_dict()
  del before['choice']['one']['width']
  assert places(before, Config(), Tie.RUN) == set()


def test_of_a_one_of_the_choice_and_its_fields_count():
  before = Config().as_dict()
  now = Config()
  now.choice.other.width = 7  # It is not chosen.
  assert places(before, now, Tie.WEIGHTS) == set()
  now.choice.one.width = 2
  now.choice.one.rate = 0.25
  assert places(before, now, Tie.WEIGHTS) == {'choice.one.width'}
  assert places(before, now, Tie.RUN) == {'choice.one.width', 'choice.one.rate'}
  now.choice.type = 'other'
  assert 'choice.type' in places(before, now, Tie.WEIGHTS)


def test_a_file_has_lists_for_tuples_and_dicts_for_configs():
  now = Config(numbers=(1.0, 2.0), kinds=[Kind(width=3)])
  before = safe_yaml.load(safe_yaml.dump(now.as_dict()))
  assert places(before, now, Tie.PLACE) == set()


def test_what_is_in_a_list_is_tied_as_its_field_says():
  now = Config(kinds=[Kind(width=3), Kind()])
  before = now.as_dict()
  now.kinds[0].rate = 1.0
  (found,) = comparison.differences(before, now, Tie.RUN, 'task.')
  assert found == Difference('task.kinds[0].rate', 0.5, 1.0)
  # Recorded before there was such a field, which then had its default.
  now.kinds[0].rate = 0.5
  del before['kinds'][0]['rate']
  assert places(before, now, Tie.PLACE) == set()
  # Of another length.
  now.kinds.pop()
  (found,) = comparison.differences(before, now, Tie.RUN)
  assert (found.place, found.now) == ('kinds', [{'width': 3, 'rate': 0.5}])


def test_another_kind_in_a_list_is_told_whole():
  now = Config(kinds=[Choice()])
  before = now.as_dict()
  now.kinds[0].one.width = 2
  assert places(before, now, Tie.RUN) == {'kinds[0].one.width'}
  now.kinds[0].type = 'other'
  assert places(before, now, Tie.RUN) == {'kinds'}


@pytest.mark.parametrize(
  ('override', 'tie'),
  [
    ({'task': {'model': {'head': {'logit_scale': 1.0}}}}, Tie.WEIGHTS),
    ({'task': {'model': {'backbone': {'type': 'resnet'}}}}, Tie.WEIGHTS),
    ({'task': {'train_data': {'mean_rgb': [1, 2, 3]}}}, Tie.WEIGHTS),
    ({'task': {'model': {'head': {'dropout_rate': 0.5}}}}, Tie.RUN),
    ({'task': {'train_data': {'global_batch_size': 7}}}, Tie.RUN),
    ({'task': {'train_data': {'seed': 7}}}, Tie.RUN),
    ({'task': {'losses': {'label_smoothing': 0.1}}}, Tie.RUN),
    (
      {
        'trainer': {
          'optimizer_config': {
            'optimizer': {'sgd_coupled_decay': {'momentum': 0.5}}
          }
        }
      },
      Tie.RUN,
    ),
    ({'runtime': {'seed': 7}}, Tie.RUN),
    ({'trainer': {'epochs': 30}}, Tie.FUTURE),
    (
      {
        'trainer': {
          'optimizer_config': {
            'learning_rate': {'triangular': {'peak_epoch': 6}}
          }
        }
      },
      Tie.FUTURE,
    ),
    ({'task': {'evaluation': {'views': ['mirror']}}}, Tie.FUTURE),
    ({'runtime': {'mixed_precision_dtype': 'bfloat16'}}, Tie.FUTURE),
    ({'task': {'train_data': {'tfds_data_dir': 'elsewhere'}}}, Tie.PLACE),
    ({'task': {'train_data': {'preprocess_on_device': True}}}, Tie.PLACE),
    ({'trainer': {'checkpoint_interval': 7}}, Tie.PLACE),
    ({'runtime': {'num_gpus': 3}}, Tie.PLACE),
  ],
  ids=str,
)
def test_what_the_fields_of_the_recipe_are_tied_to(override, tie):
  before = exp_factory.get_exp_config('small_images').as_dict()
  now = exp_factory.get_exp_config('small_images')
  now.override(override)
  (place,) = places(before, now, tie)
  keys = place.split('.')
  for key in keys:
    override = override[key]
  if tie < Tie.WEIGHTS:
    assert places(before, now, Tie(tie + 1)) == set()
