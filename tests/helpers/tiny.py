"""A run of seconds that several tests start: few images, a narrow network."""

from helpers.flags import Flags

from official_ext.configuration import experiment, gin_config
from official_ext.training import train_lib

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


def config(shapes_dir, bindings=(), override=''):
  """Returns the config of three epochs of three steps."""
  data_dir = f"data.data_dir = '{shapes_dir}'"
  gin_config.parse([], [*BINDINGS, data_dir, *bindings])
  return experiment.parse(Flags(params_override=override))


def run(shapes_dir, model_dir, bindings=(), override='', mode='train_and_eval'):
  """Trains; further gin bindings and an override come last."""
  params = config(shapes_dir, bindings, override)
  train_lib.run(params, mode, str(model_dir))
