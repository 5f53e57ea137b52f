r"""Trains a recipe, and changes to it, with several seeds; keeps records.

Usage::

  python -m official_ext.repeat --gin_file gin/resnet9_v100.gin --seeds 0,1 \
    --records_dir records/24_epochs
  python -m official_ext.repeat --gin_file gin/resnet9_v100.gin --seeds 0 \
    --records_dir records/mine gin/causes/he_uniform.gin my_change.gin \
    no_nesterov:sgd_coupled_decay.nesterov=False

Without changes the recipe itself is trained; with some, each goes on top of it
by itself. A change is a gin file, after which it is named, or a name with one
binding. The recipe is named after the last --gin_file, or by --name, as where
--gin_params make another recipe of it. A name stands for the same settings
throughout a folder of records.

Runs follow one another in one process, each in a folder of its own. With
another seed nothing is read or compiled again. They can be stopped and started
again: what is finished is kept, what is not is gone on with. One that fails
does not keep the others from being trained. A finished run leaves a small
record, NAME-seedN.json; a table of all records ends the output.

Flags:

  --gin_file      The recipe: a gin file; repeatable.
  --gin_params    A binding for all runs; repeatable.
  --name          Name of the recipe.
  --seeds         Seeds, such as 0,1,2.
  --dev           Train on the first 90% of the training images and evaluate on
                  the others, to choose a recipe; the test images stay unseen.
  --purpose       Why this recipe, chosen here, is taken to the test images: it
                  is registered in the records' folder, and taken there once.
  --records_dir   Folder of the records.
  --runs_dir      Folder of the runs' own folders; runs by default.
  --traceback     Show the full trace of an error.
"""

import pathlib
import sys

from absl import flags

from official_ext.command_line import cli
from official_ext.errors import RunError, UserError
from official_ext.files import paths

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the flags of this command."""
  cli.define_flags()
  flags.DEFINE_multi_string('gin_file', None, 'The recipe; repeatable.')
  flags.DEFINE_multi_string(
    'gin_params', None, 'A binding for all runs; repeatable.'
  )
  flags.DEFINE_string('name', None, 'Name of the recipe.')
  flags.DEFINE_list('seeds', None, 'Seeds, such as 0,1,2.')
  flags.DEFINE_bool('dev', False, 'Evaluate on a part of the training images.')
  flags.DEFINE_string(
    'purpose', None, 'Why a recipe is taken to the test images.'
  )
  flags.DEFINE_string('records_dir', None, 'Folder of the records.')
  flags.DEFINE_string('runs_dir', 'runs', "Folder of the runs' own folders.")
  # Of the processes that it starts itself.
  flags.DEFINE_multi_string('in_turn', None, 'Name of a run to train here.')


def main(changes: list[str]) -> None:
  """Trains what has no record yet, then prints the table."""
  if not FLAGS.gin_file or not FLAGS.seeds or not FLAGS.records_dir:
    raise UserError('give --gin_file, --seeds and --records_dir; see --help.')
  # TensorFlow is imported here, so that --help and a wrong flag answer at once.
  from official_ext import registry_imports  # noqa: F401
  from official_ext.command_line import streams
  from official_ext.repeats import in_turn, plan, processes, records, summary

  streams.outlive_readers()
  study = plan.Study(
    FLAGS.gin_file,
    [*(FLAGS.gin_params or []), *(plan.DEV_SPLITS if FLAGS.dev else [])],
    paths.local(FLAGS.records_dir, '--records_dir'),
    paths.local(FLAGS.runs_dir, '--runs_dir'),
    FLAGS.name or pathlib.Path(FLAGS.gin_file[-1]).stem,
  )
  planned = plan.of(study, changes, FLAGS.seeds)
  if FLAGS.in_turn:
    in_turn.train(study, planned, FLAGS.in_turn)
    return
  plan.check(study, planned)
  plan.register(study, planned, FLAGS.purpose)
  failed = processes.train_all(study, planned, sys.argv[1:])
  print(summary.table(records.read_all(FLAGS.records_dir)))
  if failed:
    raise RunError(
      f'{", ".join(failed)} failed, as it says above; the same command tries '
      'again.'
    )


if __name__ == '__main__':
  define_flags()
  cli.run(main, takes_files=True)
