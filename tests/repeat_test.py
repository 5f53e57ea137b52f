"""Repeated runs, and their records."""

import ast
import dataclasses
import json
import os
import pathlib
import re
import signal
import time
import types

import gin
import pytest
from helpers import commands, example_records, runs, tiny

from official_ext import repeat
from official_ext.checkpoints import writing
from official_ext.configs import common
from official_ext.configuration import experiment, gin_config, gin_files
from official_ext.errors import RunError, Stopped, UserError
from official_ext.machine import devices, stopping
from official_ext.repeats import in_turn, plan, processes, records, settings
from official_ext.runs import run_dir
from official_ext.schema import comparison
from official_ext.schema.fields import Tie
from official_ext.training import shared as shared_runs
from studies import brought

_ARGUMENTS = ['--gin_file=recipe.gin', '--records_dir=records/tiny']
# Enough of them for a signal to come before the last.
_EPOCHS = 6


def _repeat(folder, *arguments):
  return commands.run('repeat', *_ARGUMENTS, *arguments, cwd=folder)


@pytest.fixture(scope='module')
def study(shapes_dir, tmp_path_factory):
  """A folder with a recipe and a change to it, trained with one seed each.

  The command was stopped in the first run, and given again.
  """
  folder = tmp_path_factory.mktemp('study')
  place = f"data.data_dir = '{shapes_dir}'"
  epochs = f'run.epochs = {_EPOCHS}'
  recipe = '\n'.join([*tiny.BINDINGS, place, epochs])
  (folder / 'recipe.gin').write_text(recipe)
  outputs = folder / 'stopped.out', folder / 'stopped.err'
  process = commands.start(
    'repeat', *_ARGUMENTS, '--seeds=3', outputs=outputs, cwd=folder
  )
  epochs = folder / 'runs' / 'tiny' / 'recipe-seed3' / 'epochs.jsonl'
  while not (epochs.exists() and epochs.read_text()):
    assert process.is_alive(), outputs[1].read_text()
    time.sleep(0.01)
  process.terminate()
  process.join(60)
  stopped = process.exitcode
  rows = epochs.read_text().splitlines()
  finished = _repeat(folder, '--seeds=3')
  assert finished.returncode == 0, finished.stderr
  return folder, stopped, rows, finished.stdout


def test_a_stopped_run_is_gone_on_with(study):
  folder, stopped, rows, output = study
  record = json.loads((folder / 'records/tiny/recipe-seed3.json').read_text())
  steps = [row['step'] for row in record['epochs']]
  assert steps == [3 * epoch for epoch in range(1, _EPOCHS + 1)]
  assert stopped == 128 + signal.SIGTERM
  assert 1 <= len(rows) < _EPOCHS
  assert 'Going on in' in output
  kept = [json.loads(row) for row in rows]
  assert record['epochs'][: len(kept)] == kept


def test_a_record_says_what_was_trained_and_no_place(study):
  folder, *_ = study
  text = (folder / 'records/tiny/recipe-seed3.json').read_text()
  record = json.loads(text)
  assert (record['variant'], record['seed']) == ('recipe', 3)
  assert record['config']['runtime']['seed'] == 3
  assert record['config']['task']['model']['head']['pooling'] == 'max'
  assert record['runtime']['mixed_precision_dtype'] == 'float32'
  assert record['test_accuracy'] == record['epochs'][-1]['test_accuracy']
  assert record['data'].keys() == {'train', 'test'}
  assert record['versions']['tensorflow'].startswith('2.20')
  assert '"/' not in text
  assert str(folder) not in text


def test_finished_runs_are_kept_and_a_change_is_one_more(study):
  folder, *_ = study
  records_dir = folder / 'records' / 'tiny'
  before = (records_dir / 'recipe-seed3.json').read_bytes()
  again = _repeat(folder, '--seeds=3')
  assert 'recipe-seed3 (1 of 1) is finished' in again.stdout
  assert (records_dir / 'recipe-seed3.json').read_bytes() == before
  binding = 'no_flip: small_images.augmentations = [@crop(), @cutout()]'
  changed = _repeat(folder, '--seeds=3', binding)
  assert changed.returncode == 0, changed.stderr
  recipe = json.loads(before)
  record = json.loads((records_dir / 'no_flip-seed3.json').read_text())
  sets = brought.by_change(record['config'], recipe['config'])
  (what, steps) = sets[0].split(' = ')
  assert (len(sets), what) == (1, 'train_data.augmentations')
  kinds = [step['type'] for step in ast.literal_eval(steps)]
  assert kinds == ['crop', 'cutout']
  assert record['recipe'] == 'recipe'
  lines = changed.stdout.splitlines()[-3:]
  assert lines[0].split()[:3] == ['recipe', 'runs', 'mean,']
  assert [line.split()[:2] for line in lines[1:]] == [
    ['no_flip', '1'],
    ['recipe', '1'],
  ]


