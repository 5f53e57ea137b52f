"""airbench's network and its step in PyTorch, to be compared with.

As in `airbench94_muon.py` of https://github.com/KellerJordan/cifar10-airbench,
with today's ways to make it fast on a CPU: channels last and autocast.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn


def build_network(
  channels: Sequence[int],
  colors: int,
  num_classes: int,
  norm_momentum: float,
  norm_epsilon: float,
) -> nn.Sequential:
  """Builds the network with its head, without the scale of the logits.

  Args:
    channels: Filters of the three groups.
    colors: Channels of the images.
    num_classes: Number of logits.
    norm_momentum: Share of the old value in the moving statistics.
    norm_epsilon: Added to the variance.

  Returns:
    A network from `[batch, channels, height, width]` to `[batch, num_classes]`,
    its modules in the order in which they are applied.
  """

  def norm_gelu(filters: int) -> list[nn.Module]:
    norm = nn.BatchNorm2d(filters, norm_epsilon, momentum=1 - norm_momentum)
    norm.weight.requires_grad = False
    return [norm, nn.GELU()]

  def conv(inputs: int, filters: int) -> nn.Module:
    return nn.Conv2d(inputs, filters, 3, padding=1, bias=False)

  whitening = nn.Conv2d(colors, 8 * colors, 2)
  whitening.weight.requires_grad = False
  layers: list[nn.Module] = [whitening, nn.GELU()]
  inputs = 8 * colors
  for filters in channels:
    layers += [conv(inputs, filters), nn.MaxPool2d(2), *norm_gelu(filters)]
    layers += [conv(filters, filters), *norm_gelu(filters)]
    inputs = filters
  layers += [nn.AdaptiveMaxPool2d(1), nn.Flatten()]
  layers.append(nn.Linear(inputs, num_classes, bias=False))
  network = nn.Sequential(*layers)
  nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
  return network


class Muon:
  """Muon for the kernels of convolutions."""

  def __init__(
    self,
    kernels: Sequence[nn.Parameter],
    learning_rate: float,
    momentum: float,
    steps: int,
    coefficients: Sequence[float],
    dtype: torch.dtype,
  ):
    """Takes what it trains, and the numbers of `official_ext`'s Muon."""
    self._kernels = list(kernels)
    self._velocities = [torch.zeros_like(kernel) for kernel in kernels]
    self._learning_rate = learning_rate
    self._momentum = momentum
    self._steps = steps
    self._coefficients = coefficients
    self._dtype = dtype

  @torch.no_grad()
  def step(self) -> None:
    """Trains each kernel by its gradient."""
    for kernel, velocity in zip(self._kernels, self._velocities, strict=True):
      gradient: Any = kernel.grad
      velocity.mul_(self._momentum).add_(gradient)
      direction = gradient.add(velocity, alpha=self._momentum)
      update = self._orthogonal(direction.reshape(len(kernel), -1))
      kernel.mul_(math.sqrt(len(kernel)) / kernel.norm())
      kernel.add_(update.reshape(kernel.shape), alpha=-self._learning_rate)

  def _orthogonal(self, matrix: torch.Tensor) -> torch.Tensor:
    a, b, c = self._coefficients
    x = matrix.to(self._dtype)
    x = x / (x.norm() + 1e-7)
    wide = len(x) <= x.shape[1]
    x = x if wide else x.T
    for _ in range(self._steps):
      gram = x @ x.T
      x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.T).float()


def build_step(
  network: nn.Sequential,
  images: torch.Tensor,
  labels: torch.Tensor,
  logit_scale: float,
  label_smoothing: float,
  precision: str,
  learning_rates: Sequence[float],
  decay: float,
  momentum: float,
  muon_momentum: float,
  ns_steps: int,
  ns_coefficients: Sequence[float],
) -> Callable[[], float]:
  """Returns a function that trains on a batch and returns its mean loss.

  Args:
    network: From `build_network`; it is trained.
    images: float32 `[batch, channels, height, width]`.
    labels: int64 `[batch]`.
    logit_scale: Factor on the logits.
    label_smoothing: Share of the label spread over all classes.
    precision: 'float32' or 'bfloat16', to which autocast casts.
    learning_rates: Of the whitening's bias, the norms' offsets, the dense
      kernel and, by Muon, the other kernels.
    decay: Of the first three, times their rates.
    momentum: Of SGD, Nesterov's.
    muon_momentum: Of Muon, Nesterov's.
    ns_steps: Of the Newton-Schulz iteration.
    ns_coefficients: Of its polynomial.
  """
  images = images.contiguous(memory_format=torch.channels_last)
  norms = [m for m in network if isinstance(m, nn.BatchNorm2d)]
  whitening, *convs = (m for m in network if isinstance(m, nn.Conv2d))
  *rates, muon_rate = learning_rates
  trained: list[list[Any]] = [
    [whitening.bias],
    [n.bias for n in norms],
    [network[-1].weight],
  ]
  sgd = torch.optim.SGD(
    [
      {'params': params, 'lr': rate, 'weight_decay': decay / rate}
      for params, rate in zip(trained, rates, strict=True)
    ],
    momentum=momentum,
    nesterov=True,
  )
  is_bfloat16 = precision == 'bfloat16'
  kernels: list[Any] = [conv.weight for conv in convs]
  muon = Muon(
    kernels,
    muon_rate,
    muon_momentum,
    ns_steps,
    ns_coefficients,
    torch.bfloat16 if is_bfloat16 else torch.float32,
  )
  network.train()

  def step() -> float:
    network.zero_grad()
    with torch.autocast('cpu', torch.bfloat16, enabled=is_bfloat16):
      logits = network(images)
    loss = nn.functional.cross_entropy(
      logits.float() * logit_scale, labels, label_smoothing=label_smoothing
    )
    loss.backward()
    sgd.step()
    muon.step()
    return loss.item()

  return step
