"""The same network and the same step in PyTorch, to be compared with.

As in `dawn.py` of https://github.com/davidcpage/cifar10-fast, with today's ways
to make it fast on a CPU: channels last and autocast.
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn


class Residual(nn.Module):
  """x + f(x)."""

  def __init__(self, branch: nn.Module):
    """Takes f."""
    super().__init__()
    self.branch = branch

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Returns a tensor of the shape of `x`."""
    return x + self.branch(x)


def build_network(
  channels: Sequence[int],
  input_size: Sequence[int],
  num_classes: int,
  norm_momentum: float,
  norm_epsilon: float,
) -> nn.Module:
  """Builds ResNet9 with its head, without the scale of the logits.

  Args:
    channels: Filters of prep, layer1, layer2 and layer3.
    input_size: Height, width and channels of the images.
    num_classes: Number of logits.
    norm_momentum: Share of the old value in the moving statistics.
    norm_epsilon: Added to the variance.

  Returns:
    A network from `[batch, channels, height, width]` to `[batch, num_classes]`,
    its modules in the order in which they are applied.
  """

  def conv_bn(inputs: int, filters: int) -> list[nn.Module]:
    return [
      nn.Conv2d(inputs, filters, 3, padding=1, bias=False),
      nn.BatchNorm2d(filters, norm_epsilon, momentum=1 - norm_momentum),
      nn.ReLU(inplace=True),
    ]

  def residual(filters: int) -> nn.Module:
    branch = conv_bn(filters, filters) + conv_bn(filters, filters)
    return Residual(nn.Sequential(*branch))

  height, width, colors = input_size
  prep, layer1, layer2, layer3 = channels
  network = nn.Sequential(
    *conv_bn(colors, prep),
    *conv_bn(prep, layer1),
    nn.MaxPool2d(2),
    residual(layer1),
    *conv_bn(layer1, layer2),
    nn.MaxPool2d(2),
    *conv_bn(layer2, layer3),
    nn.MaxPool2d(2),
    residual(layer3),
    nn.MaxPool2d((height // 8, width // 8)),
    nn.Flatten(),
    nn.Linear(layer3, num_classes, bias=False),
  )
  nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
  return network


def build_step(
  network: nn.Module,
  images: torch.Tensor,
  labels: torch.Tensor,
  logit_scale: float,
  precision: str,
  learning_rate: float,
  momentum: float,
  nesterov: bool,
  weight_decay: float,
) -> Callable[[], float]:
  """Returns a function that trains on a batch and returns its mean loss.

  Args:
    network: From `build_network`; it is trained.
    images: float32 `[batch, channels, height, width]`.
    labels: int64 `[batch]`.
    logit_scale: Factor on the logits.
    precision: 'float32' or 'bfloat16', to which autocast casts.
    learning_rate: Of SGD.
    momentum: Of SGD.
    nesterov: Whether the momentum is Nesterov's.
    weight_decay: Added to the gradient as a multiple of the weight.
  """
  images = images.contiguous(memory_format=torch.channels_last)
  optimizer = torch.optim.SGD(
    network.parameters(),
    learning_rate,
    momentum,
    weight_decay=weight_decay,
    nesterov=nesterov,
  )
  network.train()

  def step() -> float:
    optimizer.zero_grad()
    with torch.autocast('cpu', torch.bfloat16, enabled=precision == 'bfloat16'):
      logits = network(images)
    loss = nn.functional.cross_entropy(logits.float() * logit_scale, labels)
    loss.backward()
    optimizer.step()
    return loss.item()

  return step
