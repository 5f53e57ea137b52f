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
  """

  channels: list[int] = dataclasses.field(
    default_factory=lambda: [64, 128, 256, 512]
  )
  kernel_initializer: str = 'torch_uniform'


@dataclasses.dataclass
class Backbone(backbones.Backbone):
  """Garden's one-of of backbones, extended by `resnet9`.

  Attributes:
    resnet9: ResNet9 backbone config.
  """

  resnet9: ResNet9 = dataclasses.field(default_factory=ResNet9)
