"""Classes of image files, sound and otherwise."""

import json
import os
import pathlib
import types

import numpy as np
import pytest
from helpers import commands
from PIL import Image

from official_ext import predict as command
from official_ext.errors import UserError
from official_ext.serving import image_files, prediction, trained_model

ROOT = pathlib.Path(__file__).parents[1]
SHAPE = (32, 32, 3)


def noise(*shape):
  return np.random.RandomState(0).randint(0, 256, shape, np.uint8)


def save(path, pixels, **options):
  Image.fromarray(pixels).save(path, **options)
  return str(path)


def test_an_image_of_the_right_size_is_taken_as_it_is(tmp_path):
  pixels = noise(*SHAPE)
  image, changes = image_files.read(save(tmp_path / 'a.png', pixels), SHAPE)
  np.testing.assert_array_equal(image, pixels)
  assert changes == []


def test_a_larger_image_is_scaled_and_cropped_around_its_centre(tmp_path):
  # Four vertical stripes of one colour each; the outer two are cut off.
  stripes = np.repeat(np.uint8([10, 80, 160, 250]), 32)
  pixels = np.tile(stripes[np.newaxis, :, np.newaxis], (64, 1, 3))
  path = save(tmp_path / 'wide.png', pixels)
  image, changes = image_files.read(path, SHAPE)
  assert changes == ['128×64 to 32×32']
  assert (image[:, 3:13] == 80).all()
  assert (image[:, 19:29] == 160).all()


def test_grey_becomes_rgb_and_rgb_grey(tmp_path):
  grey = noise(32, 32)
  image, changes = image_files.read(save(tmp_path / 'grey.png', grey), SHAPE)
  np.testing.assert_array_equal(image, np.stack([grey] * 3, axis=-1))
  assert changes == ['L to RGB']
  path = save(tmp_path / 'rgb.png', np.stack([grey] * 3, axis=-1))
  image, changes = image_files.read(path, (32, 32, 1))
  np.testing.assert_array_equal(image, grey[..., np.newaxis])
  assert changes == ['RGB to L']


def test_transparent_pixels_become_white(tmp_path):
  pixels = np.dstack([noise(*SHAPE), np.full((32, 32), 255, np.uint8)])
  pixels[:, :16, 3] = 0
  image, changes = image_files.read(save(tmp_path / 'a.png', pixels), SHAPE)
  assert (image[:, :16] == 255).all()
  np.testing.assert_array_equal(image[:, 16:], pixels[:, 16:, :3])
  assert changes == ['put on white']


def test_a_photo_is_turned_as_its_camera_noted(tmp_path):
  pixels = noise(*SHAPE)
  exif = Image.Exif()
  exif[0x0112] = 6  # To be turned by 90 degrees clockwise.
  path = save(tmp_path / 'a.png', pixels, exif=exif)
  image, changes = image_files.read(path, SHAPE)
  np.testing.assert_array_equal(image, np.rot90(pixels, k=-1))
  assert changes == ['turned']


@pytest.fixture
def bad_files(tmp_path):
  """Files that cannot be classified, and what is said of each."""
  sound = pathlib.Path(save(tmp_path / 'sound.png', noise(*SHAPE)))
  torn = tmp_path / 'torn.png'
  torn.write_bytes(sound.read_bytes()[:500])
  text = tmp_path / 'text.jpg'
  text.write_text('no image')
  huge = tmp_path / 'huge.png'
  Image.new('1', (20_000, 20_000)).save(huge)
  deep = save(tmp_path / 'deep.png', noise(32, 32).astype(np.uint16) * 257)
  return {
    str(torn): 'cannot be read',
    str(text): 'cannot be read: cannot identify image file',
    str(huge): 'cannot be read: Image size',
    deep: 'has mode I;16',
    str(tmp_path / 'none.png'): 'cannot be read: No such file',
  }


def test_a_name_that_is_no_text_is_told(trained_run, tmp_path):
  """As a strict terminal has it."""
  path = os.fsencode(tmp_path / 'photo_') + b'\xe9.png'
  Image.new('RGB', (32, 32)).save(os.fsdecode(path))
  result = commands.run(
    *('predict', '--model_dir', str(trained_run), str(tmp_path)),
    environment={'PYTHONIOENCODING': 'utf-8:strict'},
  )
  assert result.returncode == 0, result.stderr
  assert 'photo_\\udce9.png' in result.stdout


def test_a_bad_file_is_named(bad_files):
  for path, message in bad_files.items():
    with pytest.raises(UserError, match=message) as caught:
      image_files.read(path, SHAPE)
    assert str(caught.value).startswith(path)
    assert '\n' not in str(caught.value)


def test_a_network_of_other_channels_is_named(tmp_path):
  path = save(tmp_path / 'a.png', noise(*SHAPE))
  with pytest.raises(UserError, match='cannot be made 4 channels'):
    image_files.read(path, (32, 32, 4))