@pytest.mark.parametrize(
  ('changes', 'seeds', 'message'),
  [
    ([], ['0', 'one'], "--seeds: 'one' is no seed"),
    ([], ['-1'], "--seeds: '-1' is no seed"),
    (
      ['none.gin'],
      ['0'],
      'there is no gin file none.gin; the recipes of this p',
    ),
    (
      ['gin/causes/he_unifrm.gin'],
      ['0'],
      'did you mean gin/causes/he_uniform.',
    ),
    (
      ['includes.gin'],
      ['0'],
      'no gin file gin/resnet9_v10.gin; did you mean g',
    ),
    (['wrong.gin'], ['0'], "doesn't have a parameter named 'paddin'"),
    (['a/x.gin', 'b/x.gin'], ['0'], 'two of these have the same name'),
    (['a/recipe.gin'], ['0'], 'two of these have the same name'),
    (
      ['run.epochs = "6"'],
      ['0'],
      "run.epochs (0.gin, line 1)='6' is str, but must be float",
    ),
    (['triangular.peak_epoch = 99.0'], ['0'], 'must be less than the 24 epo'),
    (
      ['head.pooling = "median"'],
      ['0'],
      "pooling (0.gin, line 1)='median' must be one of max, avg",
    ),
    (
      ['resnet9.norm_group_size = 7'],
      ['0'],
      'norm_group_size=7 does not divide',
    ),
    (
      ['run.precision = "floot32"'],
      ['0'],
      "='floot32' must be one of auto, float32",
    ),
    (['run.precision = "float16"'], ['0'], "'float16' needs a GPU"),
    (['run.seed = 7'], ['0'], "0.gin sets 'run.seed = 7', which"),
    (
      ['sgd_coupled_decay.momentum = 0.5'],
      ['0'],
      "0.gin sets 'sgd_coupled_decay.momentum = 0.5', which",
    ),
    (
      ['x:sgd_coupled_decay.momentum=0.5'],
      ['0'],
      "x sets 'sgd_coupled_decay.momentum = 0.5', which",
    ),
    (['x:crop.paddin=1'], ['0'], "doesn't have a parameter named 'paddin'"),
    (['crop.padding=1'], ['0'], 'is neither a gin file nor a name wit'),
    (['a/b:crop.padding=1'], ['0'], 'is neither a gin file nor a name'),
    (
      ['x:padding=1'],
      ['0'],
      "'x:padding=1' is neither a gin file nor a name with a ",
    ),
    (['x.gin', 'x:a.b=1'], ['0'], 'two of these have the same name'),
    (['comment.gin'], ['0'], 'comment.gin changes nothing of recipe; leave'),
    (
      ['head.use_bias = False'],
      ['0', '1'],
      '0.gin changes nothing of recipe; leave it',
    ),
    (
      ['small_images.augmentations = [@crop(), @flip(), @cutout()]'],
      ['0'],
      '0.gin changes nothing of recipe; leave it',
    ),
    (
      ['x:y/head.use_bias=True'],
      ['3'],
      'y/head.use_bias (command line) has no effect',
    ),
    # It is not made of one.
    (
      ['moving_average.interval = 2'],
      ['0'],
      'moving_average.interval (0.gin, line 1) has no effect',
    ),
  ],
)
def test_a_mistake_is_told_before_any_run(
  tmp_path, monkeypatch, changes, seeds, message
):
  monkeypatch.chdir(tmp_path)
  pathlib.Path('recipe.gin').write_text('')
  pathlib.Path('includes.gin').write_text("include 'gin/resnet9_v10.gin'")
  pathlib.Path('comment.gin').write_text('# Nothing yet.\n')
  pathlib.Path('wrong.gin').write_text('crop.paddin = 4')
  for number, change in enumerate(changes):
    if ' = ' in change:
      changes = [f'{number}.gin']
      pathlib.Path(changes[0]).write_text(change)
  bindings = ['sgd_coupled_decay.momentum = 0.9']
  study = plan.Study(['recipe.gin'], bindings, 'records/tiny', 'runs', 'recipe')
  with pytest.raises(UserError, match=re.escape(message)):
    plan.check(study, plan.of(study, changes, seeds))
  assert not pathlib.Path('runs').exists()


def test_a_bound_precision_is_a_change_though_the_machine_has_it(
  tmp_path, monkeypatch, cpu
):
  """So that the same command does not fail on some machines."""
  cpu('flags: avx2')
  monkeypatch.chdir(tmp_path)
  pathlib.Path('recipe.gin').write_text('')
  study = plan.Study(['recipe.gin'], [], 'records/tiny', 'runs', 'recipe')
  change = "in_float32:run.precision='float32'"
  (run,) = plan.of(study, [change], ['0'])
  assert run.change.bindings == ("run.precision='float32'",)
  assert run.name == 'in_float32-seed0'
  plan.check(study, [run])
  override = "{'runtime.mixed_precision_dtype': 'bfloat16'}"
  change = f'overridden:any_experiment.overrides={override}'
  cpu('flags: amx_bf16')
  pathlib.Path('recipe.gin').write_text("run.precision = 'float32'\n")
  plan.check(study, plan.of(study, [change], ['0']))


def test_recipes_are_chosen_without_the_test_images(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'recipe.gin').write_text('run.epochs = 6')
  studies = []
  monkeypatch.setattr(
    processes, 'train_all', lambda study, *_: studies.append(study)
  )

  def call(*bindings):
    flags = {'gin_file': ['recipe.gin'], 'gin_params': [*bindings], 'dev': True}
    flags |= {'seeds': ['0'], 'records_dir': 'dev', 'runs_dir': 'runs'}
    flags |= {'name': None, 'in_turn': None, 'purpose': None}
    monkeypatch.setattr(repeat, 'FLAGS', types.SimpleNamespace(**flags))
    repeat.main([])

  call()
  (study,) = studies
  (run,) = plan.of(study, [], ['0'])
  gin_config.parse(study.files(run), study.all_bindings(run))
  task = experiment.parse_gin_alone().task
  assert task.train_data.tfds_split == 'train[:90%]'
  assert task.validation_data.tfds_split == 'train[90%:]'
  with pytest.raises(UserError, match=r'--dev chooses .* data.test_split='):
    call("data.test_split='test[:9]'")
  assert len(studies) == 1


