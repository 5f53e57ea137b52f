"""A convolution to whitened patches, with filters that are not trained."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from official_ext.modeling.layers.patch_whitening import PatchWhitening


@tf_keras.utils.register_keras_serializable(package='official_ext')
class FixedWhitening2D(PatchWhitening):
  """Fixed filters that decorrelate patches, and a bias that is trained.

  The first layer of airbench (https://arxiv.org/abs/2404.00498, section 3.2):
  behind the filters come their negatives, so that an activation which follows
  lets through what is below a threshold as well as what is above.

  Attributes:
    kernel: `[height, width, channels, filters]`, not trained; the numbers of
      the patch themselves until `learn_filters` gives something better.
    bias: `[filters]`, trained; none where `use_bias=False`.
    negatives: Whether the negatives follow, so that there are 2 · n filters,
      n = height · width · channels, and not n.
  """

  def __init__(
    self,
    kernel_size: int,
    negatives: bool = True,
    epsilon: float = 5e-4,
    num_images: int = 5_000,
    **kwargs: Any,
  ):
    """Makes the layer.

    Args:
      kernel_size: Height and width of a patch.
      negatives: Whether the negatives of the filters follow them.
      epsilon: Added to the variances. This and the next are the numbers of
        `airbench94_muon.py` of
        https://github.com/KellerJordan/cifar10-airbench.
      num_images: That the filters are computed from.
      **kwargs: Of Keras' `Conv2D`, such as `padding` and `use_bias`.
    """
    super().__init__(
      filters=None,  # As many as the patch has numbers; see `build`.
      kernel_size=kernel_size,
      epsilon=epsilon,
      num_images=num_images,
      **kwargs,
    )
    self.negatives = negatives

  def build(self, input_shape: Any) -> None:
    """Makes the weights."""
    size = math.prod(self.kernel_size) * input_shape[-1]
    self.filters = size * (2 if self.negatives else 1)
    super().build(input_shape)

  def add_weight(self, name: str | None = None, **kwargs: Any) -> tf.Variable:
    """Makes a weight, which Keras would train, the kernel included."""
    if name == 'kernel':
      kwargs |= {'trainable': False, 'initializer': self._unlearned}
    return super().add_weight(name, **kwargs)

  def _unlearned(self, shape: Sequence[int], dtype: Any) -> tf.Tensor:
    identity = np.eye(math.prod(shape[:-1]))
    return tf.constant(self._kernel(identity, shape), dtype)

  def _kernel(self, filters: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    signed = [filters, -filters] if self.negatives else [filters]
    return np.concatenate(signed, axis=1).reshape(shape)

  def set_filters(self, filters: np.ndarray) -> None:
    """Takes the filters; see `PatchWhitening`."""
    self.kernel.assign(self._kernel(filters, self.kernel.shape))

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    config = super().get_config() | {'negatives': self.negatives}
    del config['filters']
    return config
