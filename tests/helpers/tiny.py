"""A run of seconds that several tests start: few images, a narrow network."""

from helpers import ties  # noqa: F401
from helpers.flags import Flags

from official_ext.configuration import experiment, gin_config
from official_ext.configuration.experiment import Experiment
from official_ext.training import session

BINDINGS = (
  "resnet9_cifar10.dataset = 'procedural_shapes'",
  "resnet9_cifar10.train_split = 'train[:100]'",
  "resnet9_cifar10.test_split = 'test[:50]'",
  'resnet9_cifar10.batch_size = 30',
  'resnet9_cifar10.eval_batch_size = 20',
  'resnet9_cifar10.channels = [4, 8, 8, 8]',
  "resnet9_cifar10.precision = 'float32'",
  'resnet9_cifar10.epochs = 3',
  'resnet9_cifar10.peak_epoch = 1',
)


def config(shapes_dir, bindings=(), override=''):
  """Returns the config of three epochs of three steps."""
  data_dir = f"resnet9_cifar10.data_dir = '{shapes_dir}'"
  gin_config.parse([], [*BINDINGS, data_dir, *bindings])
  return experiment.parse(Flags(params_override=override))


def run(shapes_dir, model_dir, bindings=(), override='', mode='train_and_eval'):
  """Trains; further gin bindings and an override come last."""
  params = config(shapes_dir, bindings, override)
  session.run(Experiment(params), mode, str(model_dir))
