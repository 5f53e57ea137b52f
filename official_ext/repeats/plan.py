"""Which trainings are asked for, and whether they can begin."""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import gin
from official.core import config_definitions as cfg

from official_ext.configs import common
from official_ext.configuration import experiment, gin_config
from official_ext.errors import UserError
from official_ext.files import whole
from official_ext.repeats import records, registry, settings
from official_ext.runs import run_dir

# What goes on with what was stopped.
COMMAND = 'official_ext.repeat command'

# For choosing among recipes without a look at the test images: of CIFAR-10, the
# first 45,000 and the last 5,000 training images.
DEV_SPLITS = (
  "data.train_split = 'train[:90%]'",
  "data.test_split = 'train[90%:]'",
)

# What gin calls the seed of a training.
_SEED = 'run.seed'


@dataclasses.dataclass(frozen=True)
class Study:
  """What the runs have in common.

  Attributes:
    gin_files: The recipe.
    bindings: Of gin, after all files.
    records_dir: Folder of the records; its name is that of the study.
    runs_dir: The folders of the runs are in one named after the study in it.
    recipe: What is changed, by its name.
  """

  gin_files: Sequence[str]
  bindings: Sequence[str]
  records_dir: str
  runs_dir: str
  recipe: str

  def files(self, run: 'Run') -> list[str]:
    """Returns the gin files of a run."""
    return [*self.gin_files, *run.change.files]

  def all_bindings(self, run: 'Run') -> list[str]:
    """Returns what gin binds after them."""
    return [*run.change.bindings, *self.bindings_with_seed(run)]

  def bindings_with_seed(self, run: 'Run') -> list[str]:
    """Returns the bindings of all runs with this one's seed."""
    return [*self.bindings, f'{_SEED}={run.seed}']

  def arguments(self, run: 'Run') -> list[str]:
    """Returns those of `official_ext.train` that ask for a run alone."""
    return [
      *(f'--gin_file={file}' for file in self.files(run)),
      *(f'--gin_params={line}' for line in self.all_bindings(run)),
      f'--model_dir={run.model_dir}',
    ]


@dataclasses.dataclass(frozen=True)
class Run:
  """One training.

  Attributes:
    change: What is trained: a change to the recipe, or the recipe itself.
    seed: Of the training.
    model_dir: The run's folder.
    record: The file that says what came out.
  """

  change: gin_config.Change
  seed: int
  model_dir: pathlib.Path
  record: pathlib.Path

  @property
  def variant(self) -> str:
    """Names what is trained."""
    return self.change.name

  @property
  def name(self) -> str:
    """Names the run among those of the study."""
    return f'{self.variant}-seed{self.seed}'

  def told(self, runs: Sequence['Run']) -> str:
    """Returns its name, and the how-manieth of some runs it is."""
    return f'{self.name} ({runs.index(self) + 1} of {len(runs)})'


def of(study: Study, changes: Sequence[str], seeds: Sequence[str]) -> list[Run]:
  """Returns the runs, seed by seed.

  Every other seed has the variants the other way round (A B B A), so that what
  drifts on a machine while they are trained is shared by all of them.

  Args:
    study: What they have in common.
    changes: As on the command line; none for the recipe itself.
    seeds: As on the command line.

  Raises:
    UserError: If a seed is no number, the recipe's name a place, a change
      neither a file nor a binding, or two variants have one name.
  """
  if '/' in study.recipe:
    raise UserError(
      f'--name={study.recipe} is a place; give a name, which records and runs '
      'then have.'
    )
  folder = pathlib.Path(study.records_dir).expanduser()
  folders = pathlib.Path(study.runs_dir).expanduser() / folder.resolve().name
  named = gin_config.named_changes(study.recipe, changes)
  named = named or [gin_config.Change(study.recipe)]
  return [
    Run(
      change,
      seed,
      folders / f'{change.name}-seed{seed}',
      folder / f'{change.name}-seed{seed}.json',
    )
    for number, seed in enumerate(dict.fromkeys(map(_seed, seeds)))
    for change in named[:: -1 if number % 2 else 1]
  ]


def check(study: Study, runs: Sequence[Run]) -> None:
  """Raises before the first hour of training what would end a later one.

  Raises:
    UserError: If a gin file is not there or has a mistake, a change is
      overridden or changes nothing, gin overrides a seed, another process
      trains one of them, the records cannot be written, or what is there is of
      a training with other settings.
  """
  _check_splits(study)
  beside = records.read_all(study.records_dir)
  recipe = _parse(study.gin_files, study.bindings)
  _check_beside(study, study.recipe, settings.of(recipe), beside)
  for run in runs:
    _check_run(study, run, beside)
  for folder in {run.record.parent for run in runs}:
    try:
      whole.make_writable(folder)
    except OSError as error:
      raise UserError(
        f'--records_dir={study.records_dir} cannot be written to '
        f'({error.strerror}); name another folder.'
      ) from error


def register(study: Study, runs: Sequence[Run], purpose: str | None) -> None:
  """Registers what is taken to the test images; see `registry`.

  Args:
    study: What the runs have in common.
    runs: All that are asked for, as `check` has checked them.
    purpose: Why; None where nothing was chosen here.

  Raises:
    UserError: As `registry.register`, or if the test images stay unseen.
  """
  if DEV_SPLITS[-1] in study.bindings:
    if purpose is not None:
      raise UserError(
        f'--dev leaves the test images unseen, so that --purpose={purpose!r} '
        'has nothing to register; leave one of them out.'
      )
    return
  folder = pathlib.Path(study.records_dir).expanduser()
  if purpose is None and not registry.read(folder):
    return
  asked = {
    run.variant: settings.of(_parse(study.files(run), study.all_bindings(run)))
    for run in runs
  }
  seeds = sorted({run.seed for run in runs})
  registry.register(folder, asked, seeds, purpose)


