"""Parts of a recipe on the gin surface, and where their bindings stand."""

import copy
import dataclasses
import inspect

import gin
import pytest
from helpers.flags import Flags
from official.modeling import hyperparams

from official_ext.augmentation.crop import Crop
from official_ext.augmentation.flip import Flip
from official_ext.configuration import (
  bindings,
  experiment,
  gin_config,
  gin_files,
)
from official_ext.errors import UserError
from official_ext.schema import fields, parts


@dataclasses.dataclass
class Shape(parts.Choice):
  """A one-of for these tests."""


@dataclasses.dataclass
class Solid(Shape):
  """One that has the kinds of another too."""


@parts.kind(Shape, 'test_disc')
@dataclasses.dataclass
class Disc(hyperparams.Config):
  """A disc.

  Attributes:
    radius: Of it, in metres.
  """

  radius: float = fields.field(1.0, fields.ABOVE_0)
  colours: list[str] = fields.field(['red'])


@parts.kind(Solid, 'test_cube')
@dataclasses.dataclass
class Cube(hyperparams.Config):
  side: float = 2.0


def made(part, *lines):
  """Returns what gin makes of a part."""
  gin_config.parse([], lines)
  return parts.make(part)


def alone(*lines, files=()):
  gin_config.parse(files, lines)
  return experiment.parse_gin_alone()


def test_the_arguments_of_a_part_are_the_fields_of_its_config():
  for config, name in parts._NAMES.items():
    arguments = inspect.signature(gin.get_configurable(name)).parameters
    declared = {field.name for field in dataclasses.fields(config)}
    assert set(arguments) == declared - {'type'}
  assert gin.get_configurable('test_disc').__doc__ == Disc.__doc__


def test_gin_makes_a_config_with_defaults_of_its_own():
  first = made(Disc, 'test_disc.radius = 3')
  assert first == Disc(radius=3)
  first.colours.append('blue')
  assert made(Disc) == Disc(radius=1.0, colours=['red'])


def test_a_scope_makes_another_of_the_same_part():
  lines = 'a/crop.padding = 2', 'crop.mode = "zero"'
  params = alone(
    *lines, 'small_images.augmentations = [@a/crop(), @flip(), @crop()]'
  )
  steps = [one.get() for one in params.task.train_data.augmentations]
  assert steps == [
    Crop(padding=2, mode='zero'),
    Flip(),
    Crop(padding=4, mode='zero'),
  ]


# What can go wrong.


@pytest.mark.parametrize(
  ('lines', 'message'),
  [
    (['head.poolin = "avg"'], r'Did you mean head\.pooling\?'),
    (['small_images.network = @resnet9'], r'a reference to resnet9; write p'),
    (
      ['small_images.augmentations = [@crop, @flip()]'],
      r'augmentations \(command line\) is a reference to crop; .* @crop\(\)',
    ),
    (
      ['small_images.network = @flip()'],
      r'small_images.network \(command line\): Flip is no Backbone; there are ',
    ),
    (
      ['small_images.augmentations = [@head()]'],
      r'augmentations \(command line\): Head is no Augmentation; there are cr',
    ),
    (['small_images.head = @data()'], r'is Data, but must be Head \| None'),
    (
      ['moving_average.interval = 5'],
      r'moving_average.interval \(command line\) has no effect: the experiment '
      r'is not made of @moving_average\(\); leave it out, or refer to',
    ),
    (
      ['b/crop.padding = 3', 'small_images.augmentations = [@a/crop()]'],
      r'b/crop.padding .* is not made of @b/crop\(\)',
    ),
  ],
)
def test_a_wrong_reference_or_binding_is_named_in_one_line(lines, message):
  with pytest.raises(UserError, match=message) as caught:
    alone(*lines)
  assert '\n' not in str(caught.value)