def test_an_override_does_not_set_the_seed(tmp_path, monkeypatch):
  """Else runs of one seed would count as several."""
  monkeypatch.chdir(tmp_path)
  pathlib.Path('recipe.gin').write_text('')
  override = "any_experiment.overrides = {'runtime.seed': 7}"
  study = plan.Study(
    ['recipe.gin'], [override], 'records/tiny', 'runs', 'recipe'
  )
  plan.check(study, plan.of(study, [], ['7']))
  message = 'recipe-seed0: an override in gin sets runtime.seed=7 instead of'
  with pytest.raises(UserError, match=message):
    plan.check(study, plan.of(study, [], ['0']))
  override = override.replace('runtime', 'task.train_data')
  study = dataclasses.replace(study, bindings=[override])
  with pytest.raises(
    UserError, match=r'gin sets task\.train_data\.seed=7 inst'
  ):
    plan.check(study, plan.of(study, [], ['0']))


def test_a_change_may_repeat_what_all_runs_have_otherwise(
  tmp_path, monkeypatch
):
  """As one that includes its recipe."""
  monkeypatch.chdir(tmp_path)
  pathlib.Path('recipe.gin').write_text('run.epochs = 30\nrun.seed = 0\n')
  pathlib.Path('change.gin').write_text(
    "include 'recipe.gin'\ntriangular.peak_epoch = 2\n"
  )
  bindings = ['run.epochs = 10']
  study = plan.Study(['recipe.gin'], bindings, 'records/x', 'runs', 'recipe')
  plan.check(study, plan.of(study, ['change.gin'], ['1']))
  study = dataclasses.replace(study, bindings=['triangular.peak_epoch=3'])
  message = "change.gin sets 'triangular.peak_epoch = 2', which --gin_par"
  with pytest.raises(UserError, match=message):
    plan.check(study, plan.of(study, ['change.gin'], ['1']))


def test_a_folder_in_use_is_told_before_any_run(tmp_path, monkeypatch):
  """As by the training of a command that was killed."""
  monkeypatch.chdir(tmp_path)
  pathlib.Path('recipe.gin').write_text('')
  study = plan.Study(['recipe.gin'], [], 'records/tiny', 'runs', 'recipe')
  planned = plan.of(study, [], ['0', '1'])
  planned[1].model_dir.mkdir(parents=True)
  plan.check(study, planned)
  with run_dir.held(str(planned[1].model_dir)):
    message = f'seed1 is in use by process {os.getpid()} on '
    with pytest.raises(UserError, match=message):
      plan.check(study, planned)


@pytest.mark.parametrize('text', ['', 'a: [', 'runtime: {}', 'runtime: 3'])
def test_a_run_that_lost_its_config_is_told(tmp_path, text):
  file = tmp_path / 'params.yaml'
  file.write_text(text)
  with pytest.raises(UserError, match='no longer says how it was trained') as e:
    records.check_precision(file, 'float32')
  assert '\n' not in str(e.value)


def test_a_recipe_has_the_name_that_it_is_given(monkeypatch):
  planned = []

  def check(study, found):
    planned.extend(found)
    raise UserError('enough')

  monkeypatch.setattr(plan, 'check', check)
  flags = {'gin_file': ['gin/a.gin'], 'gin_params': [], 'seeds': ['0']}
  flags |= {
    'runs_dir': 'runs',
    'records_dir': 'records/x',
    'in_turn': None,
    'purpose': None,
  }
  flags['dev'] = False
  for name in (None, 'b.2', 'c/d'):
    monkeypatch.setattr(
      repeat, 'FLAGS', types.SimpleNamespace(**flags, name=name)
    )
    message = '--name=c/d is a place; give a' if name == 'c/d' else 'enough'
    with pytest.raises(UserError, match=message):
      repeat.main([])
  assert [run.record.name for run in planned] == (
    ['a-seed0.json', 'b.2-seed0.json']
  )


def test_records_that_cannot_be_written_are_told_before_any_run(tmp_path):
  (tmp_path / 'recipe.gin').write_text('')
  study = plan.Study(
    [str(tmp_path / 'recipe.gin')], [], '/proc', 'runs', 'recipe'
  )
  with pytest.raises(UserError, match='--records_dir=/proc cannot be written'):
    plan.check(study, plan.of(study, [], ['0']))


