"""What the runs of a process share, so that none of it is made twice."""

import copy
import functools

import tensorflow as tf
from official.core import config_definitions as cfg

from official_ext.configs import common
from official_ext.dataloaders.data_sets import Store
from official_ext.training.trainer import Trainer


class Shared:
  """Devices, images, and trainers with what they have compiled.

  Attributes:
    store: The images, and the data sets that they are of.
    strategy: Over the devices; None before they are set up. They are the same
      for all runs.
  """

  def __init__(self) -> None:
    """Begins with nothing."""
    self.store = Store()
    self.strategy: tf.distribute.Strategy | None = None
    self._trainers: dict[str, Trainer] = {}

  def trainer(self, fresh: Trainer) -> Trainer:
    """Returns a trainer in the state of a fresh one.

    Args:
      fresh: As a process of its own would begin with.

    Returns:
      One whose programs are compiled, if there is one of the same settings but
      for the seeds, and they are the same with each seed; else `fresh`.
    """
    key = _settings_but_seeds(fresh.config)
    trainer = self._trainers.setdefault(key, fresh)
    if trainer is fresh or trainer.depends_on_seed():
      return fresh
    trainer.begin_anew(fresh)
    return trainer


def _settings_but_seeds(params: cfg.ExperimentConfig) -> str:
  settings = copy.deepcopy(params.as_dict())
  for place in common.SEEDS:
    *parents, key = place.split('.')
    functools.reduce(dict.get, parents, settings).pop(key, None)
  return repr(settings)
