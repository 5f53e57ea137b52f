"""Tests of official_ext.local_data.image_folder."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from official_ext.errors import UserError
from official_ext.local_data import image_folder
from official_ext.serving import image_files


def write(path, content):
  path.write_bytes(content)
  return path


def save(path, pixels, mode='RGB', **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  image = pixels
  if isinstance(pixels, np.ndarray):
    image = Image.fromarray(pixels)
  image.convert(mode).save(path, **options)
  return path


@pytest.fixture
def photos(tmp_path):
  """Two classes, two training images and one test image each, of 10×8."""
  rng = np.random.default_rng(2)
  for split, count in (('train', 2), ('test', 1)):
    for name in ('cat', 'ant'):
      for i in range(count):
        image = rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)
        save(tmp_path / split / name / f'{i}.png', image)
  return tmp_path


def scan_error(folder):
  with pytest.raises(UserError) as caught:
    image_folder.scan(folder)
  message = str(caught.value)
  assert message.isprintable()
  assert str(folder) in message
  return message


def test_reads_a_folder_of_images(photos):
  folder = image_folder.scan(photos)
  assert folder.class_names == ('ant', 'cat')
  assert folder.image_shape == (8, 10, 3)
  assert folder.num_converted == 0
  assert folder.files == {
    'train': [
      (photos / 'train' / name / f'{i}.png', label)
      for label, name in enumerate(('ant', 'cat'))
      for i in range(2)
    ],
    'test': [
      (photos / 'test/ant/0.png', 0),
      (photos / 'test/cat/0.png', 1),
    ],
  }
  images = np.stack(
    [image_folder.read(path, (8, 10, 3)) for path, _ in folder.files['train']]
  )
  assert images.dtype == np.uint8
  np.testing.assert_allclose(folder.mean_rgb, images.mean((0, 1, 2)), atol=0.01)
  np.testing.assert_allclose(
    folder.stddev_rgb, images.std((0, 1, 2)), atol=0.01
  )


def test_images_are_read_exactly(photos):
  rng = np.random.default_rng(3)
  pixels = rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)
  png = save(photos / 'train/cat/a.PNG', pixels)
  jpeg = save(photos / 'train/cat/b.JPeG', pixels, format='JPEG')
  folder = image_folder.scan(photos)
  np.testing.assert_array_equal(
    image_folder.read(png, folder.image_shape), pixels
  )
  with Image.open(jpeg) as image:
    np.testing.assert_array_equal(
      image_folder.read(jpeg, folder.image_shape), np.asarray(image)
    )


def test_converts_what_rgb_can_hold(photos):
  grey = np.arange(80, dtype=np.uint8).reshape(8, 10) * 3
  rgb = np.repeat(grey[..., np.newaxis], 3, axis=2)
  black_or_white = (grey > 99).astype(np.uint8) * 255
  palette = Image.fromarray(grey).convert('P')
  colors = np.random.default_rng(4).integers(0, 256, (256, 3), dtype=np.uint8)
  palette.putpalette(colors.tobytes())
  expected = {
    'grey.png': (grey, 'L', rgb),
    'grey.jpg': (np.full_like(grey, 77), 'L', np.full_like(rgb, 77)),
    'one_bit.png': (
      black_or_white,
      '1',
      np.repeat(black_or_white[..., np.newaxis], 3, axis=2),
    ),
    'palette.png': (palette, 'P', colors[grey]),
    'opaque.png': (rgb, 'RGBA', rgb),
    'opaque_grey.png': (grey, 'LA', rgb),
  }
  for name, (pixels, mode, _) in expected.items():
    save(photos / 'train/ant' / name, pixels, mode)
  folder = image_folder.scan(photos)
  assert folder.num_converted == len(expected)
  for name, (_, _, pixels) in expected.items():
    image = image_folder.read(photos / 'train/ant' / name, (8, 10, 3))
    np.testing.assert_array_equal(image, pixels)


def transparent():
  image = Image.new('RGBA', (10, 8), (1, 2, 3, 255))
  image.putpixel((4, 5), (1, 2, 3, 254))
  return image


@pytest.mark.parametrize(
  ('image', 'name', 'mode', 'options'),
  [
    (transparent(), 'a.png', 'RGBA', {}),
    (Image.new('P', (10, 8)), 'a.png', 'P', {'transparency': 0}),
    (Image.new('RGB', (10, 8)), 'a.png', 'RGB', {'transparency': (0, 0, 0)}),
    (Image.new('I;16', (10, 8)), 'a.png', 'I;16', {}),
    (Image.new('CMYK', (10, 8)), 'a.jpg', 'CMYK', {}),
  ],
)
def test_refuses_what_rgb_cannot_hold(photos, image, name, mode, options):
  path = photos / 'test/cat' / name
  image.save(path, **options)
  assert scan_error(photos) == (
    f'{path} has mode {mode} or transparent pixels, which 8-bit RGB cannot '
    'hold exactly; save it as 8-bit RGB.'
  )


def test_turns_images_as_their_camera_was_held(photos):
  """Orientation 6: the first row is the right side (EXIF 2.32, 4.6.4)."""
  rgb = np.random.default_rng(5).integers(0, 256, (10, 8, 3), dtype=np.uint8)
  exif = Image.Exif()
  exif[0x0112] = 6
  path = photos / 'train/ant/held.png'
  Image.fromarray(rgb).save(path, exif=exif)
  folder = image_folder.scan(photos)
  assert (folder.num_turned, folder.image_shape) == (1, (8, 10, 3))
  upright = image_folder.read(path, (8, 10, 3))
  np.testing.assert_array_equal(upright, np.rot90(rgb, -1))
  other, changes = image_files.read(str(path), (8, 10, 3))
  np.testing.assert_array_equal(other, upright)
  assert changes == ['turned']


@pytest.mark.parametrize(('kind', 'channels'), [(2, 3), (4, 2), (6, 4)])
def test_refuses_colours_of_16_bits(photos, kind, channels):
  """Which Pillow reads as RGB, LA or RGBA, without their lower eight bits."""
  rows = (b'\0' + bytes(10 * channels * 2)) * 8
  content = png(10, 8, 16, kind, zlib.compress(rows))
  path = photos / 'test/cat/deep.png'
  path.write_bytes(content)
  assert ' of 16 bits or transparent pixels, which 8-bit' in scan_error(photos)
  with pytest.raises(UserError, match=r'deep\.png has 16 bits a channel'):
    image_files.read(str(path), (8, 10, 3))


def test_refuses_images_of_two_sizes(photos):
  path = save(photos / 'test/cat/1.png', np.zeros((8, 9, 3), np.uint8))
  assert scan_error(photos) == (
    f'{path} is 9×8 pixels, but others are 10×8; bring all images to one size.'
  )


def png(width, height, bits, kind, data):
  """A PNG of any header: `kind` is 2 of RGB, 4 of LA, 6 of RGBA."""

  def chunk(content):
    checksum = zlib.crc32(content)
    return (
      struct.pack('>I', len(content) - 4)
      + content
      + struct.pack('>I', checksum)
    )

  header = struct.pack('>IIBBBBB', width, height, bits, kind, 0, 0, 0)
  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR' + header)
    + chunk(b'IDAT' + data)
    + chunk(b'IEND')
  )


def bomb(width, height):
  """A PNG of a few bytes that states any size."""
  return png(width, height, 8, 2, zlib.compress(b''))


@pytest.mark.parametrize(
  ('size', 'reason'),
  [
    ((1025, 8), 'is 1025×8 pixels; scale it down to 1024×1024 or less'),
    ((12_000, 12_000), 'could be decompression bomb'),
    ((30_000, 30_000), 'could be decompression bomb'),
  ],
)
def test_refuses_a_size_without_decoding_it(photos, size, reason):
  path = write(photos / 'train/ant/0.png', bomb(*size))
  message = scan_error(photos)
  assert str(path) in message
  assert reason in message


@pytest.mark.parametrize('name', ['train/ant/0.png', 'test/cat/0.png'])
@pytest.mark.parametrize('share', [0, 0.2, 0.7])
def test_refuses_a_damaged_image(photos, name, share):
  content = (photos / name).read_bytes()
  path = write(photos / name, content[: int(len(content) * share)])
  assert f'{path} cannot be read as PNG or JPEG (' in scan_error(photos)


def test_refuses_another_format_under_the_name_of_png(photos):
  path = photos / 'train/ant/0.png'
  Image.new('RGB', (10, 8)).save(path, format='BMP')
  assert f'{path} cannot be read as PNG or JPEG (' in scan_error(photos)


@pytest.mark.parametrize('name', ['notes.txt', 'photo.bmp', 'folder.png/x.png'])
def test_refuses_other_files_beside_the_images(photos, name):
  path = photos / 'train/cat' / name
  path.parent.mkdir(exist_ok=True)
  path.touch()
  assert 'is not a file named .png, .jpg, .jpeg; conv' in scan_error(photos)


def test_skips_hidden_files(photos):
  write(photos / 'train/.DS_Store', b'x')
  write(photos / 'train/cat/.thumbs.png', b'x')
  assert len(image_folder.scan(photos).files['train']) == 4


def test_refuses_a_class_of_one_split_only(photos):
  save(photos / 'test/dog/0.png', np.zeros((8, 10, 3), np.uint8))
  assert scan_error(photos) == (
    f'{photos}/test/dog has no counterpart in {photos}/train; both must hold '
    'the same class folders.'
  )


def test_refuses_an_empty_class(photos):
  (photos / 'test/cat/0.png').unlink()
  assert f'{photos}/test/cat is empty' in scan_error(photos)


def test_refuses_a_single_class(tmp_path):
  for split in ('train', 'test'):
    save(tmp_path / split / 'cat' / '0.png', np.zeros((8, 10, 3), np.uint8))
  assert 'train has 1 class folders; sort the images' in scan_error(tmp_path)


def test_refuses_a_folder_without_splits(tmp_path):
  save(tmp_path / 'cat/0.png', np.zeros((8, 10, 3), np.uint8))
  message = scan_error(tmp_path)
  assert f'{tmp_path}/train is not a folder; sort the images as' in message


@pytest.mark.parametrize('name', ['a\nb', ' a', 'a\x1b[31m'])
def test_refuses_names_that_do_not_fit_a_line(photos, name):
  for split in ('train', 'test'):
    (photos / split / 'cat').rename(photos / split / name)
  assert f'{photos}/train holds {name!r}; rename' in scan_error(photos)


def test_refuses_a_link_out_of_the_folder(photos, tmp_path_factory):
  secret = tmp_path_factory.mktemp('home') / 'secret.png'
  save(secret, np.zeros((8, 10, 3), np.uint8))
  (photos / 'train/cat/a.png').symlink_to(secret)
  assert f'{photos}/train/cat/a.png is a link out of' in scan_error(photos)


def test_follows_a_link_within_the_folder(photos):
  (photos / 'train/cat/a.png').symlink_to(photos / 'train/cat/0.png')
  assert len(image_folder.scan(photos).files['train']) == 5


@pytest.mark.parametrize(
  'make', [os.mkfifo, lambda path: path.symlink_to(path)]
)
def test_refuses_a_pipe_and_a_link_to_itself(photos, make):
  make(photos / 'train/cat/a.png')
  assert 'a.png is not a file named .png' in scan_error(photos)
