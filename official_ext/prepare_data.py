"""Makes a TFDS data set from local files, where nothing can be downloaded.

CIFAR-10, from its binary or its Python archive, or from either unpacked::

  python -m official_ext.prepare_data --archive FILE_OR_FOLDER --data_dir OUT

Images sorted as FOLDER/train/CLASS/* and FOLDER/test/CLASS/*, under a name of
your choice; with --test_share 0.1 not split yet, as FOLDER/CLASS/*, and with
--resize 32 of several sizes::

  python -m official_ext.prepare_data --folder FOLDER --name NAME --data_dir OUT

Arrays, in the IDX files of MNIST and its relatives or in a file of NumPy's::

  python -m official_ext.prepare_data --idx FOLDER --name NAME --data_dir OUT
  python -m official_ext.prepare_data --npz FILE --name NAME --data_dir OUT

Nothing is written before all is read and found to be sound. All that is wrong
is told at once, and so is what is done to the images. Beside the data set comes
a recipe to train on it, a gin file; each of its choices is told in a line.
"""

import functools
import json
import os
import pathlib
import shlex
import signal
import sys
from collections.abc import Callable
from typing import Any

from absl import flags

from official_ext.command_line import cli
from official_ext.errors import UserError, reason
from official_ext.files import whole
from official_ext.local_data import (
  cifar10_archive,
  examples,
  idx_files,
  image_folder,
  labelled_arrays,
  npz_file,
  picture,
  recipe,
  remarks,
  test_split,
)
from official_ext.local_data.examples import LabelledImages
from official_ext.machine import stopping

FLAGS = flags.FLAGS

# The options of each source; all but CIFAR-10's archive take these.
_NAMED = ('name', 'rgb', 'test_share', 'seed', 'recipe', 'mirror')
OPTIONS: dict[str, tuple[str, ...]] = {
  'archive': (),
  'folder': (*_NAMED, 'resize', 'background'),
  'idx': (*_NAMED, 'classes', 'transpose'),
  'npz': (*_NAMED, 'classes', 'transpose', 'npz_keys'),
}


def define_flags() -> None:
  """Defines the flags of this command; None stands for what is not given."""
  cli.define_flags()
  flags.DEFINE_string(
    'archive',
    None,
    'cifar-10-binary.tar.gz or cifar-10-python.tar.gz, or a folder with either '
    'unpacked.',
  )
  flags.DEFINE_string(
    'folder',
    None,
    'Holds train/CLASS/* and test/CLASS/*, or CLASS/* (see --test_share): '
    'PNG, JPEG, WebP, GIF or BMP. A folder val is a third split, or the test '
    'split where there is no other.',
  )
  flags.DEFINE_string(
    'idx',
    None,
    'Folder with train-images-idx3-ubyte and so on, gzipped or not; with '
    'several sets in it, FOLDER/emnist-letters.',
  )
  flags.DEFINE_string('npz', None, 'File of arrays that numpy.savez wrote.')
  flags.DEFINE_string('data_dir', None, 'Folder of TFDS data sets to write to.')
  flags.DEFINE_string(
    'name', None, 'Name of the data set; CIFAR-10 has its own.'
  )
  flags.DEFINE_float(
    'test_share',
    None,
    'Share of each class to draw for test, such as 0.1, where there is none.',
  )
  flags.DEFINE_integer('seed', None, 'Of that draw; 0 by default.')
  flags.DEFINE_string(
    'recipe',
    None,
    'Gin file to write, which trains on the data set; NAME.gin in --data_dir '
    'by default. One that is there is set aside.',
  )
  flags.DEFINE_bool(
    'mirror',
    None,
    'Whether the recipe mirrors half of the images, as it does by default; '
    '--nomirror where left and right matter (digits, text, traffic signs).',
  )
  flags.DEFINE_bool(
    'rgb', None, 'Store grey images as RGB too, for a network of colours.'
  )
  flags.DEFINE_integer(
    'resize',
    None,
    'Side in pixels to bring the images of --folder to: the shorter side is '
    'scaled (antialiased, Lanczos), then the centre cropped.',
  )
  flags.DEFINE_string(
    'background',
    None,
    "Colour behind transparent pixels, such as 'black' or '#808080'; white by "
    'default.',
  )
  flags.DEFINE_string(
    'npz_keys',
    None,
    f'Arrays of --npz: images and labels of train, of test, of validation; '
    f'{npz_file.KEYS} by default.',
  )
  flags.DEFINE_string(
    'classes',
    None,
    'Names of the classes of --idx or --npz, separated by commas, or a file '
    'with one a line; the labels by default.',
  )
  flags.DEFINE_bool(
    'transpose',
    None,
    "Exchange rows and columns of each image of --idx or --npz, as EMNIST's "
    'need it.',
  )


def main() -> None:
  """Reads and checks all that is asked for, then writes it."""
  for number in stopping.signals():
    signal.signal(number, _stop)
  source = _source()
  data_dir = _local(FLAGS.data_dir)
  if source == 'archive':
    _prepare_cifar10(_local(FLAGS.archive), data_dir)
  else:
    _prepare_named(source, FLAGS.name, data_dir)


