"""What the runs of a process share, so that none of it is made twice."""

import functools
from typing import Any

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
    self._runtime: dict[str, Any] | None = None
    self._by_settings: dict[str, _Compiled] = {}

  def check_runtime(self, runtime: cfg.RuntimeConfig) -> None:
    """Raises where a run is to have other devices than those before it.

    Args:
      runtime: That of the run, resolved.

    Raises:
      ValueError: If it is not the same but for the seed.
    """
    asked = runtime.as_dict() | {'seed': None}
    if self._runtime not in (None, asked):
      raise ValueError('runs that share a process have one runtime.')
    self._runtime = asked

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
    found = self._by_settings.get(settings) or self._alike(fresh)
    if found is None or found.draws:
      self._by_settings[settings] = _Compiled(fresh)
      return fresh
    found.trainer.begin_anew(fresh)
    self._by_settings[settings] = found
    return found.trainer

  def _alike(self, fresh: Trainer) -> '_Compiled | None':
    """Returns what computes with the same programs."""
    kept = {id(each): each for each in self._by_settings.values()}
    if not kept:
      return None
    asked = _Compiled(fresh).digests
    found = (each for each in kept.values() if each.digests == asked)
    return next(found, None) if asked else None


class _Compiled:
  """A trainer, and what its programs are told from others by."""

  def __init__(self, trainer: Trainer):
    self.trainer = trainer

  @functools.cached_property
  def digests(self) -> list[Any]:
    """Whether two compute the same, with the same images."""
    return [
      (programs.digest(each), programs.constants(each))
      for each in self.trainer.programs()
    ]

  @functools.cached_property
  def draws(self) -> bool:
    """Whether another seed is another program."""
    return any(programs.draws(each) for each in self.trainer.programs())


def _settings_but_seeds(params: cfg.ExperimentConfig) -> str:
  settings = params.as_dict()
  common.leave_out(common.SEEDS, settings)
  return repr(settings)
