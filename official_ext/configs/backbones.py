"""Backbone configurations: Garden's, and ResNet9 beside them."""

import dataclasses

from official.modeling import hyperparams
from official.vision.configs import backbones


@dataclasses.dataclass
class ResNet9(hyperparams.Config):
  """Configuration of the nine-layer ResNet of cifar10-fast.

  Attributes:
    channels: Filters of the layers prep, layer1, layer2 and layer3.
    kernel_initializer: An initialiser of `official_ext.modeling.initializers`
      or any that Keras knows by name.
    first_layer: 'conv', or 'whitening' for a convolution over patches that are
      whitened by what the task computes from the training images.
    pool_before_norm: Whether layers 1 to 3 are pooled before batch norm.
    norm_group_size: Images that batch norm normalises together in training; 0
      for the whole batch of a replica.
    norm_scale: Whether batch norm's scale is trained; otherwise it stays 1.
  """

  channels: list[int] = dataclasses.field(
    default_factory=lambda: [64, 128, 256, 512]
  )
  kernel_initializer: str = 'torch_uniform'
  first_layer: str = 'conv'
  pool_before_norm: bool = False
  norm_group_size: int = 0
  norm_scale: bool = True


@dataclasses.dataclass
class Backbone(backbones.Backbone):
  """Garden's one-of of backbones, extended by `resnet9`.

  Attributes:
    resnet9: ResNet9 backbone config.
  """

  resnet9: ResNet9 = dataclasses.field(default_factory=ResNet9)


def extend(config: hyperparams.Config) -> None:
  """Lets every backbone of a config be `resnet9` too.

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
