"""From flags and gin to a checked experiment config."""

import contextlib
import copy
import dataclasses
import difflib
import os
import re
from typing import Any

import tensorflow as tf
import yaml
from official.core import base_task, exp_factory, task_factory, train_utils
from official.core import config_definitions as cfg
from official.modeling import hyperparams
from official.modeling.hyperparams import params_dict

from official_ext.configs import backbones, common, validation
from official_ext.configs.image_classification import ImageClassificationTask
from official_ext.configuration import gin_config, places
from official_ext.configuration.flags import Flags
from official_ext.dataloaders import data_sets
from official_ext.errors import UserError, one_line, reason
from official_ext.files import safe_yaml
from official_ext.machine import devices
from official_ext.schema import fields, garden_fields  # noqa: F401

# The experiment of this package's own task.
DEFAULT = 'small_images'


@dataclasses.dataclass(frozen=True)
class Experiment:
  """What is to be trained or evaluated.

  Attributes:
    params: All of its settings, locked.
    data: Its images, opened; None where the task is Garden's own, which reads
      files itself.
  """

  params: cfg.ExperimentConfig
  data: data_sets.DataSets | None = None

  def build_task(self, **kwargs: Any) -> base_task.Task:
    """Builds the task, which then has the data; takes Garden's arguments."""
    task = task_factory.get_task(self.params.task, **kwargs)
    if self.data:
      task.data = self.data
    return task


@dataclasses.dataclass(frozen=True)
class File:
  """A file over an experiment's config.

  Attributes:
    path: Where it is, for errors.
    values: What it says, as nested dicts.
  """

  path: str
  values: dict[str, Any]


class ExperimentParser(train_utils.ExperimentParser):
  """Garden's parser, with safe YAML and errors of one line.

  Gin has bound the experiment's arguments already; `--config_file` wins over
  gin, and `--params_override` over both.

  Attributes:
    trainer_keys: Fields of the trainer that `--params_override` has set.
  """

  def __init__(self, flags_obj: Any):
    """Takes Garden's flags."""
    super().__init__(flags_obj)
    self.trainer_keys: set[str] = set()

  def base_experiment(self) -> cfg.ExperimentConfig:
    """Returns the config of `--experiment`, to run on what the machine has."""
    name = self._flags_obj.experiment
    known = exp_factory._REGISTERED_CONFIGS  # Garden has no way to list them.
    if name not in known:
      close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
      raise UserError(
        f"--experiment='{name}' is not registered; "
        f'did you mean {", ".join(close or sorted(known))}?'
      )
    other = _other_bound(name)
    if other:
      raise UserError(
        f"gin binds arguments of {other}, but --experiment='{name}'; give "
        f'--experiment={other}, or leave them out.'
      )
    try:
      params = super().base_experiment()
    except UserError as error:
      raise UserError(_with_place(str(error))) from error
    except (TypeError, ValueError) as error:
      raise UserError(f'gin: {one_line(error)}') from error
    if not isinstance(params.runtime, common.RuntimeConfig):
      # Garden's own experiments would stay on the CPU unless told.
      open_fields = {'num_gpus': -1, 'distribution_strategy': 'auto'}
      runtime = params.runtime.as_dict() | open_fields
      params.runtime = common.RuntimeConfig(runtime)
    # `machine.stopping` hears signals; Garden's own action would hide them, and
    # its loop of many steps in one would not heed them.
    params.trainer.preemption_on_demand_checkpoint = False
    params.trainer.train_tf_while_loop = False
    backbones.extend(params)
    return params

  def parse_gin(self, params: cfg.ExperimentConfig) -> cfg.ExperimentConfig:
    """Overrides `params` with what gin binds for any experiment.

    Garden's own experiments take no arguments from gin.
    """
    override = gin_config.any_experiment()
    if override:
      _override(params, yaml.safe_dump(override), f'gin: {gin_config.ANY}')
    return params

  def parse_config_file(
    self, params: cfg.ExperimentConfig
  ) -> cfg.ExperimentConfig:
    """Overrides `params` with each `--config_file`."""
    for path in self._flags_obj.config_file or []:
      flag = f'--config_file={path}'
      _override(params, _read(os.path.expanduser(path), flag), flag)
    return params

  def parse_params_override(
    self, params: cfg.ExperimentConfig
  ) -> cfg.ExperimentConfig:
    """Overrides `params` with `--params_override`: YAML, CSV or a file."""
    text = self._flags_obj.params_override
    if not text:
      return params
    file = os.path.expanduser(text)
    if tf.io.gfile.exists(file):
      text = _read(file, f'--params_override={text}')
    else:
      with contextlib.suppress(ValueError):  # Not a.b=1,c=2, so it is YAML.
        text = params_dict.nested_csv_str_to_json_str(text)
    override = _override(params, text, '--params_override')
    self.trainer_keys = set(override.get('trainer') or {})
    return params


