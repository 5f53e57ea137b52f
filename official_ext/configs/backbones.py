"""Garden's one-of of backbones, to which networks add themselves."""

import dataclasses

from official.modeling import hyperparams
from official.vision.configs import backbones

from official_ext.schema import parts


@dataclasses.dataclass
class Network(hyperparams.Config):
  """What the config of a network inherits from.

  Attributes:
    last_level: Of its feature maps; one of level l has a stride of 2**l.
  """

  last_level = 0

  @property
  def needs_filters(self) -> bool:
    """Whether a layer whitens the input by filters of the training images."""
    return False

  @property
  def least_side(self) -> int:
    """Pixels that an image must have a side."""
    return 2**self.last_level

  def check_batch(
    self, place: str, batch_size: int, num_replicas: int, use_sync_bn: bool
  ) -> None:
    """Raises where the network cannot be trained on such batches.

    Args:
      place: Dotted place of this config, with a dot at its end.
      batch_size: Images of a step, over all replicas.
      num_replicas: Of all workers' devices.
      use_sync_bn: Whether batch statistics span all replicas.

    Raises:
      UserError: If an option does not go with them.
    """

  def check_pyramid(self, place: str) -> None:
    """Raises where a level is not half the size of the one before.

    Decoders that join levels need it to be, of images whose sides are multiples
    of the last level's stride.

    Args:
      place: Dotted place of this config, with a dot at its end.

    Raises:
      UserError: If an option makes it another size.
    """


@dataclasses.dataclass
class Backbone(parts.Choice, backbones.Backbone):
  """Garden's one-of of backbones, extended by all that are registered.

  A network registers its config, a `Network`, with
  `parts.kind(Backbone, NAME)`, and its builder, under the same name, with
  Garden's `register_backbone_builder`.
  """


def extend(config: hyperparams.Config) -> None:
  """Lets every backbone of a config be one of the registered ones too.

  Args:
    config: Any Garden config. Instances of Garden's one-of in it, at any depth,
      are replaced by a `Backbone` of the same values; Garden's own classes stay
      as they are.
  """
  for key, value in list(vars(config).items()):
    if type(value) is backbones.Backbone:
      fields = {
        f.name: getattr(value, f.name) for f in dataclasses.fields(value)
      }
      setattr(config, key, Backbone(**fields))
    elif isinstance(value, hyperparams.Config):
      extend(value)