@pytest.fixture
def fake_process(tmp_path, monkeypatch):
  """Puts a shell script in the place of a process, and returns its runs.

  What it calls `finish` writes the record of a run.
  """
  (tmp_path / 'records').mkdir()

  def fake(script, seeds=('0', '1')):
    for seed in seeds:
      record = json.dumps(example_records.record_of('a', int(seed), 0.5))
      (tmp_path / f'a-seed{seed}').write_text(record)
    finish = f'finish() {{ cp {tmp_path}/$1 {tmp_path}/records/$1.json; }}'
    program = tmp_path / 'python'
    program.write_text(f'#!/bin/sh\n{finish}\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setattr(processes, '_COMMAND', [str(program)])
    monkeypatch.setattr(plan, 'same_runtime', lambda _, runs: [runs])
    folders = str(tmp_path / 'records'), str(tmp_path)
    study = plan.Study(['a.gin'], [], *folders, 'a')
    return study, plan.of(study, [], seeds)

  return fake


def test_a_run_that_fails_does_not_keep_the_others_from_training(
  fake_process, monkeypatch, capsys
):
  """The first ends with status 1; the others go on in a new process."""
  study, _ = fake_process(
    'case "$*" in *a-seed0*) exit 1;; *) finish a-seed1;; esac'
  )
  monkeypatch.setattr(plan, 'check', lambda *_: None)
  flags = {'gin_params': [], 'seeds': ['0', '1'], 'runs_dir': study.runs_dir}
  flags |= {'gin_file': study.gin_files, 'records_dir': study.records_dir}
  flags |= {'name': None, 'in_turn': None, 'purpose': None, 'dev': False}
  monkeypatch.setattr(repeat, 'FLAGS', types.SimpleNamespace(**flags))
  with pytest.raises(RunError, match=r'^a-seed0 failed, as it says above; the'):
    repeat.main([])
  assert [file.name for file in pathlib.Path(study.records_dir).iterdir()] == [
    'a-seed1.json'
  ]
  told = capsys.readouterr()
  assert 'error: a-seed0 ended with status 1; mend' in told.err
  assert '--gin_params=run.seed=0 --model_dir=' in told.err
  assert '50.00' in told.out.splitlines()[-1]


def test_a_process_is_told_which_runs_are_left(fake_process, tmp_path):
  """The second fails, so that the third is trained in another process."""
  study, planned = fake_process(
    f'echo "$*" >> {tmp_path}/told\n'
    'case "$*" in *a-seed0*) finish a-seed0; exit 1;; *) finish a-seed2;; esac',
    ('0', '1', '2'),
  )
  assert processes.train_all(study, planned, ['--x=y', 'c']) == ['a-seed1']
  assert (tmp_path / 'told').read_text().splitlines() == [
    '--in_turn=a-seed0 --in_turn=a-seed1 --in_turn=a-seed2 --x=y c',
    '--in_turn=a-seed2 --x=y c',
  ]


def test_a_training_alone_has_recipe_change_and_seed(tmp_path):
  """A binding for all runs comes last but for the seed."""
  folders = str(tmp_path / 'records'), str(tmp_path)
  study = plan.Study(['a.gin'], ['x.y=1'], *folders, 'a')
  in_file, bound = plan.of(study, ['b/c.gin', 'd: x.z = 2'], ['7'])
  for run, change in (
    (in_file, ['--gin_file=a.gin', '--gin_file=b/c.gin']),
    (bound, ['--gin_file=a.gin', '--gin_params=x.z = 2']),
  ):
    assert study.arguments(run) == [
      *change,
      *('--gin_params=x.y=1', '--gin_params=run.seed=7'),
      f'--model_dir={run.model_dir}',
    ]
  assert [run.name for run in (in_file, bound)] == ['c-seed7', 'd-seed7']


def test_a_signal_before_the_process_listens_is_a_stop(fake_process):
  study, planned = fake_process('finish a-seed0; kill -TERM $$')
  with pytest.raises(Stopped, match=r'goes on with a-seed1') as stop:
    processes.train_all(study, planned, [])
  assert stop.value.status == 128 + signal.SIGTERM


def test_a_terminal_that_closes_is_a_stop(fake_process, monkeypatch):
  # Also where these tests run after `nohup`, which has the signal ignored.
  monkeypatch.setattr(stopping, 'signals', lambda: [signal.SIGHUP])
  study, planned = fake_process('kill -HUP $PPID\nsleep 9')
  with pytest.raises(Stopped, match=r'goes on with a-seed0') as stop:
    processes.train_all(study, planned, [])
  assert stop.value.status == 128 + signal.SIGHUP


def test_a_signal_is_heeded_though_the_training_then_fails(fake_process):
  """As on a full disk: the others do not begin."""
  script = 'trap : TERM\nkill -TERM $PPID\nsleep 0.1\nexit 1'
  study, planned = fake_process(script)
  with pytest.raises(Stopped, match='a-seed0 ended with status 1; m') as stop:
    processes.train_all(study, planned, [])
  assert stop.value.status == 128 + signal.SIGTERM


def test_a_signal_too_late_for_a_process_stops_before_the_next(
  fake_process, monkeypatch
):
  """It comes in the last epoch of a run, whose devices are others."""
  study, planned = fake_process(
    'trap : TERM\nkill -TERM $PPID\nsleep 0.1\nfinish a-seed0'
  )
  monkeypatch.setattr(
    plan, 'same_runtime', lambda _, runs: [[run] for run in runs]
  )
  with pytest.raises(Stopped, match=r'goes on with a-seed1') as stop:
    processes.train_all(study, planned, [])
  assert stop.value.status == 128 + signal.SIGTERM
  assert planned[0].record.exists()


def test_runs_on_other_devices_have_a_process_of_their_own(tmp_path):
  """In another precision, or on parts of the CPU."""
  (tmp_path / 'a.gin').write_text('run.epochs = 12')
  study = plan.Study([str(tmp_path / 'a.gin')], [], 'r', 'runs', 'a')
  changes = [
    "exact: run.precision = 'float32'",
    'long: run.epochs = 24',
    "two: any_experiment.overrides = {'runtime.num_logical_cpus': 2}",
    'longer: run.epochs = 36',
  ]
  planned = plan.of(study, changes, ['0', '1'])
  groups = [
    [run.name for run in group] for group in plan.same_runtime(study, planned)
  ]
  native = ['long-seed0', 'longer-seed0', 'longer-seed1', 'long-seed1']
  exact, two = (
    [f'{name}-seed{seed}' for seed in (0, 1)] for name in ('exact', 'two')
  )
  if devices._cpu_multiplies_bfloat16():
    assert groups == [exact, native, two]
  else:
    assert groups[1:] == [two]
    assert sorted(groups[0]) == sorted(exact + native)


def test_runs_of_other_devices_cannot_share(shapes_dir, tmp_path):
  shared = shared_runs.Shared()
  runtime = common.RuntimeConfig({'seed': 1, 'num_gpus': 0})
  shared.check_runtime(runtime)
  shared.check_runtime(runtime.replace(seed=2))
  with pytest.raises(ValueError, match='have one runtime'):
    shared.check_runtime(runtime.replace(deterministic=True))


def late_signal(arguments, result):
  """Trains in turn; a signal comes when the last step is long done."""
  folder, gin_file = arguments
  os.chdir(folder)
  study = plan.Study([gin_file], [], 'records', 'runs', 'a')
  planned = plan.of(study, [], ['0', '1'])
  finish = writing.finish

  def signal_and_finish(checkpoint):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.5)
    finish(checkpoint)

  writing.finish = signal_and_finish
  try:
    in_turn.train(study, planned, [run.name for run in planned])
  except Stopped as stopped:
    result.put((str(stopped), stopped.signal))


