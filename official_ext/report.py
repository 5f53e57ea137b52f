"""Writes a page on a run: curves, confusions, mistakes, network and config.

Usage::

  python -m official_ext.report --model_dir RUN

The page is one HTML file without scripts that loads nothing else, so that it
can be opened offline, sent and kept. It reads the run's test and training
images. The accuracy is printed too and, where classes of the test images are of
unequal size, the mean of those of the classes.

Flags:

  --model_dir   Folder of the run.
  --output      File to write; report.html in --model_dir by default. An earlier
                one is replaced.
  --checkpoint  Checkpoint, or folder of some, in --model_dir, such as best; the
                newest by default.
  --data_dir    Folder of TFDS data sets, where it is not the run's.
  --records_dir Folder of records, as official_ext.repeat writes them, of runs
                with the same test images: shows those that no run gets right.
  --traceback   Show the full trace of an error.
"""

import os
import pathlib

from absl import flags

from official_ext.command_line import cli
from official_ext.errors import UserError
from official_ext.files import paths

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags of this command."""
  cli.define_flags()
  cli.define_run_flags()
  flags.DEFINE_string(
    'output', None, 'File to write; report.html in --model_dir by default.'
  )
  flags.DEFINE_string(
    'records_dir',
    None,
    'Folder of records of runs whose common mistakes are shown.',
  )


def main() -> None:
  """Gathers everything, then writes the page."""
  if not FLAGS.model_dir:
    raise UserError('give --model_dir, the folder of a run; see --help.')
  # TensorFlow is imported here, so that --help and a wrong flag answer at once.
  from official_ext.reporting import classes, content, never_right, page
  from official_ext.serving import trained_model

  trained = trained_model.load_for_inference(
    FLAGS.model_dir, FLAGS.checkpoint, FLAGS.data_dir
  )
  output = pathlib.Path(
    paths.local(FLAGS.output or f'{trained.model_dir}/report.html', '--output')
  )
  if not output.parent.is_dir():
    raise UserError(f'--output={output} is in no folder that exists.')
  if output.is_dir():
    raise UserError(f'--output={output} is a folder; name a file.')
  if not os.access(output.parent, os.W_OK):
    raise UserError(f'--output={output} cannot be written; name another.')
  print(f'Reading {trained.describe()}', flush=True)
  common = (
    never_right.find(FLAGS.records_dir, trained) if FLAGS.records_dir else None
  )
  gathered = content.gather(trained, common)
  _write(output, page.render(gathered))
  print(
    classes.sentence(
      gathered['accuracy'], gathered['balanced_accuracy'], gathered['classes']
    )
  )
  print(f'Wrote {output}')


def _write(path: pathlib.Path, text: str) -> None:
  """Writes all of the file or, where that fails, leaves the old one."""
  new = path.with_name(f'.{path.name}.new')
  try:
    new.write_text(text, encoding='utf-8')
    new.replace(path)
  except OSError as error:
    raise UserError(
      f'--output={path} cannot be written ({error.strerror}); name another.'
    ) from error


if __name__ == '__main__':
  define_flags()
  cli.run(main)