def _other_bound(name: str) -> str:
  """Returns an experiment besides this one that gin binds; '' for none."""
  others = gin_config.bound().intersection(exp_factory._REGISTERED_CONFIGS)
  return min(others - {name}, default='')


def _with_place(text: str) -> str:
  """Adds where a setting was bound to an error about its value.

  Args:
    text: Its first line is the error; gin adds what it passed through.
  """
  line = text.partition('\n')[0]
  found = re.match(r'gin: [\w/.]+', line)
  place = gin_config.place_of(found[0].removeprefix('gin: ')) if found else ''
  if not found or not place:
    return line
  return f'{found[0]} ({place}){line[found.end() :]}'


def parse(
  flags_obj: Any,
  store: data_sets.Store | None = None,
  over_gin: File | None = None,
) -> Experiment:
  """Returns what the flags, and gin before them, ask for.

  What is left open is filled in from the machine and the data.

  Args:
    flags_obj: Garden's flags.
    store: What runs of this process have read before.
    over_gin: A config that a run has recorded: all that it was made of, so gin
      may bind what is replaced by it.

  Raises:
    UserError: If something in it cannot work.
  """
  parser = ExperimentParser(flags_obj)
  made = parser.base_experiment()
  params = copy.deepcopy(made)
  _forget_lengths(params)
  params = parser.parse_gin(params)
  if over_gin:
    _apply(params, over_gin.values, over_gin.path)
  else:
    gin_config.check_used(flags_obj.experiment)
  params = parser.parse_config_file(params)
  _forget_lengths(params)
  from_files = copy.deepcopy(params)
  params = parser.parse_runtime(params)
  params = parser.parse_data_service(params)
  params = parser.parse_params_override(params)
  _check(params, made)
  data = None
  if isinstance(params.task, ImageClassificationTask):
    # A run's own params.yaml has counts that follow from its epochs and data;
    # with others, they are to follow from those.
    chosen = _changed(params.trainer, made.trainer)
    chosen -= {'steps_per_epoch', *common.following_counts(from_files.trainer)}
    data = _fit_to_data(params, chosen | parser.trainer_keys, store)
  try:
    params.validate()
  except KeyError as error:
    raise UserError(f'the experiment: {error.args[0]}') from error
  params.lock()
  return Experiment(params, data)


def parse_gin_alone() -> cfg.ExperimentConfig:
  """Returns what gin binds for `small_images`, whatever the machine.

  Neither devices nor data are looked at: what they decide stays open.

  Raises:
    UserError: If a name or the type of a value is wrong, or another experiment
      is bound.
  """
  other = _other_bound(DEFAULT)
  if other:
    raise UserError(
      f'gin binds arguments of {other}, but only {DEFAULT} is trained here; '
      'leave them out.'
    )
  parser = ExperimentParser(Flags(DEFAULT))
  made = parser.base_experiment()
  params = copy.deepcopy(made)
  _forget_lengths(params)
  params = parser.parse_gin(params)
  gin_config.check_used(DEFAULT)
  steps = params.trainer.steps_per_epoch
  if steps:
    _set_steps(params.trainer, steps, _changed(params.trainer, made.trainer))
  else:
    common.set_lengths(params.trainer)
  fields.check(params, made=made)
  return params


def resolved(asked: cfg.ExperimentConfig) -> cfg.ExperimentConfig:
  """Returns a copy of a config with devices and precision of this machine.

  Args:
    asked: What `parse_gin_alone` returned.

  Raises:
    UserError: If something in it cannot work here.
  """
  params = copy.deepcopy(asked)
  _check(params, asked)
  return params


def _check(params: cfg.ExperimentConfig, made: cfg.ExperimentConfig) -> None:
  """Fills in devices and whole paths, and raises where a value cannot work."""
  if isinstance(params.task, ImageClassificationTask):
    validation.check_which_trains(params.task)
  fields.check(params, made=made)
  places.settle(params)
  devices.resolve(
    params.runtime, float16=not validation.averages_inside_loss_scale(params)
  )
  validation.check(params, devices.count_replicas(params.runtime))


def _forget_lengths(params: cfg.ExperimentConfig) -> None:
  """Leaves open what a schedule has from its trainer, which may change."""
  if isinstance(params.task, ImageClassificationTask):
    common.forget_lengths(params.trainer)


def _read(path: str, flag: str) -> str:
  """Returns the text of a file that a flag names."""
  try:
    return tf.io.gfile.GFile(path).read()
  except (tf.errors.OpError, UnicodeDecodeError) as error:
    raise UserError(
      f'{flag} cannot be read ({reason(error)}); name a file of YAML.'
    ) from error


