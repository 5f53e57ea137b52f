"""SGD with coupled weight decay."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling.optimization import optimizer_factory
from official.modeling.optimization.configs import optimizer_config

from official_ext.configs.optimization import OptimizerConfig
from official_ext.modeling.optimization import lr_groups as groups_lib
from official_ext.modeling.optimization.lr_groups import (
  GroupState,
  LrGroup,
  LrGroups,
  plain_name,
)
from official_ext.schema import fields, parts

_KERAS, _TORCH = 'keras', 'torch'


@parts.kind(OptimizerConfig, 'sgd_coupled_decay')
@dataclasses.dataclass
class SGDCoupledDecayConfig(optimizer_config.SGDConfig):
  """Configuration of `SGDCoupledDecay`.

  Attributes:
    name: Name of the optimizer.
    momentum: Momentum of SGD.
    nesterov: Whether the momentum is Nesterov's.
    momentum_form: Whether the velocity is of steps, which hold the rate of
      their time ('keras'), or of gradients, all taken at the rate of now
      ('torch'). They differ where the rate changes.
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
  momentum_form: str = fields.field(_KERAS, fields.one_of(_KERAS, _TORCH))
  weight_decay: float = fields.field(5e-4, fields.AT_LEAST_0)
  exclude_from_weight_decay: list[str] = fields.field([], groups_lib.PATTERNS)
  lr_groups: list[LrGroup] = fields.field([])

  def check_variables(
    self, variables: Sequence[tf.Variable], place: str
  ) -> None:
    """Raises for an expression that finds no variable, and would do nothing.

    Args:
      variables: The model's, as far as they are trained.
      place: Dotted path of this config, with a dot at its end.

    Raises:
      UserError: At the first such expression.
    """
    names = [plain_name(variable) for variable in variables]
    for key, patterns in (
      ('exclude_from_weight_decay', self.exclude_from_weight_decay),
      ('lr_groups', [group.pattern for group in self.lr_groups]),
    ):
      groups_lib.check_patterns(patterns, names, place + key)


@tf_keras.utils.register_keras_serializable(package='official_ext')
class SGDCoupledDecay(tf_keras.optimizers.legacy.SGD):
  """SGD whose weight decay is part of the gradient, as in PyTorch.

  With g the gradient, d the weight decay, m the momentum and r the rate, where
  a variable's group may multiply d and r::

    g ← g + d · w
    v ← m · v − r · g
    w ← w + m · v − r · g    (nesterov; otherwise w ← w + v)

  This is `nesterov_update` in `torch_backend.py` of
  https://github.com/davidcpage/cifar10-fast, and Keras' form of the momentum.
  `torch.optim.SGD` keeps the rate out of the velocity::

    v ← m · v + g
    w ← w − r · (g + m · v)    (nesterov; otherwise w ← w − r · v)

  At a constant rate both are the same (https://arxiv.org/abs/1706.02677,
  section 3, has them as equations 9 and 10).

  Keras' own `weight_decay` argument is decoupled (momentum does not carry it:
  at momentum 0.9 ten times weaker), and an L2 regulariser on kernels leaves out
  batch norm's scales and offsets. The class is a `legacy` optimizer because
  Garden's moving average needs one.
  """

  def __init__(
    self,
    learning_rate: Any = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    exclude_from_weight_decay: Sequence[str] = (),
    lr_groups: Sequence[Mapping[str, Any]] = (),
    momentum_form: str = _KERAS,
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
      lr_groups: Each with fields of `LrGroup`, such as `pattern`, a regular
        expression of variable names, and `lr_multiplier`; a variable is of the
        first group that finds it, or of none. Names are those of Keras, such as
        'prep_bn/beta', without what TensorFlow puts behind them. A group that
        ends needs a `PiecewiseLinear` as the learning rate.
      momentum_form: 'keras' or 'torch'.
      name: Name of the optimizer.
      **kwargs: Passed to `tf_keras.optimizers.legacy.SGD`.
    """
    super().__init__(learning_rate, momentum, nesterov, name, **kwargs)
    self._weight_decay = weight_decay
    self._exclude_from_weight_decay = list(exclude_from_weight_decay)
    self._lr_groups = LrGroups(lr_groups)
    self._momentum_form = momentum_form

  def _prepare_local(
    self, var_device: str, var_dtype: tf.DType, apply_state: Any
  ) -> None:
    """Computes what all variables of a group have in common at a step."""
    super()._prepare_local(var_device, var_dtype, apply_state)
    state = apply_state[(var_device, var_dtype)]
    state['groups'] = self._lr_groups.states(
      state['lr_t'], self._get_hyper('learning_rate'), self.iterations
    )

  def _resource_apply_dense(
    self, grad: tf.Tensor, var: tf.Variable, apply_state: Any = None
  ) -> tf.Operation:
    state = self._state_of(var, apply_state)
    group = self._group_of(var, state)
    if decay := self._decay_of(var):
      grad += decay * var
    # At a rate, a momentum and a gradient of 0 a variable keeps its bits.
    grad = group.gate(grad, 0.0)
    rate = group.gate(group.learning_rate, 0.0)
    momentum = group.gate(state['momentum'], 0.0)
    if self._momentum_form == _TORCH and self._momentum:
      return tf.raw_ops.ResourceApplyMomentum(
        var=var.handle,
        accum=self.get_slot(var, 'momentum').handle,
        lr=rate,
        grad=grad,
        momentum=momentum,
        use_locking=self._use_locking,
        use_nesterov=self.nesterov,
      )
    own = state | {'lr_t': rate, 'momentum': momentum}
    key = var.device, var.dtype.base_dtype
    return super()._resource_apply_dense(grad, var, {key: own})

  def _state_of(self, var: tf.Variable, apply_state: Any) -> dict[str, Any]:
    """Returns what `_prepare_local` computed for a variable's device."""
    key = var.device, var.dtype.base_dtype
    return (apply_state or {}).get(key) or self._fallback_apply_state(*key)

  def _group_of(self, var: tf.Variable, state: Mapping[str, Any]) -> GroupState:
    return state['groups'][self._lr_groups.index(plain_name(var))]

  def _decay_of(self, var: tf.Variable) -> float:
    """Returns the weight decay of a variable."""
    name = plain_name(var)
    if any(re.search(p, name) for p in self._exclude_from_weight_decay):
      return 0.0
    group = self._lr_groups[self._lr_groups.index(name)]
    return group.weight_decay_multiplier * self._weight_decay

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    return super().get_config() | {
      'weight_decay': self._weight_decay,
      'exclude_from_weight_decay': self._exclude_from_weight_decay,
      'lr_groups': self._lr_groups.as_dicts(),
      'momentum_form': self._momentum_form,
    }


optimizer_factory.register_optimizer_cls('sgd_coupled_decay', SGDCoupledDecay)
