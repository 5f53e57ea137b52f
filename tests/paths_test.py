"""Paths as people write them, and as a run writes them down."""

import pathlib
import re
import types

import pytest
from helpers import commands, small_garden, tiny
from helpers.flags import Flags

from official_ext.configuration import experiment, gin_config
from official_ext.errors import UserError
from official_ext.files import paths
from official_ext.runs import run_dir
from official_ext.serving import trained_model
from official_ext.training import messages


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
  """The home, which is the working directory too."""
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.chdir(tmp_path)
  return tmp_path


def test_a_path_that_means_the_same_everywhere(home):
  assert paths.settled('~/a') == paths.settled('b/../a') == f'{home}/a'
  assert paths.settled('/a') == '/a'
  assert paths.settled('gs://bucket/a') == 'gs://bucket/a'
  assert paths.settled('') == ''


def test_a_checkpoint_is_named_by_any_of_its_files():
  for name in ('ckpt-24', 'ckpt-24.index', 'ckpt-24.data-00000-of-00001'):
    assert paths.checkpoint(name) == 'ckpt-24'
  assert paths.checkpoint('best') == 'best'
  assert paths.checkpoint('my.data') == 'my.data'


def test_an_address_is_no_folder(home):
  assert paths.local('~/a', '--output') == f'{home}/a'
  assert paths.local(pathlib.Path('a'), '--output') == 'a'
  with pytest.raises(UserError) as caught:
    paths.local('gs://bucket/a', '--output')
  assert str(caught.value) == (
    '--output=gs://bucket/a is no folder of this machine; mount it, and name '
    'the folder.'
  )


@pytest.mark.parametrize(
  'arguments',
  [
    ('train', '--mode=eval', '--model_dir'),
    ('report', '--model_dir'),
    ('predict', 'a.png', '--model_dir'),
    ('export', '--export_dir=b', '--model_dir'),
    ('export', '--model_dir=b', '--export_dir'),
    ('repeat', '--gin_file=a', '--seeds=0', '--records_dir'),
  ],
)
def test_every_command_says_so(arguments, home):
  *others, flag = arguments
  if others[0] == 'train':
    others += ['--experiment=resnet_imagenet']
  result = commands.run(*others, f'{flag}=gs://bucket/a', cwd=home)
  message = f'error: {flag}=gs://bucket/a is no folder of this machine; mount '
  assert (result.returncode, result.stdout) == (2, '')
  assert result.stderr.startswith(message)
  assert not (home / 'gs:').exists()


# In an experiment.


def test_a_run_writes_down_whole_paths(home, shapes_dir, trained_run):
  (home / 'data').symlink_to(shapes_dir)
  (home / 'run').symlink_to(trained_run)
  params = tiny.config(
    'data',
    [
      "small_images.init_checkpoint = '~/run/ckpt-9.index'",
      'resnet9.channels = [4, 8, 16, 16]',
    ],
  )
  task = params.task
  for data in (task.train_data, task.validation_data):
    assert data.tfds_data_dir == f'{home}/data'
  assert task.init_checkpoint == f'{home}/run/ckpt-9'


def test_files_of_examples_are_written_down_whole(home):
  override = "task.train_data.input_path='a*, ~/b,gs://c/d',"
  override += "task.validation_data.input_path=['e','']"
  asked = small_garden.experiment_of(
    small_garden.CLASSIFICATION, override=override
  )
  task = asked.params.task
  assert task.train_data.input_path == f'{home}/a*,{home}/b,gs://c/d'
  assert task.validation_data.input_path == [f'{home}/e', '']


def test_files_of_settings_may_be_in_the_home(home):
  gin_config.parse([], [])
  (home / 'a.yaml').write_text('runtime: {seed: 3}')
  (home / 'b.yaml').write_text('runtime: {deterministic: true}')
  flags = Flags(
    experiment='resnet_imagenet',
    config_file=['~/a.yaml'],
    params_override='~/b.yaml',
  )
  runtime = experiment.parse(flags).params.runtime
  assert (runtime.seed, runtime.deterministic) == (3, True)


# TensorFlow has never heard of this kind of address.
UNREACHED = (
  r'=s3://b/a\S* cannot be reached \(File system scheme .* copy it to this '
  r'machine or mount it, and name that\.$'
)


@pytest.mark.parametrize(
  ('place', 'binding'),
  [
    ('task.init_checkpoint', "small_images.init_checkpoint = 's3://b/a'"),
    ('task.train_data.tfds_data_dir', "data.data_dir = 's3://b/a'"),
  ],
)
def test_an_address_that_does_not_answer(shapes_dir, place, binding):
  with pytest.raises(UserError, match=re.escape(place) + UNREACHED):
    tiny.config(shapes_dir, [binding])


def test_the_same_of_files_of_examples(home):
  override = "task.train_data.input_path='s3://b/a*'"
  with pytest.raises(UserError, match='input_path' + UNREACHED):
    small_garden.run(
      small_garden.experiment_of(
        small_garden.CLASSIFICATION, override=override
      ),
      home / 'run',
    )


def test_the_same_of_data_for_a_report(trained_run):
  with pytest.raises(UserError, match='--data_dir' + UNREACHED):
    trained_model.load_for_inference(trained_run, data_dir='s3://b/a')


# Of a run.


def test_a_checkpoint_is_named_as_a_shell_completes_it(home, trained_run):
  (home / 'run').symlink_to(trained_run)
  for name in ('ckpt-6', 'ckpt-6.index', 'run/ckpt-6.index', '~/run/ckpt-6'):
    trained = trained_model.load_for_inference('~/run', name)
    assert (trained.step, trained.model_dir) == (6, f'{home}/run')


def test_a_checkpoint_of_another_run_is_none_of_this(home, trained_run):
  (home / 'run').symlink_to(trained_run)
  (home / 'best').mkdir()
  (home / 'ckpt-4.index').touch()
  assert trained_model.load_for_inference('run', 'best').step in (3, 6, 9)
  with pytest.raises(UserError, match='run/ckpt-4 is no whole checkpoint of'):
    trained_model.load_for_inference('run', 'ckpt-4')


def test_the_last_line_can_be_pasted(capsys):
  with run_dir.chosen('a b/c', [], '') as folder:
    trainer = types.SimpleNamespace(best_checkpoint_export_subdir='best')
    request = types.SimpleNamespace(
      model_dir=folder, params=types.SimpleNamespace(trainer=trainer)
    )
    messages._say_files(request)
  assert capsys.readouterr().out.splitlines()[-1] == (
    "Curves: tensorboard --logdir 'a b/c'"
  )