def test_a_mistake_names_the_file_and_the_line(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  base = '# A recipe.\nrun.epochs = 6\n\nhead.logit_scale = 0\n'
  (tmp_path / 'base.gin').write_text(base)
  (tmp_path / 'more.gin').write_text("include 'base.gin'\nrun.seed = 1\n")
  with pytest.raises(
    UserError, match=r'^gin: head.logit_scale \(base.gin, line 4\)=0 must be mo'
  ):
    alone(files=['more.gin'])
  # What comes last is what counts, and is named.
  with pytest.raises(UserError, match=r'\(command line\)=-1 must be more than'):
    alone('head.logit_scale = -1', files=['more.gin'])
  (tmp_path / 'base.gin').write_text('\n\nhead.logit_scales = 1\n')
  with pytest.raises(
    UserError, match=r'base.gin", line 3 .*head.logit_scale\?'
  ):
    alone(files=['more.gin'])


def test_a_file_may_bind_what_one_that_includes_it_leaves_out(
  tmp_path, monkeypatch
):
  """As the ten epochs do with the cutout of the 24; but not by itself."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'base.gin').write_text('cutout.size = 4\n')
  without = "include 'base.gin'\nsmall_images.augmentations = [@crop()]\n"
  (tmp_path / 'without.gin').write_text(without)
  steps = alone(files=['without.gin']).task.train_data.augmentations
  assert [one.type for one in steps] == ['crop']
  (tmp_path / 'without.gin').write_text(f'{without}cutout.size = 3\n')
  with pytest.raises(UserError, match=r'cutout.size \(without.gin, line 3\) h'):
    alone(files=['without.gin'])


@pytest.mark.parametrize(
  'file',
  [
    file
    for file in gin_files.shipped()
    if '/resnet9_' not in file or file.endswith(('_v100.gin', '_dawn.gin'))
  ],
)
def test_every_recipe_that_is_shipped_can_be_made(file):
  files = [file] if 'causes/' not in file else ['gin/resnet9_v100.gin', file]
  assert alone(files=files).task.train_data.augmentations


# One-ofs.


def test_a_one_of_has_its_kinds_and_those_that_it_inherits():
  assert Shape.kinds() == {'test_disc': Disc}
  assert Solid.kinds() == {'test_disc': Disc, 'test_cube': Cube}
  chosen = Solid.choose(Cube(side=5))
  assert (chosen.type, chosen.get().side) == ('test_cube', 5)
  with pytest.raises(UserError, match='Cube is no Shape; there are test_disc'):
    Shape.choose(Cube())


def test_kinds_are_overridden_written_and_copied_as_fields_are():
  one = Shape.choose(Disc(radius=3))
  assert one.as_dict() == {
    'type': 'test_disc',
    'test_disc': {'radius': 3, 'colours': ['red']},
  }
  other = copy.deepcopy(one)
  other.override({'test_disc': {'radius': 5}}, is_strict=True)
  assert (one.test_disc.radius, other.test_disc.radius) == (3, 5)
  assert type(other.test_disc) is Disc
  again = Shape()
  again.override(one.as_dict(), is_strict=True)
  assert again.as_dict() == one.as_dict()
  again.lock()
  with pytest.raises(ValueError, match='locked'):
    again.test_disc = Disc()


def registered(name, module='tests.elsewhere'):
  """Registers a class as another module would."""

  @dataclasses.dataclass
  class Disc(hyperparams.Config):
    radius: float = 7.0

  Disc.__module__, Disc.__qualname__ = module, 'Disc'
  return parts.kind(Shape, name)(Disc)


def test_a_name_is_taken_once():
  for name in ('test_disc', 'head'):
    with pytest.raises(KeyError, match=f"'{name}' is registered already, by "):
      registered(name)
  assert Shape.kinds() == {'test_disc': Disc}


def test_a_module_that_is_loaded_again_takes_its_own_place():
  """As in a notebook; gin then makes the new class."""
  registered('test_again', 'tests.elsewhere')
  try:
    second = registered('test_again', 'tests.elsewhere')
    gin_config.parse([], ['test_again.radius = 2'])
    disc = gin.get_configurable('test_again')()
    assert type(disc) is second
    assert parts.make(second) == disc
    assert Shape.choose(disc).get().radius == 2
    assert sorted(parts._NAMES.values()).count('test_again') == 1
  finally:
    del Shape._kinds['test_again']


# Where bindings stand.


def test_bindings_have_a_scope_a_name_and_a_place(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'inner.gin').write_text('a/b.crop.padding = (\n  3)\nsize = 2\n')
  outer = "\ninclude 'inner.gin'\nhead.pooling = @x()  # A reference.\n"
  (tmp_path / 'outer.gin').write_text(outer)
  written = ['run.epochs = %size', "x.y = {'a': [@c/crop(), %size]}"]
  first, lines = bindings.read(['outer.gin'], written)
  found = [
    (b.scope, b.name, b.configurable, b.place, b.included) for b in first
  ]
  assert found == [
    ('a', 'b.crop.padding', 'crop', 'inner.gin, line 1', True),
    ('', 'size', '', 'inner.gin, line 3', True),
    ('', 'head.pooling', 'head', 'outer.gin, line 3', False),
  ]
  assert [(b.name, b.place) for b in lines] == [
    ('run.epochs', 'command line'),
    ('x.y', 'command line'),
  ]
  assert [b.macro for b in (*first, *lines)] == ['', 'size', '', '', '']
  assert lines[1].refers_to(macros=True) == {'size'}
  assert lines[1].refers_to(macros=False) == {'c/crop'}


def test_place_of_a_setting_is_where_it_was_bound_last(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'a.gin').write_text('run.epochs = 6\nrun.seed = 1\n')
  (tmp_path / 'b.gin').write_text("include 'a.gin'\nrun.epochs = 7\n")
  gin_config.parse(['b.gin'], ['run.seed = 2'])
  assert gin_config.place_of('run.epochs') == 'b.gin, line 2'
  assert gin_config.place_of('run.seed') == 'command line'
  assert gin_config.place_of('run.precision') == ''
  gin_config.parse([], [])
  assert gin_config.place_of('run.epochs') == ''


def test_an_override_is_named_by_its_place(shapes_dir):
  data = "data.dataset = 'procedural_shapes'", f"data.data_dir = '{shapes_dir}'"
  gin_config.parse([], data)
  flags = Flags(params_override='task.model.head.logit_scale=0')
  with pytest.raises(
    UserError, match=r'^task.model.head.logit_scale=0 must be'
  ):
    experiment.parse(flags)
