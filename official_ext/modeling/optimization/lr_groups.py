"""Groups of variables with rates of their own, and an end of their own."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from official.modeling import hyperparams

from official_ext.errors import UserError
from official_ext.schema import fields


def _is_expression(pattern: str) -> bool:
  try:
    re.compile(pattern)
  except re.error:
    return False
  return bool(pattern)


PATTERN = fields.Rule(
  _is_expression,
  "a regular expression of variable names, '.*' if it should find all",
)
PATTERNS = fields.all_of(PATTERN, 'a list, each')


@dataclasses.dataclass
class LrGroup(hyperparams.Config):
  """Variables that train at a rate of their own.

  Attributes:
    pattern: Regular expression that finds their names, such as 'beta$'.
    lr_multiplier: Factor on the learning rate.
    weight_decay_multiplier: Factor on the weight decay.
    until_epoch: Epoch from which on they stay as they are, whatever decay and
      momentum are; 0 for the end of the training. The schedule has to be one
      that counts epochs, 'triangular' or 'piecewise_linear'.
    compress_schedule: Whether the rate goes through the whole schedule until
      then, so that it falls to 0 where that does; otherwise through the part of
      it until then.
  """

  pattern: str = fields.field('', PATTERN)
  lr_multiplier: float = fields.field(1.0, fields.AT_LEAST_0)
  weight_decay_multiplier: float = fields.field(1.0, fields.AT_LEAST_0)
  until_epoch: float = fields.field(0.0, fields.AT_LEAST_0)
  compress_schedule: bool = False

  def check_together(self, place: str) -> None:
    """Raises where the schedule is to be compressed into no time."""
    if self.compress_schedule and not self.until_epoch:
      raise UserError(
        f'{place}compress_schedule=True has no effect without until_epoch; '
        'set that, or leave it out.'
      )

  def check_end(self, place: str, kind: str, last_epoch: float | None) -> None:
    """Raises where the schedule does not tell when the group ends.

    Args:
      place: Dotted path of this group, with a dot at its end.
      kind: Type of the schedule, for the message.
      last_epoch: With which the schedule ends; None if it counts no epochs.

    Raises:
      UserError: If it counts none, or ends before.
    """
    if not self.until_epoch:
      return
    if last_epoch is None:
      raise UserError(
        f'{place}until_epoch={self.until_epoch:g} needs a schedule that counts '
        f"epochs, but learning_rate.type='{kind}' does not; use 'triangular' "
        "or 'piecewise_linear'."
      )
    if self.until_epoch > last_epoch:
      raise UserError(
        f'{place}until_epoch={self.until_epoch:g} is after the end of the '
        f'schedule, epoch {last_epoch:g}; use at most that, or leave it out.'
      )


@dataclasses.dataclass(frozen=True)
class GroupState:
  """What a group's variables train with at a step.

  Attributes:
    learning_rate: Scalar, the group's.
    is_training: Boolean scalar; None for a group that has no end.
  """

  learning_rate: tf.Tensor
  is_training: tf.Tensor | None = None

  def gate(self, value: tf.Tensor, otherwise: Any) -> tf.Tensor:
    """Returns a value while the group trains, and then another."""
    if self.is_training is None:
      return value
    return tf.where(self.is_training, value, otherwise)


class LrGroups:
  """An optimizer's groups, the last of them of what no other finds."""

  def __init__(self, groups: Sequence[Mapping[str, Any]]):
    """Takes fields of `LrGroup`, as a config's `as_dict` has them."""
    self._named = [LrGroup(**group) for group in groups]
    self._all = [*self._named, LrGroup(pattern='')]

  def index(self, name: str) -> int:
    """Returns which group is a variable's, the first that finds its name.

    Args:
      name: As `plain_name` has it.
    """
    found = (re.search(group.pattern, name) for group in self._all)
    return next(index for index, match in enumerate(found) if match)

  def __getitem__(self, index: int) -> LrGroup:
    """Returns a group."""
    return self._all[index]

  def states(
    self, learning_rate: tf.Tensor, schedule: Any, step: tf.Variable
  ) -> list[GroupState]:
    """Returns the state of each group.

    Args:
      learning_rate: Scalar, of the schedule at this step.
      schedule: A `PiecewiseLinear` if a group ends.
      step: Number of updates before this one, an integer scalar.

    Raises:
      TypeError: If a group ends and the schedule counts no epochs.
    """
    return [_state(group, learning_rate, schedule, step) for group in self._all]

  def as_dicts(self) -> list[dict[str, Any]]:
    """Returns the fields of each group."""
    return [group.as_dict() for group in self._named]


def _state(
  group: LrGroup, rate: tf.Tensor, schedule: Any, step: tf.Variable
) -> GroupState:
  if not group.until_epoch:
    return GroupState(_multiplied(rate, group))
  if not hasattr(schedule, 'steps_per_epoch'):
    raise TypeError(
      f"the group '{group.pattern}' ends at epoch {group.until_epoch:g}, but "
      f'the learning rate, {schedule!r}, counts no epochs.'
    )
  if group.compress_schedule:
    rate = tf.cast(schedule.compressed(group.until_epoch)(step), rate.dtype)
  end = group.until_epoch * schedule.steps_per_epoch
  is_training = tf.cast(step, tf.float32) < end
  return GroupState(_multiplied(rate, group), is_training)


def _multiplied(rate: tf.Tensor, group: LrGroup) -> tf.Tensor:
  return rate if group.lr_multiplier == 1 else rate * group.lr_multiplier


def plain_name(variable: tf.Variable) -> str:
  """Returns the name without its output and replica: 'bn/beta/replica_1:0'.

  Patterns are looked for in it.
  """
  return re.sub(r'(/replica_\d+)?:\d+$', '', variable.name)


def check_patterns(
  patterns: Iterable[str], names: Sequence[str], place: str
) -> None:
  """Raises for an expression that finds no variable, and would do nothing.

  Args:
    patterns: Regular expressions.
    names: Of the model's trainable variables, as `plain_name` has them.
    place: Dotted path of the field that lists the expressions.

  Raises:
    UserError: At the first such expression.
  """
  for pattern in patterns:
    if not any(re.search(pattern, name) for name in names):
      raise UserError(
        f"{place}: '{pattern}' finds no variable that is trained; correct it "
        f'or leave it out, there are {listed(names)}.'
      )


def listed(names: Iterable[str]) -> str:
  """Returns the first few names, for a message."""
  there = sorted(names)
  return ', '.join(there[:5]) + (', …' if len(there) > 5 else '')
