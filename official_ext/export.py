"""Exports a trained classifier, to be used without this package.

Usage::

  python -m official_ext.export --model_dir RUN --export_dir NEW_FOLDER

The folder holds a SavedModel and TFLite files (float32, float16, and dynamic
range: weights of 8 bits), each from uint8 images of any number to `logits` and
`probabilities`, the normalisation inside; the names of the classes, which the
SavedModel also gives as `class_name`; and the run's config. With --onnx there
is an ONNX file, too (`pip install 'official_ext[onnx]'`). Each is then loaded
in a process without this package and compared, on all test images, with the
trained model.

Flags:

  --model_dir      Folder of the run.
  --export_dir     Folder to make.
  --checkpoint     Checkpoint, or folder of some, in --model_dir, such as best;
                   the newest by default.
  --data_dir       Folder of TFDS data sets, where it is not the run's.
  --onnx           Write float32.onnx, too.
  --[no]evaluate   Whether to compare; it needs the test images.
  --traceback      Show the full trace of an error.
"""

import dataclasses
import json
import os
from typing import TYPE_CHECKING

from absl import flags

from official_ext.command_line import cli
from official_ext.errors import UserError
from official_ext.files import paths

if TYPE_CHECKING:
  from official_ext.dataloaders.in_memory import ImageData
  from official_ext.serving.trained_model import TrainedModel

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags of this command."""
  cli.define_flags()
  cli.define_run_flags()
  flags.DEFINE_string('export_dir', None, 'Folder to make.')
  flags.DEFINE_bool('onnx', False, 'Write float32.onnx, too.')
  flags.DEFINE_bool(
    'evaluate', True, 'Compare on all test images with the trained model.'
  )


def main() -> None:
  """Reads all that is needed, then writes, then compares."""
  if not FLAGS.model_dir or not FLAGS.export_dir:
    raise UserError('give --model_dir and --export_dir; see --help.')
  # TensorFlow is imported here, so that --help and a wrong flag answer at once.
  from official_ext.serving import export_lib, onnx_file, trained_model

  export_dir = paths.local(FLAGS.export_dir, '--export_dir')
  export_lib.check_new(export_dir)
  if FLAGS.onnx:
    onnx_file.check_installed()
  trained = trained_model.load_for_inference(
    FLAGS.model_dir, FLAGS.checkpoint, FLAGS.data_dir
  )
  data = None
  if FLAGS.evaluate:
    data = trained.load(trained.params.task.validation_data)
  print(f'Exporting {trained.describe()}', flush=True)
  export_lib.export(trained, export_dir, FLAGS.onnx)
  if data:
    _compare(trained, export_dir, data)
  files = ', '.join(sorted(os.listdir(export_dir)))
  print(f'{export_dir} holds {files}.')


def _compare(
  trained: 'TrainedModel', export_dir: str, data: 'ImageData'
) -> None:
  """Prints a row for each model when it is known; keeps all of them."""
  from official_ext.serving import evaluation

  print(
    f'On the {data.info.num_examples:,} images of {data.info.name}, float32:\n'
    'model                  accuracy  points  same class  probabilities '
    'within      MiB',
    flush=True,
  )
  rows: list[evaluation.Comparison] = []
  for row in evaluation.compare(trained, export_dir, data):
    rows.append(row)
    points = 100 * (row.accuracy - rows[0].accuracy)
    print(
      f'{row.name:22} {row.accuracy:8.2%} {points:+7.2f} {row.agreement:11.2%} '
      f'{row.max_difference:21.1e} {row.num_bytes / 2**20:8.2f}',
      flush=True,
    )
  with open(os.path.join(export_dir, 'evaluation.json'), 'w') as file:
    json.dump([dataclasses.asdict(row) for row in rows], file, indent=2)


if __name__ == '__main__':
  define_flags()
  cli.run(main)