def _source() -> str:
  """Returns which source is given, once the flags are found to agree."""
  sources = [name for name in OPTIONS if getattr(FLAGS, name)]
  if len(sources) != 1:
    *names, last = (f'--{name}' for name in OPTIONS)
    raise UserError(f'give one of {", ".join(names)} and {last}; see --help.')
  (source,) = sources
  options = OPTIONS[source]
  if 'name' in options and not FLAGS.name:
    raise UserError(f'--{source} and --name go together; see --help.')
  for name in sorted({name for each in OPTIONS.values() for name in each}):
    if name not in options and getattr(FLAGS, name) is not None:
      takers = [f'--{other}' for other in OPTIONS if name in OPTIONS[other]]
      raise UserError(
        f'--{name} goes with {" or ".join(takers)}, not with --{source}; see '
        '--help.'
      )
  if not FLAGS.data_dir:
    raise UserError('give --data_dir, the folder to write to; see --help.')
  return source


def _prepare_cifar10(source: pathlib.Path, data_dir: pathlib.Path) -> None:
  # TensorFlow is imported here, so that --help and a wrong flag answer at once.
  from official_ext.datasets import writer

  writer.check_place(data_dir, 'cifar10', str(writer.Cifar10.VERSION))
  print(f'Reading {source}', flush=True)
  builder = writer.Cifar10(cifar10_archive.read(source), data_dir=data_dir)
  writer.write(builder)
  print(_said_of(builder))
  bindings = ['--gin_params', f'data.data_dir={json.dumps(str(data_dir))}']
  print(f'Next: {recipe.command(recipe.BASE)} {shlex.join(bindings)}')


def _prepare_named(source: str, name: str, data_dir: pathlib.Path) -> None:
  share = _test_share()
  read = _reader(source, share)
  path = _recipe_place(name, data_dir)
  from official_ext.datasets import writer

  writer.check_name(name)
  writer.check_place(data_dir, name, str(writer.LocalImages.VERSION))
  images = test_split.draw(read(), share, FLAGS.seed or 0)
  images = examples.with_one_number_of_channels(images, bool(FLAGS.rgb))
  for line in (*images.notes, *remarks.of(images)):
    print(line, flush=True)
  builder = writer.LocalImages(name, images, data_dir=data_dir)
  writer.write(builder)
  print(_said_of(builder))
  _write_recipe(builder, data_dir, path)


def _recipe_place(name: str, data_dir: pathlib.Path) -> pathlib.Path:
  """Returns where the recipe is to be, in a folder that can be written."""
  if not FLAGS.recipe:
    return data_dir / f'{name}.gin'
  path = _local(FLAGS.recipe)
  if path.is_dir() or path.suffix != '.gin':
    raise UserError(f'--recipe={FLAGS.recipe} is no gin file; add .gin.')
  if not os.access(path.parent, os.W_OK | os.X_OK):
    raise UserError(
      f'--recipe={FLAGS.recipe}: {path.parent} is not a folder that can be '
      'written; choose another.'
    )
  return path


def _write_recipe(
  builder: Any, data_dir: pathlib.Path, path: pathlib.Path
) -> None:
  """Writes a recipe; prints what it chooses, and how to train by it."""
  statistics, features = builder.train_statistics, builder.info.features
  facts = recipe.Facts(
    dataset=builder.name,
    data_dir=str(data_dir),
    num_train=builder.info.splits['train'].num_examples,
    image_shape=features['image'].shape,
    num_classes=features['label'].num_classes,
    mean=statistics.mean(),
    stddev=statistics.stddev(),
    mirror=FLAGS.mirror is not False,
  )
  try:
    aside = whole.write_anew(path, recipe.text(facts, path))
  except OSError as error:
    raise UserError(
      f'{path} cannot be written ({reason(error)}), so there is no recipe; '
      'gin/resnet9_v100.gin is one to begin with.'
    ) from error
  if aside:
    print(f'{path} was there already; what it held is now {aside}.')
  print(f'Wrote {path}, a recipe:')
  for choice in recipe.choose(facts):
    print(f'- {choice.why}.')
  print(f'Next: {recipe.command(path)}')


def _reader(source: str, share: float | None) -> Callable[[], LabelledImages]:
  """Returns what reads a source, once its options are found to be sound."""
  place = _local(getattr(FLAGS, source))
  if source == 'folder':
    pictures = picture.Options(FLAGS.background or 'white', FLAGS.resize)
    picture.check_options(pictures)
    return functools.partial(image_folder.read, place, pictures, share)
  arrays = labelled_arrays.Options(FLAGS.classes, bool(FLAGS.transpose), share)
  if source == 'idx':
    return functools.partial(idx_files.read, place, arrays)
  keys = FLAGS.npz_keys or npz_file.KEYS
  return functools.partial(npz_file.read, place, keys, arrays)


def _test_share() -> float | None:
  share = FLAGS.test_share
  if share is None and FLAGS.seed is not None:
    raise UserError('--seed is that of --test_share; give both or neither.')
  if share is not None and not 0 < share < 1:
    raise UserError(f'--test_share={share} is not between 0 and 1; use 0.1.')
  return share


def _said_of(builder: Any) -> str:
  """Returns a line about what was written."""
  info = builder.info
  counts = ' and '.join(
    f'{split.num_examples:,} {name}' for name, split in info.splits.items()
  )
  names = info.features['label'].names
  height, width, _ = info.features['image'].shape
  return (
    f'Wrote {info.full_name} to {builder.data_path}: {counts} images of '
    f'{width}×{height} pixels in {len(names)} classes ({", ".join(names)}).'
  )


def _local(path: str) -> pathlib.Path:
  if '://' in path:
    raise UserError(f'{path} is not on this machine; give a local path.')
  return pathlib.Path(os.path.abspath(os.path.expanduser(path)))


def _stop(signum: int, _: Any) -> None:
  """Ends the command by an exception, so that what is half-written goes."""
  sys.exit(128 + signum)  # As the shell has it.


if __name__ == '__main__':
  define_flags()
  cli.run(main)
