"""Gin files as users write them: what has no effect, what cannot be read."""

import sys

import gin
import pytest

from official_ext import registry_imports  # noqa: F401
from official_ext.configuration import experiment, gin_config, without_effect
from official_ext.errors import UserError


@pytest.fixture
def parse(tmp_path, monkeypatch):
  """Writes files, and makes the config of the first of them and of lines."""
  monkeypatch.chdir(tmp_path)

  def run(*texts, lines=(), files=('a.gin',)):
    for name, text in zip('abcd', texts, strict=False):
      (tmp_path / f'{name}.gin').write_text(text)
    gin_config.parse(files if texts else [], lines)
    return experiment.parse_gin_alone()

  return run


def refused(parse, message, *texts, **options):
  with pytest.raises(UserError) as caught:
    parse(*texts, **options)
  assert str(caught.value) == f'gin: {message}'


# Bindings without an effect.

INCLUDES_B = "include 'b.gin'\n"
NO_SCOPE_X = (
  'has no effect: the experiment is not made of @x/run(); leave it out, or '
  'refer to that part.'
)
NO_AVERAGE = (
  'has no effect: the experiment is not made of @moving_average(); leave it '
  'out, or refer to that part.'
)


@pytest.mark.parametrize(
  ('texts', 'lines', 'place'),
  [
    ([], ['epochs = 3'], 'command line'),
    (['\nepochs = 3'], [], 'a.gin, line 2'),
    (['\nepochs = 3'], ['run.seed = 1'], 'a.gin, line 2'),
    ([INCLUDES_B, 'epochs = 3'], [], 'b.gin, line 1'),
  ],
)
def test_a_setting_without_a_dot_is_refused_everywhere(
  parse, texts, lines, place
):
  meant = (
    'lookahead.epochs and piecewise_linear.epochs and run.epochs and '
    'triangular.epochs'
  )
  message = (
    f"'epochs=3' ({place}) binds the macro epochs, which nothing uses; a "
    f'setting has a dot, as {meant} has.'
  )
  refused(parse, message, *texts, lines=lines)


@pytest.mark.parametrize(
  ('texts', 'lines', 'where'),
  [
    (['n = 3'], [], "'n=3' (a.gin, line 1) binds the macro n"),
    (['m = 3\nn = %m'], [], "'m=3' (a.gin, line 1) binds the macro m"),
    (['n/macro.value = 3'], [], "'n=3' (a.gin, line 1) binds the macro n"),
    (['x/n = 3'], [], "'x/n=3' (a.gin, line 1) binds the macro x/n"),
    (
      ['n = 9\nrun.epochs = %n'],
      ['n = 8', 'run.epochs = 7'],
      "'n=8' (command line) binds the macro n",
    ),
  ],
)
def test_a_macro_that_nothing_uses_is_refused(parse, texts, lines, where):
  message = f'{where}, which nothing uses; a setting has a dot, as run.epochs '
  refused(parse, f'{message}has.', *texts, lines=lines)


@pytest.mark.parametrize(
  ('texts', 'lines'),
  [
    (['n = 7\nm = %n\nrun.epochs = %m'], []),
    (['n = 9\nrun.epochs = %n'], ['run.epochs = 7']),
    (['n = 9\nrun.epochs = %n'], ['n = 7']),
    ([f'{INCLUDES_B}run.epochs = 7', 'n = 9\nrun.epochs = %n'], []),
    # Others that include it may use it.
    ([f'{INCLUDES_B}run.epochs = %n', 'n = 7\nother = 3'], []),
  ],
)
def test_a_macro_that_is_used_or_might_be_passes(parse, texts, lines):
  assert parse(*texts, lines=lines).trainer.epochs == 7


