"""Makes a TFDS data set from local files, where nothing can be downloaded.

CIFAR-10, from its binary or its Python archive, or from either unpacked::

  python -m official_ext.prepare_data --archive FILE_OR_FOLDER --data_dir OUT

Images sorted as FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.png (or .jpg,
.jpeg), under a name of your choice::

  python -m official_ext.prepare_data --folder FOLDER --name NAME --data_dir OUT
"""

import json
import os
import pathlib
import shlex
import signal
import sys
from typing import Any

from absl import flags

from official_ext.command_line import cli
from official_ext.errors import UserError
from official_ext.machine import stopping

FLAGS = flags.FLAGS

# Of gin/resnet9_v100.gin, with which the data set is to be trained on.
_BATCH_SIZE = 512
# Of the network's input, in pixels.
_MIN_SIDE = 8


def define_flags() -> None:
  """Defines the flags of this command."""
  cli.define_flags()
  flags.DEFINE_string(
    'archive',
    None,
    'cifar-10-binary.tar.gz or cifar-10-python.tar.gz, or a folder with either '
    'unpacked.',
  )
  flags.DEFINE_string(
    'folder', None, 'Holds train/CLASS/*.png and test/CLASS/*.png (or .jpg).'
  )
  flags.DEFINE_string('name', None, 'Name of the data set made from --folder.')
  flags.DEFINE_string('data_dir', None, 'Folder of TFDS data sets to write to.')


def main() -> None:
  """Reads and checks all that is asked for, then writes it."""
  for number in stopping.signals():
    signal.signal(number, _stop)
  if bool(FLAGS.archive) == bool(FLAGS.folder):
    raise UserError('give either --archive or --folder; see --help.')
  if bool(FLAGS.folder) != bool(FLAGS.name):
    raise UserError('--folder and --name go together; see --help.')
  if not FLAGS.data_dir:
    raise UserError('give --data_dir, the folder to write to; see --help.')
  data_dir = _local(FLAGS.data_dir)
  if FLAGS.archive:
    _prepare_cifar10(_local(FLAGS.archive), data_dir)
  else:
    _prepare_folder(_local(FLAGS.folder), FLAGS.name, data_dir)


def _prepare_cifar10(source: pathlib.Path, data_dir: pathlib.Path) -> None:
  # TensorFlow is imported here, so that --help and a wrong flag answer at once.
  from official_ext.datasets import writer
  from official_ext.local_data import cifar10_archive

  writer.check_place(data_dir, 'cifar10', str(writer.Cifar10.VERSION))
  print(f'Reading {source}', flush=True)
  builder = writer.Cifar10(cifar10_archive.read(source), data_dir=data_dir)
  writer.write(builder)
  _report(builder, {'data_dir': str(data_dir)})


def _prepare_folder(
  source: pathlib.Path, name: str, data_dir: pathlib.Path
) -> None:
  from official_ext.datasets import writer
  from official_ext.local_data import image_folder

  writer.check_name(name)
  writer.check_place(data_dir, name, str(writer.ImageFolder.VERSION))
  folder = image_folder.scan(source)
  height, width, _ = folder.image_shape
  if min(height, width) < _MIN_SIDE:
    raise UserError(
      f'{source} has images of {width}×{height} pixels, which the network '
      f'halves three times; scale them to {_MIN_SIDE} pixels a side or more.'
    )
  if folder.num_converted:
    print(
      f'{folder.num_converted:,} images are greyscale, have a palette or an '
      'opaque alpha channel; they are stored as RGB of the same colours.'
    )
  if folder.num_turned:
    print(
      f'{folder.num_turned:,} images are stored turned, as their cameras noted.'
    )
  builder = writer.ImageFolder(name, folder, data_dir=data_dir)
  writer.write(builder)
  bindings: dict[str, Any] = {
    'data_dir': str(data_dir),
    'dataset': name,
    'num_classes': len(folder.class_names),
    'mean_rgb': folder.mean_rgb,
    # A channel that is the same everywhere is 0 after its mean is subtracted.
    'stddev_rgb': [value or 1.0 for value in folder.stddev_rgb],
  }
  num_examples = len(folder.files['train'])
  if num_examples < _BATCH_SIZE:
    bindings['batch_size'] = num_examples
  _report(builder, bindings)


def _report(builder: Any, bindings: dict[str, Any]) -> None:
  """Prints what was written and the command that trains on it."""
  info = builder.info
  counts = ' and '.join(
    f'{split.num_examples:,} {name}' for name, split in info.splits.items()
  )
  names = info.features['label'].names
  height, width, _ = info.features['image'].shape
  command = ['python', '-m', 'official_ext.train']
  command += ['--gin_file', 'gin/resnet9_v100.gin']
  for key, value in bindings.items():
    literal = json.dumps(value, ensure_ascii=False)  # Gin reads no surrogates.
    command += ['--gin_params', f'data.{key}={literal}']
  print(
    f'Wrote {info.full_name} to {builder.data_path}: {counts} images of '
    f'{width}×{height} pixels in {len(names)} classes ({", ".join(names)}).\n'
    f'Next: {shlex.join(command)}'
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