def _override(
  params: cfg.ExperimentConfig, text: str, place: str
) -> dict[str, Any]:
  """Overrides `params` with YAML, and returns what it says."""
  try:
    override = safe_yaml.load(text)
  except yaml.YAMLError as error:
    line = one_line(error)
    raise UserError(f'{place} is not plain YAML: {line}') from error
  if not isinstance(override, dict):
    raise UserError(
      f'{place}: {text!r} is neither a file nor a mapping; '
      'write task.train_data.seed=1 or {task: {train_data: {seed: 1}}}.'
    )
  _apply(params, override, place)
  return override


def _apply(
  params: cfg.ExperimentConfig, override: dict[str, Any], place: str
) -> None:
  _check_keys(params, override, place, '')
  _forget_lists(params, override)
  params.override(override, is_strict=True)


def _check_keys(
  params: Any, override: dict[str, Any], place: str, prefix: str
) -> None:
  """Raises for a key that the config does not have.

  Garden's text is longer, and in a list or in place of None it takes any key.
  """
  known = [key for key in vars(params) if key not in params.RESERVED_ATTR]
  for key, value in override.items():
    if key not in known:
      close = difflib.get_close_matches(str(key), known, n=1)
      mend = f'there are {", ".join(known) or "none"}.'
      if close:
        mend = f'did you mean {prefix}{close[0]}?'
      raise UserError(f'{place}: {prefix}{key} does not exist; {mend}')
    inner = getattr(params, key)
    if not isinstance(inner, hyperparams.Config):
      inner = params._get_subconfig_type(key)()
    for item in value if isinstance(value, list) else [value]:
      if isinstance(item, dict):
        _check_keys(inner, item, place, f'{prefix}{key}.')


def _forget_lists(params: Any, override: dict[str, Any]) -> None:
  """Empties what a list is given for; Garden would merge one of configs."""
  for key, value in override.items():
    inner = getattr(params, key)
    if isinstance(value, list):
      setattr(params, key, None)
    elif isinstance(value, dict) and isinstance(inner, hyperparams.Config):
      _forget_lists(inner, value)


def _changed(config: Any, made: Any) -> set[str]:
  """Returns the fields whose values differ."""
  return {key for key, v in config.as_dict().items() if v != getattr(made, key)}


def _fit_to_data(
  params: cfg.ExperimentConfig,
  chosen: set[str],
  store: data_sets.Store | None,
) -> data_sets.DataSets:
  """Takes classes, image size and steps from the data where left open.

  Args:
    params: Changed.
    chosen: Fields of the trainer that stay; other counts of steps follow the
      data.
    store: What has been read before.

  Returns:
    The data, opened.
  """
  task = params.task
  data = data_sets.DataSets(task, store)
  if devices.has_to_set_up_first(params.runtime):
    data.prepare_in_own_process()
  train, test = data.train.info, data.test.info
  for place, config, info in (
    ('task.train_data', task.train_data, train),
    ('task.validation_data', task.validation_data, test),
  ):
    validation.check_fits(config, place, info.image_shape, task.model)
  _check_same_classes(train, test)
  model = task.model
  model.num_classes = model.num_classes or train.num_classes
  model.input_size = model.input_size or list(train.image_shape)
  batch_size = task.train_data.global_batch_size
  if batch_size > train.num_examples:
    raise UserError(
      f'task.train_data.global_batch_size={batch_size} is more than the '
      f'{train.num_examples} images of {train.name}; use at most that many '
      '(gin: data.batch_size).'
    )
  steps = train.num_examples // batch_size
  asked = params.trainer.steps_per_epoch
  if 'steps_per_epoch' in chosen and asked != steps:
    raise UserError(
      f'trainer.steps_per_epoch={asked} cannot be chosen; {train.num_examples} '
      f'images in batches of {batch_size} are {steps}.'
    )
  _set_steps(params.trainer, steps, chosen)
  fields.check(params.trainer, 'trainer.', params.trainer)
  validation.check_trainer(params.trainer)
  return data


def _set_steps(
  trainer: common.TrainerConfig, steps: int, chosen: set[str]
) -> None:
  """Sets the steps of an epoch, and the counts but for those chosen."""
  numbers = {
    key: value
    for key, value in trainer.as_dict().items()
    if key in chosen and isinstance(value, int)
  }
  common.set_steps_per_epoch(trainer, steps)
  trainer.override(numbers)


def _check_same_classes(
  train: data_sets.ImageDataInfo, test: data_sets.ImageDataInfo
) -> None:
  """Raises where a label means one class in training and another in the test.

  A data set whose classes have numbers for names says nothing about them.
  """
  pairs = enumerate(zip(train.class_names, test.class_names, strict=False))
  for label, (name, other) in pairs:
    if name != other and str(label) not in (name, other):
      raise UserError(
        f"task.validation_data: label {label} is '{other}' in {test.name}, but "
        f"'{name}' in {train.name}; use data sets of the same classes."
      )
