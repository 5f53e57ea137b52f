"""SGD with coupled weight decay."""

import re
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling.optimization import optimizer_factory


class SGDCoupledDecay(tf_keras.optimizers.legacy.SGD):
  """SGD whose weight decay is part of the gradient, as in PyTorch.

  With g the gradient, d the weight decay, m the momentum and r the rate::

    g ← g + d · w
    v ← m · v − r · g
    w ← w + m · v − r · g    (nesterov; otherwise w ← w + v)

  This is `nesterov_update` in `torch_backend.py` of
  https://github.com/davidcpage/cifar10-fast. Keras' own `weight_decay` argument
  is decoupled (momentum does not carry it: at momentum 0.9 ten times weaker),
  and an L2 regulariser on kernels leaves out batch norm's scales and offsets.
  The class is a `legacy` optimizer because Garden's moving average needs one.
  """

  def __init__(
    self,
    learning_rate: Any = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    exclude_from_weight_decay: Sequence[str] = (),
    name: str = 'SGDCoupledDecay',
    **kwargs: Any,
  ):
    """Builds the optimizer.

    Args:
      learning_rate: A float or a learning rate schedule.
      momentum: Momentum, in [0, 1].
      nesterov: Whether to use Nesterov momentum.
      weight_decay: Added to the gradient as a multiple of the weight. In units
        of the mean loss.
      exclude_from_weight_decay: Regular expressions; a variable whose name one
        of them finds is not decayed.
      name: Name of the optimizer.
      **kwargs: Passed to `tf_keras.optimizers.legacy.SGD`.
    """
    super().__init__(learning_rate, momentum, nesterov, name, **kwargs)
    self._weight_decay = weight_decay
    self._exclude_from_weight_decay = list(exclude_from_weight_decay)

  def _resource_apply_dense(
    self, grad: tf.Tensor, var: tf.Variable, apply_state: Any = None
  ) -> tf.Operation:
    return super()._resource_apply_dense(
      grad + self._decay(var.name) * var, var, apply_state
    )

  def _decay(self, name: str) -> float:
    excluded = any(re.search(p, name) for p in self._exclude_from_weight_decay)
    return 0.0 if excluded else self._weight_decay

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return super().get_config() | {
      'weight_decay': self._weight_decay,
      'exclude_from_weight_decay': self._exclude_from_weight_decay,
    }


optimizer_factory.register_optimizer_cls('sgd_coupled_decay', SGDCoupledDecay)
