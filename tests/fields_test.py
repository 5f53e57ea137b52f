"""What fields may hold: rules, types, and of whose class they are said."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from official.modeling import hyperparams

from official_ext import registry_imports  # noqa: F401
from official_ext.errors import UserError
from official_ext.schema import fields, parts
from official_ext.schema.fields import Tie


@pytest.mark.parametrize(
  ('rule', 'accepted', 'refused'),
  [
    (fields.AT_LEAST_0, [0, 0.5, 9], [-1, -1e-9, math.inf, math.nan]),
    (fields.AT_LEAST_1, [1, 1.5], [0, 0.99, math.inf]),
    (fields.ABOVE_0, [1e-9, 3], [0, -1, math.inf, math.nan]),
    (fields.SHARE, [0, 0.999], [1, -0.1, math.nan]),
    (fields.SEED, [0, 2**32 - 1], [-1, 2**32]),
    (fields.THREE, [[1, 2, 3]], [[], [1, 2, 3, 4]]),
    (fields.THREE_ABOVE_0, [[1, 2, 3]], [[1, 2], [1, 0, 3]]),
    (fields.one_of('a', 2), ['a', 2], ['b', None]),
    (fields.optional(fields.ABOVE_0), [None, 1], [0]),
    (fields.all_of(fields.ABOVE_0), [[], [1, 2]], [[1, 0]]),
  ],
  ids=lambda value: getattr(value, 'requirement', ''),
)
def test_rules(rule, accepted, refused):
  assert [value for value in accepted if not rule.accepts(value)] == []
  assert [value for value in refused if rule.accepts(value)] == []


def test_rules_made_of_others_say_so():
  assert fields.one_of('a', 2).requirement == 'one of a, 2'
  assert fields.optional(fields.ABOVE_0).requirement == 'more than 0, or None'
  assert fields.all_of(fields.SHARE, 'a list, each').requirement == (
    'a list, each at least 0 and less than 1'
  )


@pytest.mark.parametrize(
  ('hint', 'fitting', 'others'),
  [
    (float, [1, 2.5], [True, '1', None]),
    (int, [1], [True, 1.0]),
    (bool, [False], [0]),
    (str, ['off'], [False]),
    (str | None, ['', None], [0]),
    (list[int], [[], [1], (1, 2)], [1, [1.5], ['a']]),
    (Sequence[float], [[1, 2.5]], ['ab', [None]]),
    (tuple[int, ...], [(1, 2)], [('a',)]),
    (Mapping[str, Any], [{}], [[]]),
    (hyperparams.Config, [hyperparams.Config()], [{}]),
    (Any, [1, None], []),
  ],
  ids=str,
)
def test_types(hint, fitting, others):
  assert [value for value in fitting if not fields.fits(value, hint)] == []
  assert [value for value in others if fields.fits(value, hint)] == []


# What each field of a part refuses, where its type is right.
REFUSED = {
  'data.batch_size': 0,
  'data.eval_batch_size': 0,
  'data.num_classes': -1,
  'data.stddev_rgb': [1, 0, 1],
  'run.epochs': 0,
  'run.precision': 'mixed_float16',
  'run.seed': -1,
  'crop.padding': -1,
  'crop.mode': 'wrap',
  'cutout.size': 0,
  'resnet9.channels': [1, 2, 3],
  'resnet9.first_layer': 'x',
  'resnet9.kernel_initializer': 'x',
  'resnet9.norm_group_size': -1,
  'norm_activation.activation': 'x',
  'norm_activation.norm_epsilon': 0,
  'norm_activation.norm_momentum': 1.0,
  'head.dropout_rate': 1.0,
  'head.kernel_initializer': 'x',
  'head.logit_scale': 0,
  'head.pooling': 'median',
  'losses.label_smoothing': 1,
  'losses.soft_labels': True,
  'sgd_coupled_decay.exclude_from_weight_decay': [''],
  'sgd_coupled_decay.momentum': 1,
  'sgd_coupled_decay.weight_decay': -1e-4,
  'triangular.final_learning_rate': -0.1,
  'triangular.flat_epochs': -1,
  'triangular.peak_epoch': 0,
  'triangular.peak_learning_rate': -0.1,
  'piecewise_linear.values': [-0.1],
  'moving_average.average_decay': 1.0,
  'moving_average.interval': 0,
}


def test_each_field_with_a_rule_refuses_what_it_should():
  classes = {name: config for config, name in parts._NAMES.items()}
  for place, value in REFUSED.items():
    name, _, field = place.partition('.')
    hints = classes[name]._get_annotations()
    assert fields.fits(value, hints[field]), place
    with pytest.raises(UserError) as caught:
      fields.check_value(classes[name], field, value, hints, place)
    rule = fields.rule_of(classes[name], field)
    assert str(caught.value) == f'{place}={value!r} must be {rule.requirement}.'


@dataclasses.dataclass
class Leaf(hyperparams.Config):
  size: int = fields.field(1, fields.AT_LEAST_1, tied_to=Tie.RUN)
  label: str = ''


@dataclasses.dataclass
class Open(hyperparams.Config):
  size: int = fields.field(1, fields.AT_LEAST_1)
  label: str = None  # As Garden declares some.


@dataclasses.dataclass
class Choice(hyperparams.OneOfConfig):
  type: str | None = None
  small: Leaf = dataclasses.field(default_factory=Leaf)
  large: Leaf = dataclasses.field(default_factory=lambda: Leaf(size=9))


@dataclasses.dataclass
class Tree(hyperparams.Config):
  choice: Choice = dataclasses.field(default_factory=Choice)
  leaves: list[Leaf] = dataclasses.field(default_factory=list)
  numbers: list[int] = fields.field([1, 2])

  def check_together(self, place):
    if len(self.leaves) > 2:
      raise UserError(f'{place}leaves: too many.')


def test_what_a_one_of_has_not_chosen_is_not_looked_at():
  tree = Tree()
  tree.choice.large.size = 0
  fields.check(tree)
  tree.choice.type = 'small'
  fields.check(tree)
  tree.choice.type = 'large'
  with pytest.raises(
    UserError, match=r'^top.choice.large.size=0 must be at le'
  ):
    fields.check(tree, 'top.')


@pytest.mark.parametrize('kind', ['medium', 'type'])
def test_a_choice_that_is_not_there_names_those_that_are(kind):
  message = f"choice.type='{kind}' does not exist; there are small, large"
  with pytest.raises(UserError, match=message):
    fields.check(Tree(choice=Choice(type=kind)))


def test_items_of_a_list_are_checked_by_their_number():
  fields.check(Tree(leaves=[Leaf(), Leaf()]))
  with pytest.raises(UserError, match=r'^leaves\[1\].size=0 must be at least'):
    fields.check(Tree(leaves=[Leaf(), Leaf(size=0)]))
  with pytest.raises(UserError, match=r'^leaves=.* must be list\[Leaf\]'):
    fields.check(Tree(leaves=[3]))


def test_fields_are_checked_together_after_each_by_itself():
  leaves = [Leaf(), Leaf(), Leaf()]
  with pytest.raises(UserError, match=r'^top.leaves: too many'):
    fields.check(Tree(leaves=leaves), 'top.')
  leaves[2].size = 0
  with pytest.raises(UserError, match=r'^top.leaves\[2\].size=0'):
    fields.check(Tree(leaves=leaves), 'top.')


def test_what_is_as_it_was_made_may_be_of_another_type():
  """Garden declares some fields as `str` and leaves them None."""
  made = Open()
  fields.check(Open(), made=made)
  with pytest.raises(UserError, match='label=None is None, but must be str'):
    fields.check(Open())
  # A rule holds even then.
  made.size = 0
  with pytest.raises(UserError, match='size=0 must be at least 1'):
    fields.check(Open(size=0), made=made)


def test_each_config_has_a_default_of_its_own():
  one, other = Tree(), Tree()
  one.numbers.append(3)
  assert other.numbers == [1, 2]
  assert Tree().numbers == [1, 2]


@dataclasses.dataclass
class GardenLike(hyperparams.Config):
  """Declared elsewhere, without a word on its fields."""

  rate: float = 0.0
  name: str = ''
  place: str = ''


@dataclasses.dataclass
class Inherited(GardenLike):
  more: int = 0


@dataclasses.dataclass
class DeclaredAnew(GardenLike):
  rate: float = fields.field(0.5, fields.ABOVE_0, tied_to=Tie.PLACE)


fields.of_garden(
  GardenLike,
  rules={'rate': fields.AT_LEAST_0},
  ties={'*': Tie.RUN, 'rate': Tie.FUTURE},
)
fields.of_garden(GardenLike, ties={'place': Tie.PLACE})


def test_what_is_said_of_gardens_fields_holds_for_those_that_inherit():
  for config in (GardenLike, Inherited):
    assert fields.rule_of(config, 'rate') is fields.AT_LEAST_0
    assert fields.rule_of(config, 'name') is None
    ties = {
      key: fields.tie_of(config, key, Tie.WEIGHTS)
      for key in ('rate', 'name', 'place')
    }
    assert ties == {'rate': Tie.FUTURE, 'name': Tie.RUN, 'place': Tie.PLACE}


def test_a_field_that_is_declared_anew_says_for_itself():
  assert fields.rule_of(DeclaredAnew, 'rate') is fields.ABOVE_0
  assert fields.tie_of(DeclaredAnew, 'rate', Tie.WEIGHTS) is Tie.PLACE
  assert fields.tie_of(DeclaredAnew, 'name', Tie.WEIGHTS) is Tie.RUN


def test_a_field_of_which_nothing_is_said_is_tied_as_its_config():
  assert fields.tie_of(Leaf, 'label', Tie.FUTURE) is Tie.FUTURE
  assert fields.tie_of(Leaf, 'size', Tie.FUTURE) is Tie.RUN
