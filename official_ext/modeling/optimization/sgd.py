"""SGD with coupled weight decay."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling import hyperparams
from official.modeling.optimization import optimizer_factory
from official.modeling.optimization.configs import optimizer_config

from official_ext.configs.optimization import OptimizerConfig
from official_ext.errors import UserError
from official_ext.schema import fields, parts


def _is_expression(pattern: str) -> bool:
  try:
    re.compile(pattern)
  except re.error:
    return False
  return bool(pattern)


_MULTIPLIER = fields.AT_LEAST_0
_PATTERN = fields.Rule(
  _is_expression,
  "a regular expression of variable names, '.*' if it should find all",
)


@dataclasses.dataclass
class LrGroup(hyperparams.Config):
  """Variables that train at a rate of their own.

  Attributes:
    pattern: Regular expression that finds their names, such as 'beta$'.
    lr_multiplier: Factor on the learning rate.
    weight_decay_multiplier: Factor on the weight decay.
  """

  pattern: str = fields.field('', _PATTERN)
  lr_multiplier: float = fields.field(1.0, _MULTIPLIER)
  weight_decay_multiplier: float = fields.field(1.0, _MULTIPLIER)


@parts.kind(OptimizerConfig, 'sgd_coupled_decay')
@dataclasses.dataclass
class SGDCoupledDecayConfig(optimizer_config.SGDConfig):
  """Configuration of `SGDCoupledDecay`.

  Attributes:
    name: Name of the optimizer.
    momentum: Momentum of SGD.
    nesterov: Whether the momentum is Nesterov's.
    weight_decay: Decay that enters the gradient before the momentum, in units
      of the mean loss, on every trainable variable that is not excluded.
    exclude_from_weight_decay: Regular expressions; a variable whose name one of
      them finds is not decayed.
    lr_groups: Variables with rates of their own; the first group that finds a
      variable counts.
  """

  name: str = 'SGDCoupledDecay'
  nesterov: bool = True
  momentum: float = fields.field(0.9, fields.SHARE)
  weight_decay: float = fields.field(5e-4, fields.AT_LEAST_0)
  exclude_from_weight_decay: list[str] = fields.field(
    [], fields.all_of(_PATTERN, 'a list, each')
  )
  lr_groups: list[LrGroup] = fields.field([])

  def check_variables(self, names: Sequence[str], place: str) -> None:
    """Raises for an expression that finds no variable, and would do nothing.

    Args:
      names: Of the model's trainable variables, as `plain_name` has them.
      place: Dotted path of this config, with a dot at its end.

    Raises:
      UserError: At the first such expression.
    """
    for key, patterns in (
      ('exclude_from_weight_decay', self.exclude_from_weight_decay),
      ('lr_groups', [group.pattern for group in self.lr_groups]),
    ):
      for pattern in patterns:
        if not any(re.search(pattern, name) for name in names):
          there = sorted(names)
          listed = ', '.join(there[:5]) + (', …' if len(there) > 5 else '')
          raise UserError(
            f"{place}{key}: '{pattern}' finds no variable that is trained; "
            f'correct it or leave it out, there are {listed}.'
          )


@tf_keras.utils.register_keras_serializable(package='official_ext')
class SGDCoupledDecay(tf_keras.optimizers.legacy.SGD):
  """SGD whose weight decay is part of the gradient, as in PyTorch.

  With g the gradient, d the weight decay, m the momentum and r the rate, where
  a variable's group may multiply d and r::

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
    lr_groups: Sequence[Mapping[str, Any]] = (),
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
      lr_groups: Each a `pattern`, a regular expression of variable names, with
        `lr_multiplier` and `weight_decay_multiplier`; a variable is of the
        first group that finds it, or of none. Names are those of Keras, such as
        'prep_bn/beta', without what TensorFlow puts behind them.
      name: Name of the optimizer.
      **kwargs: Passed to `tf_keras.optimizers.legacy.SGD`.
    """
    super().__init__(learning_rate, momentum, nesterov, name, **kwargs)
    self._weight_decay = weight_decay
    self._exclude_from_weight_decay = list(exclude_from_weight_decay)
    self._lr_groups = [dict(group) for group in lr_groups]

  def _resource_apply_dense(
    self, grad: tf.Tensor, var: tf.Variable, apply_state: Any = None
  ) -> tf.Operation:
    rate, decay = self._multipliers(plain_name(var))
    grad += decay * self._weight_decay * var
    if rate != 1:
      # The update is linear in rate · gradient.
      grad *= rate
    return super()._resource_apply_dense(grad, var, apply_state)

  def _multipliers(self, name: str) -> tuple[float, float]:
    """Returns those of the rate and of the decay."""
    rate, decay = 1.0, 1.0
    for group in self._lr_groups:
      if re.search(group['pattern'], name):
        rate, decay = group['lr_multiplier'], group['weight_decay_multiplier']
        break
    excluded = any(re.search(p, name) for p in self._exclude_from_weight_decay)
    return rate, 0.0 if excluded else decay

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return super().get_config() | {
      'weight_decay': self._weight_decay,
      'exclude_from_weight_decay': self._exclude_from_weight_decay,
      'lr_groups': self._lr_groups,
    }


def plain_name(variable: tf.Variable) -> str:
  """Returns the name without its output and replica: 'bn/beta/replica_1:0'.

  Patterns are looked for in it.
  """
  return re.sub(r'(/replica_\d+)?:\d+$', '', variable.name)


optimizer_factory.register_optimizer_cls('sgd_coupled_decay', SGDCoupledDecay)