def same_runtime(study: Study, runs: Sequence[Run]) -> list[list[Run]]:
  """Returns the runs that can share a process, in the order of the first."""
  texts: dict[str, str] = {}
  groups: dict[str, list[Run]] = {}
  for run in runs:
    if run.variant not in texts:
      params = _parse(study.files(run), study.all_bindings(run))
      runtime = experiment.resolved(params).runtime.as_dict()
      texts[run.variant] = repr(runtime | {'seed': None})
    groups.setdefault(texts[run.variant], []).append(run)
  return list(groups.values())


def _parse(
  files: Sequence[str], bindings: Sequence[str]
) -> cfg.ExperimentConfig:
  gin_config.parse(files, bindings)
  return experiment.parse_gin_alone()


def _check_run(study: Study, run: Run, beside: records.ByVariant) -> None:
  params = _parse(study.files(run), study.all_bindings(run))
  asked = settings.of(params)
  precision = experiment.resolved(params).runtime.mixed_precision_dtype
  _check_seed(run, params)
  if run.variant != study.recipe:
    _check_change(study, run, asked)
  if run.record.exists():
    there = records.read(run.record)['config']
    settings.check_same(asked, there, run.record, _mend(study), seeds=True)
  else:
    _check_run_there(study, run, asked, precision)
    _check_precisions(run, beside, asked, precision)
  _check_beside(study, run.variant, asked, beside)


def _check_splits(study: Study) -> None:
  """Raises where --dev would take the place of parts that were asked for."""
  if DEV_SPLITS[-1] not in study.bindings:
    return
  count = len(study.bindings) - len(DEV_SPLITS)
  bound = _bound(study.gin_files, study.bindings[:count])
  for name in ('data.train_split', 'data.test_split'):
    if name in bound:
      raise UserError(
        f'--dev chooses the splits, but gin sets {name}={bound[name]!r}; leave '
        'one of them out.'
      )


def _check_seed(run: Run, params: cfg.ExperimentConfig) -> None:
  for place in common.SEEDS:
    seed = functools.reduce(getattr, place.split('.'), params)
    if seed != run.seed:
      raise UserError(
        f'{run.name}: an override in gin sets {place}={seed} instead of that '
        'of --seeds; leave it out.'
      )


def _check_change(study: Study, run: Run, asked: settings.Settings) -> None:
  """Raises where a change is not what is trained, or nothing is changed."""
  overridden = _overridden(study, run)
  if overridden:
    raise UserError(
      f'{run.change} sets {overridden[0]!r}, which --gin_params or --seeds '
      'overrides; leave one of them out.'
    )
  recipe = settings.of(_parse(study.gin_files, study.bindings_with_seed(run)))
  if not settings.differences(recipe, asked):
    raise UserError(
      f'{run.change} changes nothing of {study.recipe}; leave it out.'
    )


def _overridden(study: Study, run: Run) -> list[str]:
  """Returns what a change binds that the bindings of all runs bind otherwise.

  What it only repeats of the recipe, such as a seed, they may bind.
  """
  files = study.files(run)
  recipe = _bound(study.gin_files, [])
  asked = _bound(files, study.all_bindings(run))
  return [
    f'{name} = {value!r}'
    for name, value in _bound(files, run.change.bindings).items()
    if (name, value) not in recipe.items() and asked[name] != value
  ]


def _bound(files: Sequence[str], bindings: Sequence[str]) -> dict[str, Any]:
  """Returns the values that gin binds, by what they are called in gin."""
  gin_config.parse(files, bindings)
  return {
    f'{scope}/{name}.{key}'.removeprefix('/'): value
    for (scope, selector), values in gin.config._CONFIG.items()
    for name in [selector.rpartition('.')[2]]
    for key, value in values.items()
  }


def _check_beside(
  study: Study,
  variant: str,
  asked: settings.Settings,
  beside: records.ByVariant,
) -> None:
  """Raises where a variant was trained with other settings than asked."""
  for record in beside.get(variant, []):
    place = f'{variant} with seed {record["seed"]} in {study.records_dir}'
    settings.check_same(asked, record['config'], place, _mend(study))


def _check_run_there(
  study: Study, run: Run, asked: settings.Settings, precision: str
) -> None:
  """Raises where what was stopped would not go on as it began."""
  if run.model_dir.is_dir():
    with run_dir.held(str(run.model_dir)):
      pass
  if (run.model_dir / records.REQUESTED).exists():
    there = records.requested(run.model_dir)
    settings.check_same(asked, there, run.model_dir, _mend(study), seeds=True)
  for params_yaml in records.configs(run.model_dir):
    records.check_precision(params_yaml, precision)


def _check_precisions(
  run: Run,
  beside: records.ByVariant,
  asked: settings.Settings,
  precision: str,
) -> None:
  """Raises where 'auto' is another precision than in the records there."""
  name = settings.asked_precision(asked)
  for record in itertools.chain(*beside.values()):
    there = record['runtime']['mixed_precision_dtype']
    same = settings.asked_precision(record['config']) == name
    if same and there != precision:
      raise UserError(
        f"{run.name}: precision='{name}' is {precision} on this machine, but "
        f'was {there} for the records in {run.record.parent}; name another '
        '--records_dir.'
      )


def _mend(study: Study) -> str:
  return (
    'give it another name (of its file, before its colon, or by --name), or '
    f'name another --records_dir than {study.records_dir}'
  )


def _seed(text: str) -> int:
  if not text.strip().isdecimal():
    raise UserError(
      f'--seeds: {text!r} is no seed; give whole numbers, such as 0,1,2.'
    )
  return int(text)
