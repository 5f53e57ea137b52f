"""A run of seconds that several tests start: few images, a narrow network."""

from helpers.flags import Flags

from official_ext import registry_imports  # noqa: F401
from official_ext.configuration import experiment, gin_config
from official_ext.training import session

BINDINGS = (
  "data.dataset = 'procedural_shapes'",
  "data.train_split = 'train[:100]'",
  "data.test_split = 'test[:50]'",
  'data.batch_size = 30',
  'data.eval_batch_size = 20',
  'resnet9.channels = [4, 8, 8, 8]',
  "run.precision = 'float32'",
  'run.epochs = 3',
  'triangular.peak_epoch = 1',
)


def experiment_of(shapes_dir, bindings=(), override='', files=()):
  """Returns three epochs of three steps, with their data."""
  data_dir = f"data.data_dir = '{shapes_dir}'"
  gin_config.parse(files, [*BINDINGS, data_dir, *bindings])
  return experiment.parse(Flags(params_override=override))


def config(shapes_dir, bindings=(), override=''):
  """Returns the config of the same."""
  return experiment_of(shapes_dir, bindings, override).params


def run(shapes_dir, model_dir, bindings=(), override='', mode='train_and_eval'):
  """Trains; further gin bindings and an override come last."""
  asked = experiment_of(shapes_dir, bindings, override)
  session.run(asked, mode, str(model_dir))
