"""Bad days: each damage is done, and the run goes on or ends in one line."""

import ctypes
import os
import re
import resource
import shutil
import signal
import subprocess
import sys

import pytest
import tensorflow as tf
from helpers import tiny
from helpers.commands import ROOT
from helpers.runs import last_step, rows, wait_for

from official_ext.checkpoints import best, folder, writing
from official_ext.errors import RunError, UserError


@pytest.fixture(scope='module')
def two_epochs(shapes_dir, tmp_path_factory):
  """A run of two epochs, with checkpoints at steps 3 and 6."""
  folder = tmp_path_factory.mktemp('two_epochs')
  tiny.run(shapes_dir, folder, override='trainer.train_steps=6')
  return folder


@pytest.fixture
def run(two_epochs, tmp_path):
  """A copy of it, to be damaged."""
  return shutil.copytree(two_epochs, tmp_path / 'run')


def data_of(run, step):
  return run / f'ckpt-{step}.data-00000-of-00001'


def truncate(run):
  os.truncate(data_of(run, 6), data_of(run, 6).stat().st_size // 2)


def flip_a_bit(run):
  data = bytearray(data_of(run, 6).read_bytes())
  data[len(data) // 2] ^= 1
  data_of(run, 6).write_bytes(data)


def lose_the_index(run):
  (run / 'ckpt-6.index').unlink()


def truncate_the_index(run):
  os.truncate(run / 'ckpt-6.index', 100)


def lose_all_of_it(run):
  lose_the_index(run)
  data_of(run, 6).unlink()


@pytest.mark.parametrize(
  'damage',
  [truncate, flip_a_bit, lose_the_index, truncate_the_index, lose_all_of_it],
)
def test_the_checkpoint_before_a_damaged_one(shapes_dir, run, capsys, damage):
  damage(run)
  good = data_of(run, 3).read_bytes()
  tiny.run(shapes_dir, run, override='trainer.train_steps=6')
  out, err = capsys.readouterr()
  assert f'warning: {run}/ckpt-6 is damaged and not used: ' in err
  assert 'from step 3 of 6' in out
  assert data_of(run, 3).read_bytes() == good
  assert [row['step'] for row in rows(run)] == [3, 6]
  # And the new one is whole.
  tiny.run(shapes_dir, run)
  assert 'from step 6 of 9' in capsys.readouterr().out


def lose_the_list(run):
  (run / 'checkpoint').unlink()


def fill_the_list_with_rubbish(run):
  (run / 'checkpoint').write_bytes(b'\xff\x00rubbish')


def list_what_is_not_there(run):
  text = (run / 'checkpoint').read_text()
  (run / 'checkpoint').write_text(text.replace('ckpt-6', 'ckpt-60'))


@pytest.mark.parametrize(
  'damage', [lose_the_list, fill_the_list_with_rubbish, list_what_is_not_there]
)
def test_a_damaged_list_of_checkpoints(shapes_dir, run, capsys, damage):
  damage(run)
  tiny.run(shapes_dir, run, override='trainer.train_steps=6')
  told = capsys.readouterr().out
  assert 'finished, at step 6 of 6' in told
  assert 'Compiling took' not in told  # It took nothing this time.
  state = tf.train.get_checkpoint_state(str(run))
  assert state.all_model_checkpoint_paths == [f'{run}/ckpt-3', f'{run}/ckpt-6']
  # The folder can be moved.
  moved = run.rename(run.with_name('moved'))
  tiny.run(shapes_dir, moved)
  assert last_step(moved) == 9
  assert not data_of(moved, 3).exists()  # One too many, as before.


def test_no_checkpoint_is_whole(shapes_dir, run):
  for step in (3, 6):
    os.truncate(data_of(run, step), 10)
  before = {file: file.stat().st_size for file in run.iterdir()}
  with pytest.raises(
    UserError, match='holds no whole checkpoint; name another'
  ):
    tiny.run(shapes_dir, run)
  assert {file: file.stat().st_size for file in run.iterdir()} == before


def test_evaluation_passes_over_a_damaged_checkpoint(shapes_dir, run, capsys):
  truncate(run)
  list_before = (run / 'checkpoint').read_text()
  tiny.run(shapes_dir, run, mode='eval')
  assert f'Evaluating {run} at step 3.' in capsys.readouterr().out
  assert (run / 'checkpoint').read_text() == list_before


def test_what_a_kill_left_half_written_is_removed(shapes_dir, run):
  (run / 'ckpt-9_temp').mkdir()
  (run / 'ckpt-9_temp' / 'part-00000-of-00001').write_bytes(b'half')
  (run / 'ckpt-9.data-00000-of-00001').write_bytes(b'half')
  tiny.run(shapes_dir, run)
  assert not (run / 'ckpt-9_temp').exists()
  assert last_step(run) == 9


def test_a_damaged_record_of_the_best(shapes_dir, run, capsys):
  record = run / 'best' / 'info.json'
  os.truncate(record, 20)
  tiny.run(shapes_dir, run)
  assert f'warning: {record} is damaged' in capsys.readouterr().err
  assert b'"best_ckpt_global_step": 9.0' in record.read_bytes()


def test_the_best_checkpoint_without_its_list(shapes_dir, run, capsys):
  (run / 'best' / 'checkpoint').unlink()
  tiny.run(shapes_dir, run / 'best', mode='eval')
  assert f'Evaluating {run}/best at step ' in capsys.readouterr().out


def test_the_record_of_the_best_follows_its_checkpoint(tmp_path, monkeypatch):
  """A kill between the two does not leave a record without a checkpoint."""
  exporter = best.BestCheckpointExporter(str(tmp_path), 'accuracy', 'higher')
  checkpoint = tf.train.Checkpoint(x=tf.Variable(1.0))
  seen = []
  write = exporter.export_best_eval_metric
  monkeypatch.setattr(
    exporter,
    'export_best_eval_metric',
    lambda *args: (
      seen.append(tf.train.latest_checkpoint(tmp_path)),
      write(*args),
    ),
  )
  assert exporter.maybe_export_checkpoint(checkpoint, {'accuracy': 0.5}, 3)
  assert not seen
  exporter.write(exporter.take_due(), checkpoint)
  writing.finish(checkpoint)
  assert seen == [str(tmp_path / 'best_ckpt-3')]
  assert not exporter.maybe_export_checkpoint(checkpoint, {'accuracy': 0.4}, 6)
  assert exporter.take_due() is None
  assert len(seen) == 1


@pytest.fixture
def full_disk():
  """Returns a function; after its call no file grows beyond a size.

  To who writes, this looks like a full disk.
  """
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

  def begin(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))

  yield begin
  resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  signal.signal(signal.SIGXFSZ, handler)


def assert_ends_in_one_line(error, run, reason):
  assert re.fullmatch(
    f'--model_dir={run} cannot be written to .*{reason}.; the last good '
    'checkpoint is ckpt-6. Make room, then run the same command .*',
    str(error),
  )


def after_the_evaluation(monkeypatch, function):
  """Calls a function where the next thing to be written is a checkpoint."""
  monkeypatch.setattr(
    best.BestCheckpointExporter,
    'maybe_export_checkpoint',
    lambda *_: function(),
  )


def test_a_full_disk_while_saving(
  shapes_dir, run, full_disk, monkeypatch, capsys
):
  before = {file: file.stat().st_size for file in run.glob('ckpt-[36].*')}
  size = data_of(run, 6).stat().st_size // 2
  after_the_evaluation(monkeypatch, lambda: full_disk(size))
  with pytest.raises(RunError) as error:
    tiny.run(shapes_dir, run)
  assert_ends_in_one_line(error.value, run, 'File too large')
  assert {name: os.path.getsize(name) for name in before} == before
  assert last_step(run) == 6
  # With room again, it goes on.
  full_disk(resource.RLIM_INFINITY)
  monkeypatch.undo()
  tiny.run(shapes_dir, run)
  assert 'from step 6 of 9' in capsys.readouterr().out
  assert [row['step'] for row in rows(run)] == [3, 6, 9]


def without_root_powers():
  """Makes root, as which CI runs, heed the permissions of files."""
  prctl = ctypes.CDLL(None).prctl
  for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def test_a_folder_made_read_only_in_the_middle(shapes_dir, tmp_path):
  run = tmp_path / 'run'
  bindings = [*tiny.BINDINGS, f"data.data_dir = '{shapes_dir}'"]
  process = subprocess.Popen(
    [
      *(sys.executable, '-m', 'official_ext.train', '--model_dir', str(run)),
      *(f'--gin_params={line}' for line in bindings),
      '--gin_params=run.epochs = 9999',
    ],
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    preexec_fn=without_root_powers,
  )
  wait_for(lambda: last_step(run) >= 6, process)
  for path in (run, run / 'best'):
    path.chmod(0o500)
  _, errors = process.communicate(timeout=60)
  for path in (run, run / 'best'):
    path.chmod(0o700)
  assert process.returncode == 1
  error = errors.splitlines()[-1]
  assert error.startswith(f'error: --model_dir={run} cannot be written to (')
  good = re.search('last good checkpoint is (ckpt-[0-9]+)', error)[1]
  folder.read_all(f'{run}/{good}')


def test_weights_that_are_not_finite_are_not_saved(shapes_dir, run):
  before = {file: file.stat().st_mtime_ns for file in run.rglob('*ckpt*')}
  with pytest.raises(RunError, match=r'no longer finite at step 9 .* lower'):
    tiny.run(shapes_dir, run, ['triangular.peak_learning_rate = 1e38'])
  assert {f: f.stat().st_mtime_ns for f in run.rglob('*ckpt*')} == before
  tiny.run(shapes_dir, run)
  assert [row['step'] for row in rows(run)] == [3, 6, 9]