def test_folders_are_searched(tmp_path):
  (tmp_path / 'in' / 'deeper').mkdir(parents=True)
  (tmp_path / 'empty').mkdir()
  for name in ('in/b.PNG', 'in/deeper/a.webp', 'in/notes.txt'):
    (tmp_path / name).touch()
  found = image_files.find([str(tmp_path / 'in'), 'named.dat'])
  inside = [str(tmp_path / 'in' / 'b.PNG')]
  inside += [str(tmp_path / 'in' / 'deeper' / 'a.webp')]
  assert found == [*inside, 'named.dat']
  with pytest.raises(UserError, match='empty holds no file named'):
    image_files.find([str(tmp_path / 'empty')])


def test_what_systems_put_into_folders_is_no_picture(tmp_path):
  names = '.thumbnails/a.png', 'b/.c/d.png', 'b/._e.png', '__MACOSX/f.png'
  names += '@eaDir/g.png', 'Thumbs.db', 'b/desktop.ini', 'h.png/i.txt'
  names += 'b/j.png', '.k/l.png'
  for name in names:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  assert image_files.find([str(tmp_path)]) == [str(tmp_path / 'b' / 'j.png')]
  # Who names one means it.
  hidden = [str(tmp_path / '.k' / 'l.png')]
  assert image_files.find([str(tmp_path / '.k')]) == hidden
  assert image_files.find(hidden) == hidden


def test_an_address_is_no_file():
  with pytest.raises(UserError) as caught:
    image_files.read('https://example.com/a.png', SHAPE)
  assert str(caught.value) == (
    'https://example.com/a.png is no file of this machine; download it, and '
    'name the file.'
  )


def test_a_file_has_a_row_each_time_it_is_named(trained_run, tmp_path):
  one, other = (
    save(tmp_path / f'{name}.png', np.full(SHAPE, value, np.uint8))
    for name, value in (('a', 0), ('b', 255))
  )
  trained = trained_model.load_for_inference(str(trained_run))
  named = [one, other, one]
  predictions, skipped = prediction.predict(trained, named)
  assert [p.file for p in predictions] == named
  assert predictions[0].guesses == predictions[2].guesses
  assert predictions[0].guesses != predictions[1].guesses
  assert skipped == {}


def test_predictions_are_the_models(trained_run, tmp_path, monkeypatch):
  monkeypatch.setattr(prediction, '_BATCH_SIZE', 2)
  pixels = noise(5, *SHAPE)
  paths = [save(tmp_path / f'{i}.png', image) for i, image in enumerate(pixels)]
  (tmp_path / '3.png').write_bytes(b'')
  trained = trained_model.load_for_inference(str(trained_run))
  predictions, skipped = prediction.predict(trained, paths)
  assert list(skipped) == [paths[3]]
  assert [p.file for p in predictions] == paths[:3] + paths[4:]
  odds = np.exp(np.float64(trained.logits(pixels)))
  expected = odds / odds.sum(axis=1, keepdims=True)
  for p, row in zip(predictions, expected[[0, 1, 2, 4]], strict=True):
    best = sorted(range(10), key=lambda i: -row[i])[:3]
    assert [g.class_name for g in p.guesses] == [
      trained.class_names[i] for i in best
    ]
    assert [g.probability for g in p.guesses] == pytest.approx(
      row[best].tolist(), rel=1e-4
    )


def test_the_table(capsys):
  guesses = [prediction.Guess('cat', 0.91), prediction.Guess('dog', 0.0625)]
  command._print_table(
    [
      prediction.Prediction('a.png', guesses, []),
      prediction.Prediction('long.png', guesses, ['L to RGB', 'turned']),
    ]
  )
  assert capsys.readouterr().out.splitlines() == [
    'file      class  probability  runners-up  changes',
    'a.png     cat    91.0%        dog 6.2%    -',
    'long.png  cat    91.0%        dog 6.2%    L to RGB, turned',
  ]


def test_the_command_skips_bad_files_and_says_so(
  trained_run, tmp_path, bad_files, monkeypatch, capsys
):
  flags = types.SimpleNamespace(
    model_dir=str(trained_run), checkpoint='', data_dir='', json=True
  )
  monkeypatch.setattr(command, 'FLAGS', flags)
  assert command.main([str(tmp_path)]) == 1
  output, errors = capsys.readouterr()
  found = json.loads(output)
  (only,) = found['predictions']
  assert only['file'] == str(tmp_path / 'sound.png')
  assert list(only) == ['file', 'class', 'probability', 'runners_up', 'changes']
  assert only['probability'] >= only['runners_up'][0]['probability']
  there = {path for path in bad_files if os.path.exists(path)}
  assert found['skipped'].keys() == there
  assert errors.splitlines() == [
    f'skipped: {text}' for text in found['skipped'].values()
  ]
  assert command.main([str(tmp_path / 'sound.png')]) == 0


@pytest.mark.parametrize(
  'arguments', [[], ['--model_dir=nowhere'], ['picture.png', '--json']]
)
def test_a_mistake_ends_in_one_line(arguments):
  result = commands.run('predict', *arguments)
  assert result.returncode == 2
  assert result.stderr == (
    'error: give --model_dir and image files or folders; see --help.\n'
  )
