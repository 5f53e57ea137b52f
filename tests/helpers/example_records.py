"""Records as `repeat` writes them, of runs that never were."""

from official_ext import registry_imports  # noqa: F401
from official_ext.configuration import experiment, gin_config
from official_ext.repeats import records, settings


def settings_of(gin=''):
  """Returns the settings that a line of gin for each binding asks for."""
  gin_config.parse([], gin.splitlines())
  return settings.of(experiment.parse_gin_alone())


def record_of(name, seed, accuracy, gin='', **more):
  """Returns the record of a run of one epoch; `more` goes into its row."""
  row = {'epoch': 1.0, 'train_accuracy': 0.99, 'test_accuracy': accuracy}
  row['test_loss'] = 1 - accuracy
  return {
    'variant': name,
    'recipe': 'recipe',
    'seed': seed,
    'config': settings_of(f'{gin}\nrun.seed = {seed}'),
    'runtime': {'mixed_precision_dtype': 'float32'},
    'test_accuracy': accuracy,
    'train_seconds': 1000.0 + seed,
    'epochs': [row | more],
  }


def write(folder, name, seed, accuracy, gin='', **more):
  """Writes the same to its place in a folder."""
  record = record_of(name, seed, accuracy, gin, **more)
  records.write(folder / f'{name}-seed{seed}.json', record)
