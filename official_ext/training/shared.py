"""What the runs of a process share, so that none of it is made twice."""

import copy
import functools

import tensorflow as tf
from official.core import config_definitions as cfg

from official_ext.configs import common
from official_ext.dataloaders.data_sets import Store
from official_ext.training import programs
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
    self._by_settings: dict[str, Trainer] = {}

  def trainer(self, fresh: Trainer) -> Trainer:
    """Returns a trainer in the state of a fresh one.

    Args:
      fresh: As a process of its own would begin with.

    Returns:
      One whose programs are compiled, if there is one that computes the same;
      else `fresh`. To find out, its programs are traced, but where all settings
      but the seeds are those of a run before.
    """
    settings = _settings_but_seeds(fresh.config)
    trainer = self._by_settings.get(settings) or self._alike(fresh)
    if trainer is None or any(map(programs.draws, trainer.programs())):
      self._by_settings[settings] = fresh
      return fresh
    trainer.begin_anew(fresh)
    self._by_settings[settings] = trainer
    return trainer

  def _alike(self, fresh: Trainer) -> Trainer | None:
    """Returns a trainer that computes with the same programs."""
    kept = {id(trainer): trainer for trainer in self._by_settings.values()}
    if not kept:
      return None
    asked = _digests(fresh)
    found = (each for each in kept.values() if _digests(each) == asked)
    return next(found, None)


def _digests(trainer: Trainer) -> list[tuple[str, list[bytes | int]]]:
  return [
    (programs.digest(each), programs.constants(each))
    for each in trainer.programs()
  ]


def _settings_but_seeds(params: cfg.ExperimentConfig) -> str:
  settings = copy.deepcopy(params.as_dict())
  for place in common.SEEDS:
    *parents, key = place.split('.')
    functools.reduce(dict.get, parents, settings).pop(key, None)
  return repr(settings)