def test_a_signal_in_the_last_write_stops_before_the_next_run(
  shapes_dir, tmp_path
):
  place = f"data.data_dir = '{shapes_dir}'"
  (tmp_path / 'a.gin').write_text('\n'.join([*tiny.BINDINGS, place]))
  (tmp_path / 'records').mkdir()
  result = commands.CONTEXT.SimpleQueue()
  process = commands.CONTEXT.Process(
    target=late_signal, args=((str(tmp_path), 'a.gin'), result)
  )
  process.start()
  process.join(100)
  assert result.get() == ('Stopped after a-seed0.', signal.SIGTERM)
  assert [path.name for path in (tmp_path / 'records').iterdir()] == [
    'a-seed0.json'
  ]


@pytest.fixture(scope='module')
def together(shapes_dir, tmp_path_factory):
  """Two seeds and a change, trained by a command, and each of them alone."""
  folder = tmp_path_factory.mktemp('together')
  place = f"data.data_dir = '{shapes_dir}'"
  more = ['run.deterministic = True', 'small_images.average=@moving_average()']
  (folder / 'recipe.gin').write_text('\n'.join([*tiny.BINDINGS, place, *more]))
  changes = ['wide: resnet9.channels = [4, 8, 8, 16]']
  out = _repeat(folder, '--seeds=0,7', '--name=recipe', *changes)
  assert out.returncode == 0, out.stderr
  out = _repeat(folder, '--seeds=7,0', '--name=recipe')
  assert out.returncode == 0, out.stderr
  return folder, out.stdout


