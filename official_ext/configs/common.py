"""Common configurations: Garden's, with this package's fields beside them."""

import dataclasses

from official.core import config_definitions as cfg
from official.modeling import hyperparams
from official.vision.configs import common

from official_ext.configs import optimization


@dataclasses.dataclass
class Cutout(hyperparams.Config):
  """Configuration of `official_ext.ops.augment.Cutout`.

  Attributes:
    size: Side of the square hole in pixels.
    inside: Whether all of the hole lies in the image, or is cut off at its
      border.
    before_normalization: Whether the hole is black instead of the mean.
  """

  size: int = 8
  inside: bool = True
  before_normalization: bool = False


@dataclasses.dataclass
class Augmentation(common.Augmentation):
  """Garden's one-of of augmentations, extended by `cutout`."""

  cutout: Cutout = dataclasses.field(default_factory=Cutout)


@dataclasses.dataclass
class RuntimeConfig(cfg.RuntimeConfig):
  """Garden's runtime config, by default of what the machine has.

  Attributes:
    distribution_strategy: One of Garden's; 'auto' for 'tpu' where `tpu` is
      given, 'multi_worker_mirrored' over several workers, 'mirrored' over
      several devices and 'one_device' otherwise.
    num_gpus: Number of GPUs, on each worker; -1 for all there are.
    num_logical_cpus: Devices to divide the CPU into, to rehearse a training on
      several; 0 to leave it whole.
    arrival_timeout_seconds: How long to wait at the start for all workers.
    mixed_precision_dtype: 'float32', 'bfloat16' or 'float16'; None for the
      fastest one that the device computes natively.
    seed: Seed of the initial weights, and of Garden's own input where that has
      none; this package's then takes 0.
    deterministic: Whether to make every operation give the same bits each time,
      or raise an error where it cannot.
  """

  distribution_strategy: str = 'auto'
  num_gpus: int = -1
  num_logical_cpus: int = 0
  arrival_timeout_seconds: float = 300
  seed: int = 0
  deterministic: bool = False


@dataclasses.dataclass
class TrainerConfig(cfg.TrainerConfig):
  """Garden's trainer config, with a length in epochs.

  `train_steps` and the intervals that are left as the experiment made them
  follow from `epochs`, the batch size and the number of training images.

  Attributes:
    epochs: Passes over the training data.
  """

  epochs: float = 0
  optimizer_config: optimization.OptimizationConfig = dataclasses.field(
    default_factory=optimization.OptimizationConfig
  )