@pytest.mark.parametrize(
  ('texts', 'lines', 'message'),
  [
    ([], ['x/run.epochs = 6'], f'x/run.epochs (command line) {NO_SCOPE_X}'),
    (['x/run.epochs = 6'], [], f'x/run.epochs (a.gin, line 1) {NO_SCOPE_X}'),
    (
      ['x/run.epochs = 6'],
      ['run.seed = 1'],
      f'x/run.epochs (a.gin, line 1) {NO_SCOPE_X}',
    ),
    (
      ['moving_average.interval = 5'],
      ['run.seed = 1'],
      f'moving_average.interval (a.gin, line 1) {NO_AVERAGE}',
    ),
    (
      ['x/small_images.freeze_backbone = True'],
      [],
      'x/small_images.freeze_backbone (a.gin, line 1) has no effect: the '
      'experiment is not made of @x/small_images(); leave it out, or refer to '
      'that part.',
    ),
  ],
)
def test_a_part_that_never_was_one_is_refused(parse, texts, lines, message):
  refused(parse, message, *texts, lines=lines)


def test_the_same_of_an_earlier_file(parse):
  texts = 'moving_average.interval = 5', 'run.seed = 1'
  message = f'moving_average.interval (a.gin, line 1) {NO_AVERAGE}'
  refused(parse, message, *texts, files=['a.gin', 'b.gin'])


ONLY_CROP = 'small_images.augmentations = [@crop()]'


@pytest.mark.parametrize(
  'text',
  [
    'cutout.size = 4',  # Of the default augmentations.
    'x/cutout.size = 4\nsmall_images.augmentations = [@x/cutout()]',
    'moving_average.interval = 5\n'
    'small_images.average = @moving_average()\n'
    'run.seed = 1\n',
  ],
)
def test_what_a_later_line_replaces_passes(parse, text):
  params = parse(text, lines=[ONLY_CROP, 'small_images.average = None'])
  assert [one.type for one in params.task.train_data.augmentations] == ['crop']


def test_what_is_written_down_has_an_effect_and_is_read_again(parse):
  texts = (
    'm = 6\nn = 5\nrun.epochs = %n\nhead.logit_scale = %n\ncutout.size = 4\n',
  )
  asked = parse(*texts, lines=[ONLY_CROP, 'run.epochs = %m', 'm = 7'])
  written = without_effect.effective_text()
  lines = [line for line in written.splitlines() if ' = ' in line]
  assert sorted(lines) == [
    'head.logit_scale = %n',
    'm = 7',
    'n = 5',
    'run.epochs = %m',
    'small_images.augmentations = [@crop()]',
  ]
  assert 'cutout.size = 4' in gin.config_str()  # Gin has it still.
  assert parse(written) == asked


# What cannot be read.


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    (
      'run.epochs = %foo',
      'run.epochs (a.gin, line 1) refers to the macro foo, which nothing '
      'binds; bind it, or use a value.',
    ),
    (
      'food = 3\nrun.epochs = 3\nresnet9.channels = [%foo, %food]',
      'resnet9.channels (a.gin, line 3) refers to the macro foo, which nothing '
      'binds; did you mean %food?',
    ),
    (
      'n = %m\nm = %n\nrun.epochs = %n',
      'n (a.gin, line 1) is a macro that is made of itself; bind a value.',
    ),
    (
      'data.dataset = cifar10',
      'data.dataset = cifar10 (a.gin, line 1): cifar10 is no value; did you '
      "mean 'cifar10'?",
    ),
    (
      'evaluation.views = [mirror]',
      'evaluation.views = [mirror] (a.gin, line 1): mirror is no value; did '
      "you mean 'mirror'?",
    ),
    (
      'data.data_dir = /data',
      'data.data_dir = /data (a.gin, line 1) has no value that can be read; '
      'text stands in quotes.',
    ),
    (
      'run.deterministic = true',
      'run.deterministic = true (a.gin, line 1): write True for true.',
    ),
    (
      'data.preprocess_on_device = null',
      'data.preprocess_on_device = null (a.gin, line 1): write None for null.',
    ),
  ],
)
def test_a_value_that_is_none_is_named_with_its_place(parse, text, message):
  refused(parse, message, text)
  place = message.replace('a.gin, line 1', 'command line')
  place = place.replace('a.gin, line 3', 'command line')
  refused(parse, place, lines=text.split('\n'))


