"""Tests of official_ext.local_data.picture."""

import warnings
import zlib

import numpy as np
import pytest
from helpers import pictures
from helpers.pictures import noise, save
from PIL import Image

from official_ext.errors import UserError
from official_ext.local_data import picture
from official_ext.serving import image_files

RGB = noise(0)
GREY = noise(1, (8, 10))
AS_IT_IS = picture.Options()
EXACT = 'Stored as RGB of the same colours (a palette, or opaque throughout)'
MISNAMED = 'Read as what they are, which is not what their names end in'


def refused(path, options=AS_IT_IS):
  """Returns the one line by which a file is refused, without its path."""
  with pytest.raises(picture.PictureError) as caught:
    picture.read(path, options)
  message = str(caught.value)
  assert message.isprintable()
  assert message == f'{caught.value.where}: ' + (
    f'{caught.value.what}; {caught.value.mend}.'
  )
  start, end = message.split(str(path))
  assert not start
  return end


def three(grey):
  return np.repeat(grey[..., np.newaxis], 3, axis=2)


def paletted(transparency=None):
  """A palette of random colours, and the pixels that it gives."""
  colors = noise(4, (256, 3))
  image = Image.fromarray(GREY).convert('P')
  image.putpalette(colors.tobytes())
  return image, colors[GREY]