def test_runs_of_one_process_are_those_of_their_own(together, shapes_dir):
  folder, _ = together
  runs_dir = folder / 'runs' / 'tiny'
  for seed in (0, 7):
    study = plan.Study(['recipe.gin'], [], 'records/tiny', 'runs', 'recipe')
    (run,) = plan.of(study, [], [str(seed)])
    alone = folder / f'alone{seed}'
    arguments = [*study.arguments(run)[:-1], f'--model_dir={alone}']
    result = commands.run('train', *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    runs.assert_same_run(alone, runs_dir / run.name)


def test_an_unfinished_run_has_no_record(tmp_path):
  (tmp_path / 'epochs.jsonl').write_text(
    '{"epoch": 1, "step": 97, "total_train_seconds": 3}\n'
  )
  (tmp_path / 'params.yaml').write_text('trainer: {train_steps: 194}\n')
  message = f'^{tmp_path} is not a finished run; train to its end first.$'
  with pytest.raises(UserError, match=message):
    records.make(tmp_path, 'recipe', 'recipe')


@pytest.mark.parametrize('place', ['record', 'run'])
def test_a_name_stands_for_one_training(tmp_path, monkeypatch, place):
  """Comments and places may differ, settings may not."""
  monkeypatch.chdir(tmp_path)
  gin_file = pathlib.Path('recipe.gin')
  gin_file.write_text('run.epochs = 30\n')
  folder = "data.data_dir = '/a/long/path/" + 'x' * 90 + "'"
  study = plan.Study(['recipe.gin'], [folder], 'records/tiny', 'runs', 'recipe')
  (run,) = plan.of(study, [], ['4'])
  text = 'run.epochs = 30\nrun.seed = 4'
  if place == 'record':
    run.record.parent.mkdir(parents=True)
    example_records.write(
      run.record.parent, 'recipe', 4, 0.5, 'run.epochs = 30'
    )
  else:
    run.model_dir.mkdir(parents=True)
    comment = '# Parameters for small_images:\n'
    (run.model_dir / 'requested.gin').write_text(comment + text)
  plan.check(study, [run])
  gin_file.write_text('# As before.\nrun.epochs = 30\n')
  plan.check(study, [run])
  gin_file.write_text('run.epochs = 31\n')
  message = 'settings: trainer.epochs=30 instead of 31; give it another name'
  with pytest.raises(UserError, match=message):
    plan.check(study, [run])
  gin_file.write_text('')
  message = 'settings: trainer.epochs=30 instead of 24; give it another name'
  with pytest.raises(UserError, match=message):
    plan.check(study, [run])


def test_a_variant_has_the_same_settings_with_every_seed(
  tmp_path, monkeypatch, cpu
):
  """Else two trainings would be averaged."""
  cpu('flags: avx2')
  monkeypatch.chdir(tmp_path)
  pathlib.Path('recipe.gin').write_text('run.epochs = 30\n')
  pathlib.Path('change.gin').write_text('cutout.inside = False\n')
  study = plan.Study(['recipe.gin'], [], 'records/tiny', 'runs', 'recipe')
  text = 'run.epochs = 30\n'
  (run,) = plan.of(study, [], ['4'])
  (change,) = plan.of(study, ['change.gin'], ['4'])
  folder = run.record.parent
  folder.mkdir(parents=True)
  changed = f'{text}cutout.inside = False'
  example_records.write(folder, 'recipe', 0, 0.5, text)
  example_records.write(folder, 'change', 0, 0.5, changed)
  plan.check(study, [run, change])
  pathlib.Path('change.gin').write_text('sgd_coupled_decay.momentum = 0.8\n')
  message = (
    r'change with seed 0 in .*: .*cutout.inside=False instead of True and 1 m'
  )
  with pytest.raises(UserError, match=message):
    plan.check(study, [change])
  pathlib.Path('recipe.gin').write_text('run.epochs = 31\n')
  message = r'recipe with seed 0 in .* is of .*trainer\.epochs=30 instead of 31'
  pathlib.Path('another.gin').write_text('')
  for asked in (run, *plan.of(study, ['another.gin'], ['4'])):
    with pytest.raises(UserError, match=message):
      plan.check(study, [asked])
  example_records.write(folder, 'change', 1, 0.5, text)
  message = (
    r'change-seed1\.json is of a training .*\.inside=True instead of False;'
  )
  with pytest.raises(UserError, match=message):
    records.read_all(str(folder))


def test_what_a_change_sets_is_named_as_short_as_is_unambiguous():
  base = example_records.settings_of('run.epochs = 6')
  changed = example_records.settings_of(
    'run.epochs = 7\n'
    "resnet9.kernel_initializer = 'he_uniform'\n"
    "sgd_coupled_decay.lr_groups = [{'pattern': 'a', 'lr_multiplier': 2.0}]\n"
    'run.seed = 1\n'
    'small_images.average = @moving_average()\n'
    'moving_average.average_decay = 0.9\n'
    'sgd_coupled_decay.weight_decay = 5e-05'
  )
  assert brought.by_change(changed, base) == [
    "resnet9.kernel_initializer = 'he_uniform'",
    'sgd_coupled_decay.weight_decay = 5e-05',
    "sgd_coupled_decay.lr_groups = [{'pattern': 'a', 'lr_multiplier': 2.0, "
    "'weight_decay_multiplier': 1.0, 'until_epoch': 0.0, "
    "'compress_schedule': False}]",
    'ema.average_decay = 0.9',
    'run.epochs = 7',
  ]
  assert brought.by_change(base, base) == []
  # What the base has and its change has not.
  assert 'optimizer_config.ema = None' in brought.by_change(base, changed)


def test_a_value_inside_of_a_list_is_what_a_change_sets():
  def of(multiplier, pattern='b'):
    groups = [{'pattern': 'a'}, {'pattern': pattern}]
    groups[1]['lr_multiplier'] = multiplier
    return example_records.settings_of(
      f'sgd_coupled_decay.lr_groups = {groups}'
    )

  sets = brought.by_change(of(3.0), of(2.0))
  assert sets == ['lr_groups[1].lr_multiplier = 3.0']
  assert brought.by_change(of(2.0, 'c'), of(2.0)) == [
    "lr_groups[1].pattern = 'c'"
  ]


def test_groups_in_another_order_are_other_settings(tmp_path):
  """The first that finds a variable counts."""
  there, asked = (
    example_records.settings_of(
      f'sgd_coupled_decay.lr_groups = [{{"pattern": "{one}"}}, '
      f'{{"pattern": "{other}"}}]'
    )
    for one, other in ('ab', 'ba')
  )
  message = r"lr_groups\[0\].pattern='a' instead of 'b' and 1 more"
  with pytest.raises(UserError, match=message):
    settings.check_same(asked, there, tmp_path, 'give up')


def test_counts_that_follow_from_the_epochs_are_no_settings():
  """Else a batch size would be told six times."""
  base = example_records.settings_of()
  changed = example_records.settings_of('data.batch_size = 256')
  sets = ['train_data.global_batch_size = 256']
  assert brought.by_change(changed, base) == sets
  override = "any_experiment.overrides = {'trainer.train_steps': 9}"
  assert brought.by_change(example_records.settings_of(override), base) == [
    'trainer.train_steps = 9'
  ]


def test_the_length_is_told_once_wherever_it_is_set():
  override = "any_experiment.overrides = {'trainer.epochs': 7}"
  asked = example_records.settings_of('run.epochs = 7')
  assert example_records.settings_of(override) == asked
  base = example_records.settings_of()
  assert brought.by_change(asked, base) == ['run.epochs = 7']
  # Of data whose size nothing knows yet, nor then the steps of an epoch.
  base, asked, overridden = (
    example_records.settings_of(f"data.dataset = 'procedural_shapes'\n{more}")
    for more in ('', 'run.epochs = 7', override)
  )
  assert overridden == asked
  assert brought.by_change(asked, base) == ['run.epochs = 7']


def test_data_of_another_size_differ_in_no_count():
  base = example_records.settings_of()
  other = example_records.settings_of("data.dataset = 'procedural_shapes'")
  places = [
    'task.model.num_classes',
    'task.model.input_size',
    'task.train_data.tfds_name',
    'task.validation_data.tfds_name',
  ]
  for one, another in ((base, other), (other, base)):
    found = settings.differences(one, another)
    assert [each.place for each in found] == places
  part = example_records.settings_of("data.train_split = 'train[:5000]'")
  assert brought.by_change(part, base) == [
    "train_data.tfds_split = 'train[:5000]'"
  ]


_RECIPES = [
  name
  for name in gin_files.shipped()
  if not re.match(r'gin/resnet9_(garden|maskrcnn|retinanet|segmentation)', name)
]


def test_most_recipes_are_of_the_experiment_that_is_repeated():
  assert len(gin_files.shipped()) - len(_RECIPES) == 4


@pytest.mark.parametrize('recipe', _RECIPES)
def test_a_recipe_is_read_back_from_its_settings(recipe):
  """Nothing is lost but what follows from the epochs and the data."""
  gin_config.parse([recipe], [])
  params = experiment.parse_gin_alone()
  asked = settings.of(params)
  assert asked == json.loads(json.dumps(asked))
  found = settings.config(asked)
  if params.trainer.steps_per_epoch:
    common.set_steps_per_epoch(found.trainer, params.trainer.steps_per_epoch)
  else:
    common.set_lengths(found.trainer)
  there = found.as_dict()
  assert list(comparison.differences(there, params, Tie.FUTURE)) == []
  assert settings.of(found) == asked


@pytest.fixture
def cpu(tmp_path, monkeypatch):
  """Sets which instructions the machine has."""
  cpuinfo = tmp_path / 'cpuinfo'
  monkeypatch.setattr(devices, '_CPUINFO', cpuinfo)
  return cpuinfo.write_text


def test_records_of_one_precision_are_compared(tmp_path, monkeypatch, cpu):
  """'auto' depends on the machine; a bound precision does not."""
  monkeypatch.chdir(tmp_path)
  pathlib.Path('recipe.gin').write_text('')
  study = plan.Study(['recipe.gin'], [], 'records/tiny', 'runs', 'recipe')
  (run,) = plan.of(study, [], ['4'])
  run.record.parent.mkdir(parents=True)
  example_records.write(run.record.parent, 'recipe', 0, 0.5)
  cpu('flags: avx2')
  plan.check(study, [run])
  cpu('flags: avx2 amx_bf16')
  with pytest.raises(UserError, match=r"recipe-seed4: precision='auto' is bf"):
    plan.check(study, [run])
  pathlib.Path('in_bfloat16.gin').write_text("run.precision = 'bfloat16'\n")
  (changed,) = plan.of(study, ['in_bfloat16.gin'], ['4'])
  plan.check(study, [changed])
  other = example_records.record_of('recipe', 1, 0.5)
  other['runtime'] = {'mixed_precision_dtype': 'bfloat16'}
  bound = "run.precision = 'bfloat16'"
  asked = example_records.record_of('in_bfloat16', 1, 0.5, bound)
  asked['runtime'] = other['runtime']
  place = run.record.with_name('recipe-seed1.json')
  records.write(place, asked)
  assert set(records.read_all('records/tiny')) == {'recipe', 'in_bfloat16'}
  records.write(place, other)
  with pytest.raises(
    UserError, match=r"seed1\.json: precision='auto' was bfloa"
  ):
    records.read_all('records/tiny')


def test_a_run_ends_in_the_precision_it_began_in(tmp_path, monkeypatch, cpu):
  monkeypatch.chdir(tmp_path)
  pathlib.Path('recipe.gin').write_text('')
  study = plan.Study(['recipe.gin'], [], 'records/tiny', 'runs', 'recipe')
  (run,) = plan.of(study, [], ['4'])
  run.model_dir.mkdir(parents=True)
  (run.model_dir / 'requested.gin').write_text('run.seed = 4')
  (run.model_dir / 'params.yaml').write_text(
    'runtime: {mixed_precision_dtype: bfloat16}\n'
  )
  cpu('flags: avx512_bf16')
  plan.check(study, [run])
  cpu('flags: avx2')
  with pytest.raises(UserError, match='has begun in bfloat16, and would go on'):
    plan.check(study, [run])
  # As `official_ext.train`, which does not mind, has gone on with it.
  (run.model_dir / 'params.1.yaml').write_text(
    'runtime: {mixed_precision_dtype: float32}\n'
  )
  cpu('flags: avx512_bf16')
  with pytest.raises(UserError, match='has begun in float32, and would go on'):
    plan.check(study, [run])


def test_what_gin_overrides_counts_in_a_check(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  pathlib.Path('recipe.gin').write_text(
    "any_experiment.overrides = {'runtime.mixed_precision_dtype': 'float31'}\n"
  )
  study = plan.Study(['recipe.gin'], [], 'records/tiny', 'runs', 'recipe')
  with pytest.raises(UserError, match="dtype='float31' must be one of float32"):
    plan.check(study, plan.of(study, [], ['0']))


def test_another_experiment_is_refused(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  pathlib.Path('recipe.gin').write_text('resnet9_retinanet.num_classes = 4\n')
  study = plan.Study(['recipe.gin'], [], 'records/tiny', 'runs', 'recipe')
  with pytest.raises(
    UserError, match='but only small_images is trained here; leave'
  ):
    plan.check(study, plan.of(study, [], ['0']))


def test_a_record_names_all_that_has_trained_it(tmp_path):
  """As a run has it that was gone on with after an update, and once more."""
  (tmp_path / 'epochs.jsonl').write_text(
    '{"epoch": 1, "step": 3, "total_train_seconds": 3, "test_accuracy": 0.5}\n'
  )
  params = 'trainer: {train_steps: 3}\nruntime: {num_gpus: 0, seed: 1, '
  params += 'deterministic: false, distribution_strategy: one_device, '
  params += 'mixed_precision_dtype: float32}\n'
  (tmp_path / 'params.yaml').write_text(params)
  (tmp_path / 'params.1.yaml').write_text(params)
  (tmp_path / 'requested.gin').write_text('')
  versions = [{'commit': name} for name in ('a', 'b', 'c')]
  for name, content in zip(('.1', '.2', ''), versions, strict=True):
    (tmp_path / f'versions{name}.json').write_text(json.dumps(content))
  versions_file = tmp_path / 'versions.json'
  record = records.make(tmp_path, 'recipe', 'recipe')
  assert record['versions'] == versions[2]
  assert record['earlier_versions'] == versions[:2]
  (tmp_path / 'params.1.yaml').write_text(params.replace('t32', 't16'))
  with pytest.raises(UserError, match='has begun in float16, and would go on'):
    records.make(tmp_path, 'recipe', 'recipe')
  (tmp_path / 'params.1.yaml').write_text(params)
  for broken in (lambda: versions_file.write_text('{'), versions_file.unlink):
    broken()
    with pytest.raises(UserError, match='no longer says how it was trained'):
      records.make(tmp_path, 'recipe', 'recipe')


def test_a_checkpoint_to_begin_with_is_in_a_record_without_its_place():
  """Yet it is told from another, and where the data are is not."""

  def of(place, data_dir='/home/me'):
    return example_records.settings_of(
      f"data.data_dir = '{data_dir}'\nsmall_images.init_checkpoint = '{place}'"
    )

  found = of('/home/me/runs/a')
  assert found['task']['init_checkpoint'] == '8d438aa149a27172'
  assert '/home' not in json.dumps(found)
  assert found == of('/home/me/runs/a', '/elsewhere')
  assert settings.differences(found, of('/home/me/runs/b'))


@pytest.mark.parametrize(
  'lines',
  [
    "run.precision = %bits\nbits = 'float32'\n",
    "any_experiment.overrides = {'runtime.mixed_precision_dtype': 'float32'}\n",
  ],
)
def test_a_precision_is_bound_however_gin_says_it(
  tmp_path, monkeypatch, cpu, lines
):
  """It is not 'auto', which was another one in the folder's other records."""
  cpu('flags: amx_bf16')
  monkeypatch.chdir(tmp_path)
  pathlib.Path('recipe.gin').write_text('')
  pathlib.Path('bound.gin').write_text(lines)
  study = plan.Study(['recipe.gin'], [], 'records/tiny', 'runs', 'recipe')
  (run,) = plan.of(study, ['bound.gin'], ['0'])
  run.record.parent.mkdir(parents=True)
  auto = example_records.record_of('recipe', 0, 0.5)
  auto['runtime'] = {'mixed_precision_dtype': 'bfloat16'}
  records.write(run.record.with_name('recipe-seed0.json'), auto)
  plan.check(study, [run])
  bound = example_records.record_of('bound', 0, 0.5, lines)
  assert settings.asked_precision(bound['config']) == 'float32'
  records.write(run.record, bound)
  plan.check(study, [run])
  sets = brought.by_change(bound['config'], auto['config'])
  assert sets == ["run.precision = 'float32'"]


def test_a_checkpoint_may_be_a_macro(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in 'ab':
    pathlib.Path(f'{name}.index').touch()
  pathlib.Path('recipe.gin').write_text(
    "small_images.init_checkpoint = %start\nstart = 'a'\n"
  )
  study = plan.Study(['recipe.gin'], [], 'records/tiny', 'runs', 'recipe')
  (run,) = plan.of(study, [], ['0'])
  plan.check(study, [run])
  run.model_dir.mkdir(parents=True)
  (run.model_dir / 'requested.gin').write_text(gin.config_str())
  plan.check(study, [run])
  (other,) = plan.of(study, ["x:start/macro.value='b'"], ['0'])
  plan.check(study, [other])
  (same,) = plan.of(study, ["x:start/macro.value='a'"], ['0'])
  with pytest.raises(UserError, match='x changes nothing of recipe; leave it'):
    plan.check(study, [same])


def test_runs_go_seed_by_seed(tmp_path):
  study = plan.Study(['gin/a.gin'], [], str(tmp_path / 'noise'), 'runs', 'a')
  planned = plan.of(study, ['gin/x.gin', 'gin/y.gin'], ['0', '7'])
  assert [run.name for run in planned] == (
    ['x-seed0', 'y-seed0', 'y-seed7', 'x-seed7']
  )
  assert planned[3].record == tmp_path / 'noise' / 'x-seed7.json'
  assert planned[3].model_dir == pathlib.Path('runs/noise/x-seed7')
  assert [run.variant for run in plan.of(study, [], ['1', '1'])] == ['a']


def test_records_of_a_variant_are_of_the_same_images(tmp_path):
  """Older ones do not say which; those of another split are not compared."""

  def record(seed, **data):
    content = example_records.record_of('q', seed, 0.5)
    split = {'tfds_name': 'a', 'version': '1.0.0', 'split': 'test'}
    split |= {'num_examples': 2, 'digest': 'crc32:00000001'}
    content['data'] = {'test': split | data}
    records.write(tmp_path / f'q-seed{seed}.json', content)

  example_records.write(tmp_path, 'q', 0, 0.5)
  record(1)
  record(2)
  assert len(records.read_all(str(tmp_path))['q']) == 3
  (tmp_path / 'q-seed0.json').unlink()
  record(2, digest='crc32:00000002')
  message = (
    'q-seed2.json is of a training with other images: '
    "test.digest='crc32:00000002' instead of 'crc32:00000001' with seed 1; "
    'move one of them out of the folder.'
  )
  with pytest.raises(UserError, match=re.escape(message)):
    records.read_all(str(tmp_path))
  record(2, size=1)
  with pytest.raises(UserError, match=r'q-seed2.json is no record of a run'):
    records.read_all(str(tmp_path))


_RECORD = json.dumps(example_records.record_of('q', 1, 0.5))


def test_an_accuracy_is_that_of_the_last_epoch(tmp_path):
  text = _RECORD.replace('"test_accuracy": 0.5', '"test_accuracy": 0.6', 1)
  (tmp_path / 'a.json').write_text(text)
  with pytest.raises(UserError, match='is not that of the last epoch'):
    records.read_all(str(tmp_path))


@pytest.mark.parametrize(
  'text',
  [
    '[1]',
    '{"variant": "q"}',
    '{"variant": "q", "seed": "1"}',
    '',
    _RECORD.replace('mixed_precision_dtype', 'dtype'),
    _RECORD.replace('train_accuracy', 'accuracy'),
    _RECORD.replace('test_loss', 'loss'),
    _RECORD.replace('0.5', '50.0'),
    _RECORD.replace('0.99', '99.0'),
  ],
)
def test_what_is_no_record_is_refused(tmp_path, text):
  (tmp_path / 'a.json').write_text(_RECORD)
  records.read_all(str(tmp_path))
  (tmp_path / 'a.json').write_text(text)
  with pytest.raises(UserError, match=r'a\.json is no record'):
    records.read_all(str(tmp_path))
