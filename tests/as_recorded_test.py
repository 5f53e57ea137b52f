"""A run's folder is enough to go on with the run, or to evaluate it."""

import json
import shutil

import pytest
from helpers import commands, small_garden, tiny
from helpers.flags import Flags

from official_ext.errors import UserError
from official_ext.files import safe_yaml
from official_ext.progress import epoch_table
from official_ext.runs import as_recorded, description
from official_ext.training import session

ASKED = (
  '--experiment=small_images',
  '--gin_params=x = "a\n# b"',
  '--mode',
  'train_and_post_eval',
)
BINDINGS = (
  'small_images.average = @moving_average()',
  'moving_average.average_decay = 0.9',
)
OVERRIDE = (
  'trainer.train_steps=3,trainer.max_to_keep=2,'
  'task.losses.l2_weight_decay=0.001,runtime.num_logical_cpus=1'
)


def record(folder, params, arguments=ASKED):
  """Writes what a run writes before it trains, but for its data."""
  folder.mkdir(exist_ok=True)
  description.write(params, str(folder), None, arguments)
  return str(folder)


@pytest.fixture(scope='module')
def stopped(shapes_dir, tmp_path_factory):
  """A run that was stopped after the first of three epochs."""
  folder = tmp_path_factory.mktemp('stopped') / 'run'
  asked = tiny.experiment_of(shapes_dir, BINDINGS, OVERRIDE)
  session.run(asked, 'train_and_eval', str(folder), ASKED)
  return folder


@pytest.fixture
def run(stopped, tmp_path):
  return shutil.copytree(stopped, tmp_path / 'run', symlinks=True)


def test_what_was_asked_for_is_asked_for_again(shapes_dir, tmp_path):
  params = tiny.config(shapes_dir, BINDINGS, OVERRIDE)
  found = as_recorded.parse(record(tmp_path / 'run', params), Flags())
  asked = found.experiment.params.as_dict()
  before = params.as_dict()
  assert asked['runtime'].pop('num_logical_cpus') == 0
  assert before['runtime'].pop('num_logical_cpus') == 1
  assert json.dumps(asked) == json.dumps(before)
  assert found.arguments == list(ASKED)
  assert found.mode == 'train_and_post_eval'


def test_other_experiments_are_known_by_the_command(tmp_path):
  name = small_garden.SEGMENTATION
  params = small_garden.experiment_of(name).params
  folder = record(tmp_path / 'run', params, ['--experiment', name])
  found = as_recorded.parse(folder, Flags())
  assert type(found.experiment.params.task) is type(params.task)
  asked, before = found.experiment.params.as_dict(), params.as_dict()
  assert json.dumps(asked) == json.dumps(before)


def test_a_recipe_may_bind_what_a_run_replaced(shapes_dir, tmp_path):
  params = tiny.config(shapes_dir)
  folder = record(tmp_path / 'run', params)
  with (tmp_path / 'run' / 'requested.gin').open('a') as file:
    file.write('piecewise_linear.values = [0.1, 0.0]\n')
  found = as_recorded.parse(folder, Flags()).experiment.params
  assert found.trainer.as_dict() == params.trainer.as_dict()


def test_data_that_were_moved(shapes_dir, tmp_path):
  params = tiny.config(shapes_dir)
  folder = record(tmp_path / 'run', params)
  file = tmp_path / 'run' / 'params.yaml'
  file.write_text(file.read_text().replace(shapes_dir, '/gone'))
  found = as_recorded.parse(folder, Flags(), shapes_dir).experiment.params.task
  assert found.train_data.tfds_data_dir == shapes_dir
  assert found.validation_data.tfds_data_dir == shapes_dir


def test_a_precision_of_gpus_is_not_asked_of_a_cpu(shapes_dir, tmp_path):
  params = tiny.config(shapes_dir)
  folder = record(tmp_path / 'run', params)
  file = tmp_path / 'run' / 'params.yaml'
  for precision, here in (('bfloat16', 'bfloat16'), ('float16', 'float32')):
    values = safe_yaml.load(file.read_text())
    values['runtime']['mixed_precision_dtype'] = precision
    file.write_text(safe_yaml.dump(values))
    runtime = as_recorded.parse(folder, Flags()).experiment.params.runtime
    if precision == 'bfloat16':
      assert runtime.mixed_precision_dtype == here
    else:
      assert runtime.mixed_precision_dtype != precision


@pytest.mark.parametrize('text', [None, '', '- 1', 'a: ['])
def test_a_folder_that_does_not_tell(tmp_path, text):
  if text is not None:
    (tmp_path / 'params.yaml').write_text(text)
  assert as_recorded.is_in(str(tmp_path)) == (text is not None)
  with pytest.raises(UserError, match=r'holds no params.yaml that tells how'):
    as_recorded.parse(str(tmp_path), Flags())


def test_a_setting_that_there_is_no_longer(shapes_dir, tmp_path):
  params = tiny.config(shapes_dir)
  folder = record(tmp_path / 'run', params)
  with (tmp_path / 'run' / 'params.yaml').open('a') as file:
    file.write('former: 1\n')
  with pytest.raises(UserError, match=r'params.yaml: former does not exist; '):
    as_recorded.parse(folder, Flags())


def test_the_command_goes_on_with_a_run(run):
  """What it was asked for stays as it is recorded."""
  text = (run / 'params.yaml').read_text()
  (run / 'params.yaml').write_text(
    text.replace('train_steps: 3', 'train_steps: 6')
  )
  requested = (run / 'requested.gin').read_text()
  result = commands.run('train', '--model_dir', run, '--mode=train_and_eval')
  assert result.returncode == 0, result.stderr
  assert f'Going on in {run} from step 3 of 6.' in result.stdout
  rows = epoch_table.read(run / 'epochs.jsonl')
  assert [row['step'] for row in rows] == [3, 6]
  assert (run / 'requested.gin').read_text() == requested
  # The number of devices is another.
  assert list(run.glob('*.1.*')) == [run / 'params.1.yaml']


@pytest.mark.parametrize('folder', ['', 'best'])
def test_the_command_evaluates_a_run(run, folder):
  result = commands.run('train', '--mode=eval', '--model_dir', run / folder)
  assert result.returncode == 0, result.stderr
  (row,) = epoch_table.read(run / 'epochs.jsonl')
  line = result.stdout.splitlines()[-1].split()
  assert line[:1] + line[4:6] == [
    '1',
    f'{row["test_loss"]:.4f}',
    f'{row["test_accuracy"]:.4f}',
  ]


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (
      ['--mode=eval', '--model_dir=nowhere'],
      '--model_dir=nowhere holds no params.yaml that tells how it was trained; '
      'name the folder of a run, or say what it is by --gin_file.',
    ),
    (
      ['--data_dir=there', '--gin_params=run.epochs=1'],
      '--data_dir=there goes with the --model_dir of a run alone; bind '
      'data.data_dir in gin.',
    ),
  ],
)
def test_what_the_command_cannot_do(arguments, message):
  result = commands.run('train', *arguments)
  assert result.returncode == 2
  assert result.stderr == f'error: {message}\n'
