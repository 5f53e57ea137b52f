"""What every command of the package does around its `main`."""

import signal
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging
from official.common import flags as tfm_flags

from official_ext.errors import Stopped, UserError
from official_ext.machine import compile_cache, environment

FLAGS = flags.FLAGS

# Those of Garden's flags that say what to train, and where.
_EXPERIMENT_FLAGS = (
  'experiment',
  'gin_file',
  'gin_params',
  'config_file',
  'params_override',
)
_PLACE_FLAGS = ('tpu', 'tf_data_service')


def define_flags() -> None:
  """Defines the flags that all commands share."""
  flags.DEFINE_bool(
    'traceback', False, 'Show the full trace when a command fails.'
  )
  flags.DEFINE_bool(
    'compile_cache',
    True,
    "Keep what XLA compiles for a GPU in the user's cache folder, for the next "
    'run on the same kind of GPU.',
  )


def define_experiment_flags() -> None:
  """Defines these, and Garden's, by which a command chooses an experiment."""
  tfm_flags.define_flags()
  define_flags()
  FLAGS.set_default('experiment', 'small_images')


def experiment_arguments() -> list[str]:
  """Returns the flags that chose the experiment, as a command line has them."""
  arguments = []
  for name in (*_EXPERIMENT_FLAGS, *_PLACE_FLAGS):
    value = FLAGS[name].value
    values = value if isinstance(value, list) else [value]
    arguments += [f'--{name}={each}' for each in values if each is not None]
  return arguments


def chosen_by() -> list[str]:
  """Returns the flags of the command line that say what to train."""
  return [name for name in _EXPERIMENT_FLAGS if FLAGS[name].present]


def define_data_dir() -> None:
  """Defines the flag that says where a run's data are now."""
  flags.DEFINE_string(
    'data_dir', '', "Folder of TFDS data sets, where it is not the run's."
  )


def define_run_flags() -> None:
  """Defines the flags of the commands that read a finished run."""
  flags.DEFINE_string('model_dir', None, 'Folder of the run.')
  flags.DEFINE_string(
    'checkpoint',
    '',
    "Checkpoint, or folder of some, in --model_dir, such as 'best'; the newest "
    'by default.',
  )
  define_data_dir()


def run(main: Callable[..., int | None], takes_files: bool = False) -> None:
  """Runs `main` as `absl.app.run` does; what `errors` has ends it in one line.

  Args:
    main: Called with the flags parsed and before TensorFlow is imported; it
      returns the exit status.
    takes_files: Whether `main` takes a list of what the command line holds
      besides options.
  """
  environment.prepare()

  def guarded(argv: Sequence[str]) -> int | None:
    if FLAGS.compile_cache:
      compile_cache.allow()
    if not FLAGS['verbosity'].present:
      # What a user must know is printed; the rest is for --verbosity=0.
      logging.set_verbosity(logging.ERROR)
    try:
      if takes_files:
        return main(argv[1:])
      if len(argv) > 1:
        raise UserError(
          f'{argv[1]!r} is not an option; options begin with --, see --help.'
        )
      return main()
    except UserError as error:
      if FLAGS.traceback:
        raise
      for line in error.lines:
        print(f'error: {line}', file=sys.stderr)
      return error.status
    except Stopped as stop:
      print(stop)
      return stop.status
    except KeyboardInterrupt:
      print('\nstopped.', file=sys.stderr)
      return 128 + signal.SIGINT
    except Exception as error:
      if FLAGS.traceback:
        raise
      reason = str(error).strip().partition('\n')[0]
      print(
        f'error: {type(error).__name__}: {reason}; --traceback shows where.',
        file=sys.stderr,
      )
      return 1

  app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
  try:
    return FLAGS(argv)
  except flags.Error as error:
    print(f'error: {error}; see --help.', file=sys.stderr)
    sys.exit(UserError.status)
  except SystemExit:
    # Help that was asked for was given; absl ends with 1 all the same.
    sys.exit(0)