@pytest.mark.parametrize(
  ('name', 'pixels', 'mode', 'expected', 'changes'),
  [
    ('a.png', RGB, 'RGB', RGB, []),
    ('a.PNG', RGB, 'RGB', RGB, []),
    ('a.bmp', RGB, 'RGB', RGB, []),
    ('grey.png', GREY, 'L', three(GREY), []),
    ('one_bit.png', GREY // 128 * 255, '1', three(GREY // 128 * 255), []),
    ('palette.png', paletted()[0], 'P', paletted()[1], [EXACT]),
    ('palette.gif', paletted()[0], 'P', paletted()[1], [EXACT]),
    ('opaque.png', RGB, 'RGBA', RGB, [EXACT]),
    ('opaque_grey.png', GREY, 'LA', three(GREY), [EXACT]),
  ],
)
def test_what_rgb_can_hold_is_read_exactly(
  tmp_path, name, pixels, mode, expected, changes
):
  path = save(tmp_path / name, pixels, mode)
  read = picture.read(path, AS_IT_IS)
  assert read.pixels.dtype == np.uint8
  np.testing.assert_array_equal(read.pixels, expected)
  assert (read.size, read.changes) == ((10, 8), changes)


@pytest.mark.parametrize(
  ('name', 'options'),
  [
    ('a.jpg', {}),
    ('a.JPeG', {'format': 'JPEG'}),
    ('a.jfif', {'format': 'JPEG'}),
    ('a.jpe', {'format': 'JPEG'}),
    ('a.webp', {}),
    ('no_ending', {'format': 'PNG'}),
  ],
)
def test_files_are_known_by_what_is_in_them(tmp_path, name, options):
  path = save(tmp_path / name, RGB, **options)
  read = picture.read(path, AS_IT_IS)
  with Image.open(path) as image:
    np.testing.assert_array_equal(read.pixels, np.asarray(image))
  assert read.changes == []


def test_a_name_that_ends_in_something_else_is_told(tmp_path):
  path = save(tmp_path / 'a.jpg', RGB, format='BMP')
  read = picture.read(path, AS_IT_IS)
  np.testing.assert_array_equal(read.pixels, RGB)
  assert read.changes == [MISNAMED]


def test_a_jpeg_with_a_second_picture_behind_it_is_its_first(tmp_path):
  """As telephones write it."""
  path, plain = tmp_path / 'a.jpg', tmp_path / 'plain.jpg'
  first, second = Image.fromarray(RGB), Image.fromarray(noise(9))
  first.save(plain)
  first.save(path, format='MPO', save_all=True, append_images=[second])
  with Image.open(path) as image:
    assert image.n_frames == 2
  read, expected = (picture.read(p, AS_IT_IS) for p in (path, plain))
  np.testing.assert_array_equal(read.pixels, expected.pixels)
  assert read.changes == []


def over(pixels, alpha, background):
  """What one sees: each pixel's share of its colour, the rest of another."""
  share = alpha[..., np.newaxis] / 255
  return pixels * share + np.float64(background) * (1 - share)


@pytest.mark.parametrize(
  ('options', 'background', 'told'),
  [
    (AS_IT_IS, (255, 255, 255), 'white'),
    (picture.Options('#102030'), (16, 32, 48), '#102030'),
  ],
)
def test_transparent_pixels_are_put_on_a_colour(
  tmp_path, options, background, told
):
  alpha = noise(5, (8, 10))
  path = save(tmp_path / 'a.png', np.dstack([RGB, alpha]))
  read = picture.read(path, options)
  expected = over(RGB, alpha, background)
  np.testing.assert_allclose(read.pixels, expected, atol=1)
  assert read.changes == [f'Put on {told} where transparent (--background)']


@pytest.mark.parametrize(
  ('image', 'transparency'),
  [
    (Image.new('P', (10, 8)), 0),
    (Image.new('RGB', (10, 8)), (0, 0, 0)),
    (Image.new('L', (10, 8)), 0),
    (Image.new('LA', (10, 8)), None),
  ],
)
def test_a_transparent_colour_is_put_on_white(tmp_path, image, transparency):
  path = tmp_path / 'a.png'
  image.save(path, transparency=transparency)
  read = picture.read(path, AS_IT_IS)
  assert read.pixels.min() == 255
  assert read.changes == ['Put on white where transparent (--background)']


def test_cmyk_is_what_its_inks_leave(tmp_path):
  """Each ink takes its share of one colour, black of all."""
  cmyk = np.uint8(
    [[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 51]]
  )
  image = Image.new('CMYK', (64, 64))
  for number, ink in enumerate(cmyk):
    image.paste(tuple(ink.tolist()), (0, 16 * number, 64, 16 * number + 16))
  path = save(tmp_path / 'a.jpg', image, quality=100)
  read = picture.read(path, AS_IT_IS)
  expected = [[255, 255, 255], [0, 255, 255], [255, 0, 0], [204, 204, 204]]
  np.testing.assert_allclose(read.pixels[8::16, 32], expected, atol=2)
  assert read.changes == [
    "CMYK, stored as RGB by Pillow's formula without a colour profile"
  ]


def test_a_picture_is_turned_as_its_camera_was_held(tmp_path):
  """Orientation 6: the first row is the right side (EXIF 2.32, 4.6.4)."""
  stored = noise(5, (10, 8, 3))
  exif = Image.Exif()
  exif[0x0112] = 6
  path = save(tmp_path / 'held.png', stored, exif=exif)
  read = picture.read(path, AS_IT_IS)
  np.testing.assert_array_equal(read.pixels, np.rot90(stored, -1))
  assert read.size == (10, 8)
  assert read.changes == ['Turned as their cameras noted']


def test_scaling_is_antialiased_and_keeps_the_centre(tmp_path):
  """Stripes of a pixel become grey; the outer quarters are cropped off."""
  stripes = np.zeros((64, 128, 3), np.uint8)
  stripes[:, 32:96:2] = 255
  # Further away than the filter reaches: three pixels of what it makes.
  stripes[:, :20] = stripes[:, 108:] = (255, 0, 0)
  path = save(tmp_path / 'a.png', stripes)
  read = picture.read(path, picture.Options(side=16))
  assert read.size == (128, 64)
  assert read.pixels.shape == (16, 16, 3)
  np.testing.assert_allclose(read.pixels[:, 2:-2], 127.5, atol=2)
  assert (read.pixels[..., 0] == read.pixels[..., 1]).all()


@pytest.mark.parametrize('size', [(128, 64), (21, 40), (5, 3), (16, 16)])
def test_training_and_prediction_scale_alike(tmp_path, size):
  path = save(tmp_path / 'a.png', noise(6, (*size[::-1], 4)))
  read = picture.read(path, picture.Options(side=16))
  predicted, _ = image_files.read(str(path), (16, 16, 3))
  np.testing.assert_array_equal(read.pixels, predicted)


def test_16_bits_of_grey_are_refused(tmp_path):
  path = tmp_path / 'deep.png'
  Image.fromarray(np.uint16(257) * GREY).save(path)
  assert refused(path) == (
    ': of 16 bits a channel, which 8 can stand for in several ways; scale to 0 '
    'to 255 and save with 8.'
  )


@pytest.mark.parametrize(('kind', 'channels'), [(2, 3), (4, 2), (6, 4)])
def test_16_bits_of_colour_are_refused(tmp_path, kind, channels):
  """Which Pillow reads as RGB, LA or RGBA, without their lower eight bits."""
  rows = (b'\0' + bytes(10 * channels * 2)) * 8
  path = tmp_path / 'deep.png'
  path.write_bytes(pictures.png(10, 8, 16, kind, zlib.compress(rows)))
  assert ': of 16 bits a channel, which 8' in refused(path)
  with pytest.raises(UserError, match=r'deep\.png has 16 bits a channel'):
    image_files.read(str(path), (8, 10, 3))


@pytest.mark.parametrize('name', ['a.gif', 'a.webp', 'a.png'])
def test_an_animation_is_refused(tmp_path, name):
  path = tmp_path / name
  first, second = Image.fromarray(RGB), Image.fromarray(noise(9))
  first.save(path, save_all=True, append_images=[second])
  assert refused(path) == ': an animation; keep one of its pictures, as PNG.'


@pytest.mark.parametrize('form', ['PNG', 'JPEG', 'WEBP', 'GIF', 'BMP'])
@pytest.mark.parametrize('share', [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_refused(tmp_path, form, share):
  path = save(tmp_path / 'a', noise(7, (64, 64, 3)), format=form)
  content = path.read_bytes()
  path.write_bytes(content[: int(len(content) * share)])
  assert refused(path).endswith(
    (
      '): cannot be read; remove, or get anew.',
      ': no picture in PNG, JPEG, WebP, GIF or BMP; convert, or remove.',
    )
  )


def test_an_empty_file_is_refused(tmp_path):
  path = tmp_path / 'a.png'
  path.touch()
  assert refused(path) == ': empty; remove, or get anew.'


@pytest.mark.parametrize('form', ['TIFF', 'PPM', 'ICO'])
def test_other_formats_are_refused_whatever_their_name(tmp_path, form):
  path = save(tmp_path / 'a.png', noise(8, (16, 16, 3)), format=form)
  assert refused(path) == (
    ': no picture in PNG, JPEG, WebP, GIF or BMP; convert, or remove.'
  )


@pytest.mark.parametrize('size', [(12_000, 12_000), (30_000, 30_000)])
@pytest.mark.parametrize('options', [AS_IT_IS, picture.Options(side=8)])
def test_a_size_beyond_reason_is_not_decoded(tmp_path, size, options):
  path = tmp_path / 'a.png'
  path.write_bytes(pictures.bomb(*size))
  assert refused(path, options) == (
    ': more than 89,478,485 pixels; scale down.'
  )


@pytest.mark.parametrize(
  ('size', 'reason'),
  [
    ((1025, 8), ' (1025×8): more than 1,024 pixels a side; give --resize 32.'),
    (
      (10, 7),
      ' (10×7): less than 8 pixels a side, which the network halves three '
      'times; give --resize 32.',
    ),
  ],
)
def test_a_side_that_is_not_stored_is_not_decoded(tmp_path, size, reason):
  path = tmp_path / 'a.png'
  path.write_bytes(pictures.bomb(*size))
  assert refused(path) == reason
  whole = save(tmp_path / 'b.png', noise(0, (*size[::-1], 3)))
  scaled = picture.read(whole, picture.Options(side=8))
  assert scaled.pixels.shape == (8, 8, 3)


def test_damaged_exif_prints_nothing(tmp_path):
  exif = Image.Exif()
  exif[0x010E] = 'x' * 50
  path = save(tmp_path / 'a.jpg', RGB, exif=exif)
  path.write_bytes(
    path.read_bytes().replace(b'\x0e\x01\x02\x00', b'\x0e\x01\x02\xff')
  )
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    assert picture.read(path, AS_IT_IS).pixels.shape == RGB.shape


@pytest.mark.parametrize(
  ('options', 'reason'),
  [
    (picture.Options(side=7), r'--resize=7 is not between 8 and 1024 pixels; '),
    (picture.Options(side=0), r'--resize=0 is not between 8 and 1024 pixels; '),
    (picture.Options(side=9999), r'--resize=9999 is not between 8 and 1024 '),
    (picture.Options('blurple'), r'--background=blurple is no colour; use one'),
    (picture.Options('#11223344'), r'--background=#11223344 is no colour; use'),
  ],
)
def test_options_that_cannot_be_used(options, reason):
  with pytest.raises(UserError, match=reason):
    picture.check_options(options)