def test_a_bracket_that_is_not_closed_is_placed(parse):
  text = 'resnet9.channels = [1,\n2\n'
  message, line = 'EOF in multi-line statement', 3
  if sys.version_info >= (3, 12):  # Python's own words.
    message, line = f'unexpected {message}', 2
  refused(parse, f'{message} (a.gin, line {line})', text)
  refused(parse, f'{message} (command line); mend it.', lines=[text])


def test_a_file_is_found_beside_the_one_that_includes_it(parse, tmp_path):
  folder = tmp_path / 'recipes'
  (folder / 'parts').mkdir(parents=True)
  (folder / 'mine.gin').write_text("include 'parts/short.gin'\n")
  (folder / 'parts' / 'short.gin').write_text("include '../seed.gin'\n")
  (folder / 'seed.gin').write_text("include 'gin/six_epochs.gin'\nrun.seed = 3")
  (tmp_path / 'seed.gin').write_text('run.seed = 4')
  params = parse('', files=['recipes/mine.gin'])
  assert (params.runtime.seed, params.trainer.epochs) == (3, 6)
  assert gin_config.place_of('run.seed') == (
    'recipes/parts/../seed.gin, line 2'
  )
  assert gin_config.place_of('run.epochs').startswith('gin/six_epochs.gin, ')


def test_gin_is_left_as_it_was(parse):
  before = gin.config._FILE_READERS.copy(), gin.config._LOCATION_PREFIXES.copy()
  parse('run.seed = 3')
  with pytest.raises(UserError):
    parse("include 'nowhere.gin'")
  after = gin.config._FILE_READERS, gin.config._LOCATION_PREFIXES
  assert after == before


def test_a_file_in_the_home(parse, tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  params = parse("include '~/b.gin'", 'run.seed = 3', files=['~/a.gin'])
  assert params.runtime.seed == 3


@pytest.mark.parametrize(
  ('texts', 'message'),
  [
    ([INCLUDES_B, INCLUDES_B], 'b.gin, line 1: b.gin includes itself; leave '),
    (["\ninclude './a.gin'"], 'a.gin, line 2: ./a.gin includes itself; leave '),
    (
      ["include 'gin/quickstar.gin'"],
      'a.gin, line 1: there is no gin file gin/quickstar.gin; did you mean '
      'gin/quickstart.gin?',
    ),
    (
      ['import nowhere'],
      "a.gin, line 1: No module named 'nowhere'; put its folder into PYTHONPA",
    ),
  ],
)
def test_what_cannot_be_had_is_named_with_its_place(parse, texts, message):
  with pytest.raises(UserError) as caught:
    parse(*texts)
  assert str(caught.value).startswith(message)
  assert '\n' not in str(caught.value)


MARK = b'\xef\xbb\xbf'


def test_a_byte_order_mark_is_passed_over(parse, tmp_path):
  (tmp_path / 'b.gin').write_bytes(MARK + b'run.epochs = 7\r\n')
  (tmp_path / 'c.gin').write_bytes(MARK + b"include 'b.gin'\r\nrun.seed = 3")
  params = parse('', files=['c.gin'])
  assert (params.trainer.epochs, params.runtime.seed) == (7, 3)


@pytest.mark.parametrize('encoding', ['utf-16', 'latin-1'])
def test_another_encoding_is_named(parse, tmp_path, encoding):
  (tmp_path / 'b.gin').write_bytes('# Été\nrun.seed = 3'.encode(encoding))
  with pytest.raises(UserError) as caught:
    parse(INCLUDES_B)
  assert str(caught.value) == (
    'a.gin, line 1: b.gin is not in UTF-8; save it as UTF-8.'
  )
