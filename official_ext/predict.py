"""Classifies image files with a trained classifier.

Usage::

  python -m official_ext.predict --model_dir RUN picture.png folder ...

Of a folder, all images in it and in the folders below it are taken, but for
hidden ones. Each is brought to the size that the network was trained on, and
what that took is said: turned as its camera noted, put on white where it is
transparent, converted to RGB or grey, scaled and cropped around its centre. A
file that cannot be read is named on standard error and skipped, and the exit
status is then 1.

Flags:

  --model_dir   Folder of the run.
  --checkpoint  Checkpoint, or folder of some, in --model_dir, such as best; the
                newest by default.
  --data_dir    Folder of TFDS data sets, where it is not the run's; it is only
                asked for the names of the classes.
  --json        Print JSON instead of a table.
  --traceback   Show the full trace of an error.
"""

import io
import json
import sys
from typing import TYPE_CHECKING

from absl import flags

from official_ext.command_line import cli
from official_ext.errors import UserError

if TYPE_CHECKING:
  from official_ext.serving.prediction import Guess, Prediction

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags of this command."""
  cli.define_flags()
  cli.define_run_flags()
  flags.DEFINE_bool('json', False, 'Print JSON instead of a table.')


def main(arguments: list[str]) -> int:
  """Classifies the files; returns 1 if any was skipped."""
  if not FLAGS.model_dir or not arguments:
    raise UserError('give --model_dir and image files or folders; see --help.')
  # TensorFlow is imported here, so that --help and a wrong flag answer at once.
  from official_ext.serving import image_files, prediction, trained_model

  paths = image_files.find(arguments)
  trained = trained_model.load_for_inference(
    FLAGS.model_dir, FLAGS.checkpoint, FLAGS.data_dir
  )
  predictions, skipped = prediction.predict(trained, paths)
  for stream in (sys.stdout, sys.stderr):
    # A name of bytes that are no text does not keep the others from being told.
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors='backslashreplace')
  if FLAGS.json:
    print(_json(predictions, skipped))
  else:
    _print_table(predictions)
  for reason in skipped.values():
    print(f'skipped: {reason}', file=sys.stderr)
  return 1 if skipped else 0


def _json(predictions: 'list[Prediction]', skipped: dict[str, str]) -> str:
  return json.dumps(
    {
      'predictions': [
        {
          'file': p.file,
          **_guess(p.guesses[0]),
          'runners_up': [_guess(guess) for guess in p.guesses[1:]],
          'changes': p.changes,
        }
        for p in predictions
      ],
      'skipped': skipped,
    },
    indent=2,
    ensure_ascii=False,
  )


def _guess(guess: 'Guess') -> dict[str, str | float]:
  return {'class': guess.class_name, 'probability': guess.probability}


def _print_table(predictions: 'list[Prediction]') -> None:
  rows = [('file', 'class', 'probability', 'runners-up', 'changes')]
  for p in predictions:
    best, *others = p.guesses
    runners_up = (f'{o.class_name} {o.probability:.1%}' for o in others)
    rows.append(
      (
        p.file,
        best.class_name,
        f'{best.probability:.1%}',
        ', '.join(runners_up),
        ', '.join(p.changes) or '-',
      )
    )
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  for row in rows:
    cells = map(str.ljust, row, widths)
    print('  '.join(cells).rstrip())


if __name__ == '__main__':
  define_flags()
  cli.run(main, takes_files=True)
