"""Muon for the kernels of convolutions, SGD for the rest."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling.optimization import optimizer_factory

from official_ext.configs.optimization import OptimizerConfig
from official_ext.errors import UserError
from official_ext.modeling.optimization import lr_groups as groups_lib
from official_ext.modeling.optimization.lr_groups import plain_name
from official_ext.modeling.optimization.sgd import (
  SGDCoupledDecay,
  SGDCoupledDecayConfig,
)
from official_ext.ops import newton_schulz
from official_ext.schema import fields, parts


@parts.kind(OptimizerConfig, 'muon')
@dataclasses.dataclass
class MuonConfig(SGDCoupledDecayConfig):
  """Configuration of `Muon`, by default that of airbench94.

  Attributes:
    name: Name of the optimizer.
    patterns: Regular expressions; a variable whose name one of them finds
      trains by Muon. Empty for the kernels of convolutions larger than 1×1.
    momentum: Momentum of Muon.
    nesterov: Whether the momentum, that of SGD too, is Nesterov's.
    ns_steps: Steps of the Newton-Schulz iteration.
    ns_coefficients: The three coefficients of its polynomial.
    normalize_kernels: Whether a kernel of n filters is scaled to a norm of √n
      before each update; for networks with batch norm after each.
    sgd_momentum: Momentum of SGD, by which all other variables train.
    momentum_form: Of SGD's momentum; as in `sgd_coupled_decay`.
    weight_decay: Of what trains by SGD; as in `sgd_coupled_decay`.
    exclude_from_weight_decay: As in `sgd_coupled_decay`.
    lr_groups: Variables with rates of their own, those that train by Muon among
      them; the first group that finds a variable counts.
  """

  name: str = 'Muon'
  patterns: list[str] = fields.field([], groups_lib.PATTERNS)
  momentum: float = fields.field(0.6, fields.SHARE)
  ns_steps: int = fields.field(3, fields.AT_LEAST_1)
  ns_coefficients: list[float] = fields.field(
    list(newton_schulz.COEFFICIENTS), fields.THREE
  )
  normalize_kernels: bool = True
  sgd_momentum: float = fields.field(0.85, fields.SHARE)
  momentum_form: str = fields.field('torch')

  def check_variables(
    self, variables: Sequence[tf.Variable], place: str
  ) -> None:
    """Raises where Muon would train nothing, or what is no matrix.

    Args:
      variables: The model's, as far as they are trained.
      place: Dotted path of this config, with a dot at its end.

    Raises:
      UserError: At the first such expression or variable.
    """
    super().check_variables(variables, place)
    names = [plain_name(variable) for variable in variables]
    groups_lib.check_patterns(self.patterns, names, f'{place}patterns')
    chosen = [v for v in variables if _is_chosen(v, self.patterns)]
    if not chosen:
      raise UserError(
        f'{place}patterns=[]: no kernel of a convolution larger than 1×1 is '
        'trained; name the variables that are to train by Muon, there are '
        f"{groups_lib.listed(names)}, or use 'sgd_coupled_decay'."
      )
    for variable in chosen:
      if variable.shape.rank < 2:
        raise UserError(
          f'{place}patterns={self.patterns} find {plain_name(variable)} of '
          f'shape {variable.shape.as_list()}, which is no matrix; have them '
          'find kernels only.'
        )


@tf_keras.utils.register_keras_serializable(package='official_ext')
class Muon(SGDCoupledDecay):
  """Steps of one length in all directions, for kernels; SGD for the rest.

  With g the gradient, m the momentum and r the rate, which a variable's group
  may multiply, and a kernel `[..., in, n]` seen as a matrix of n columns::

    v ← m · v + g
    w ← w · √n / ‖w‖                            (if kernels are normalised)
    w ← w − r · orthogonalize(g + m · v)        (nesterov; otherwise of v)

  There is no decay. This is Muon of `airbench94_muon.py` in
  https://github.com/KellerJordan/cifar10-airbench; without the normalisation,
  of https://kellerjordan.github.io/posts/muon/. The update is as large for any
  scale of the loss. The last axis has to be the filters', which that of a
  transposed convolution is not.

  Each kernel is orthogonalised by itself: as a batch, those of one shape take
  as long on a CPU.
  """

  def __init__(
    self,
    learning_rate: Any = 0.01,
    momentum: float = 0.6,
    nesterov: bool = True,
    patterns: Sequence[str] = (),
    ns_steps: int = 3,
    ns_coefficients: Sequence[float] = newton_schulz.COEFFICIENTS,
    normalize_kernels: bool = True,
    sgd_momentum: float = 0.85,
    momentum_form: str = 'torch',
    name: str = 'Muon',
    **kwargs: Any,
  ):
    """Builds the optimizer.

    Args:
      learning_rate: A float or a learning rate schedule.
      momentum: Momentum of Muon, in [0, 1).
      nesterov: Whether to use Nesterov momentum, in SGD too.
      patterns: Regular expressions; a variable whose name one of them finds
        trains by Muon. Without any, the variables `kernel` of rank 4 that are
        larger than 1×1.
      ns_steps: Steps of `newton_schulz.orthogonalize`.
      ns_coefficients: Its coefficients.
      normalize_kernels: Whether a kernel of n filters is scaled to a norm of √n
        before each update; one of zeros stays.
      sgd_momentum: Momentum of SGD, in [0, 1].
      momentum_form: Of SGD; 'keras' or 'torch'.
      name: Name of the optimizer.
      **kwargs: Passed to `SGDCoupledDecay`.
    """
    super().__init__(
      learning_rate,
      sgd_momentum,
      nesterov,
      momentum_form=momentum_form,
      name=name,
      **kwargs,
    )
    self._patterns = list(patterns)
    self._muon_momentum = momentum
    self._ns_steps = ns_steps
    self._ns_coefficients = list(ns_coefficients)
    self._normalize_kernels = normalize_kernels

  def _create_slots(self, var_list: Sequence[tf.Variable]) -> None:
    super()._create_slots(var_list)
    for var in var_list:
      if _is_chosen(var, self._patterns):
        self.add_slot(var, 'momentum')

  def _resource_apply_dense(
    self, grad: tf.Tensor, var: tf.Variable, apply_state: Any = None
  ) -> tf.Operation:
    if not _is_chosen(var, self._patterns):
      return super()._resource_apply_dense(grad, var, apply_state)
    group = self._group_of(var, self._state_of(var, apply_state))
    velocity = self.get_slot(var, 'momentum')
    moved = self._muon_momentum * velocity + grad
    direction = grad + self._muon_momentum * moved if self.nesterov else moved
    step = group.learning_rate * self._orthogonal(direction)
    trained = self._normalized(var) - step
    return tf.group(
      velocity.assign(moved, use_locking=self._use_locking),
      var.assign(group.gate(trained, var), use_locking=self._use_locking),
    )

  def _orthogonal(self, kernel: tf.Tensor) -> tf.Tensor:
    """Returns a kernel's nearest orthogonal one, about.

    The products are in the precision of the network's, which the device is fast
    at.
    """
    matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])
    orthogonal = newton_schulz.orthogonalize(
      matrix,
      self._ns_steps,
      self._ns_coefficients,
      dtype=tf_keras.mixed_precision.global_policy().compute_dtype,
    )
    return tf.reshape(orthogonal, kernel.shape)

  def _normalized(self, kernel: tf.Variable) -> tf.Tensor:
    if not self._normalize_kernels:
      return kernel.value()
    length = math.sqrt(kernel.shape[-1])
    return kernel * tf.math.divide_no_nan(length, tf.norm(kernel))

  def get_config(self) -> dict[str, Any]:
    """Returns the constructor's arguments."""
    config = super().get_config()
    return config | {
      'momentum': self._muon_momentum,
      'sgd_momentum': config['momentum'],
      'patterns': self._patterns,
      'ns_steps': self._ns_steps,
      'ns_coefficients': self._ns_coefficients,
      'normalize_kernels': self._normalize_kernels,
    }


def _is_chosen(variable: tf.Variable, patterns: Sequence[str]) -> bool:
  """Whether a variable trains by Muon."""
  name = plain_name(variable)
  if patterns:
    return any(re.search(pattern, name) for pattern in patterns)
  *size, _, _ = variable.shape if variable.shape.rank == 4 else (1, 1)
  return name.split('/')[-1] == 'kernel' and math.prod(size) > 1


optimizer_factory.register_optimizer_cls('muon', Muon)
