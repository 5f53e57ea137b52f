"""Signals, kills and second starts: a run loses nothing and goes on."""

import functools
import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent import futures

import psutil
import pytest
from helpers import tiny
from helpers.commands import ROOT
from helpers.runs import (
  assert_same_run,
  last_step,
  rows,
  run_with_kills,
  wait_for,
)

from official_ext.command_line import streams
from official_ext.errors import Stopped
from official_ext.machine import stopping
from official_ext.progress import bar as progress
from official_ext.progress import epoch_table
from official_ext.training import trainer


def test_twenty_kills_leave_no_trace(shapes_dir, tmp_path):
  """At random moments, the writing of a checkpoint included."""
  bindings = [
    'run.deterministic = True',
    'run.epochs = 80',
  ]
  run = functools.partial(run_with_kills, shapes_dir, bindings=bindings)
  straight, *killed = (tmp_path / name for name in ('straight', 'one', 'two'))
  with futures.ThreadPoolExecutor() as pool:
    runs = [
      pool.submit(run, model_dir, kills=10, seed=seed)
      for seed, model_dir in enumerate(killed)
    ]
    run(straight, kills=0, seed=0)
  for model_dir, done in zip(killed, runs, strict=True):
    done.result()
    assert_same_run(straight, model_dir)
    assert not list(model_dir.glob('*_temp'))


@pytest.mark.parametrize('mode', ['train_and_eval', 'train'])
def test_a_stop_inside_an_epoch_leaves_no_trace(
  shapes_dir, tmp_path, monkeypatch, mode
):
  """Stopped after steps 1, 4 and 6 of nine, in epochs of three."""
  monkeypatch.setattr(sys, 'argv', ['train.py', '--model_dir=old', '--x=a b'])
  tiny.run(shapes_dir, tmp_path / 'straight', mode=mode)
  steps_end = progress.Progress.steps_end
  for stop_at in (1, 4, 6):
    ended = itertools.count(last_step(tmp_path / 'stopped') + 1)

    def steps_end_and_stop(self, count, ended=ended, stop_at=stop_at):
      steps_end(self, count)
      if self._name == 'train' and next(ended) == stop_at:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)  # Another thread hears it.

    monkeypatch.setattr(progress.Progress, 'steps_end', steps_end_and_stop)
    with pytest.raises(Stopped) as stopped:
      tiny.run(shapes_dir, tmp_path / 'stopped', mode=mode)
    assert stopped.value.status == 143
    assert str(stopped.value) == (
      f'Stopped after step {stop_at} of 9. Go on with: python -m '
      f"official_ext.train '--x=a b' --model_dir {tmp_path / 'stopped'}"
    )
    assert last_step(tmp_path / 'stopped') == stop_at
  monkeypatch.setattr(progress.Progress, 'steps_end', steps_end)
  tiny.run(shapes_dir, tmp_path / 'stopped', mode=mode)
  assert_same_run(tmp_path / 'straight', tmp_path / 'stopped')
  assert [row['step'] for row in rows(tmp_path / 'stopped')] == [3, 6, 9]
  # The seconds of an epoch are those of its parts.
  seconds = [
    row['train_seconds']
    for row in epoch_table.read(tmp_path / 'stopped' / 'epochs.jsonl')
  ]
  assert min(seconds) > 0
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def launch(*arguments):
  return subprocess.Popen(
    [sys.executable, '-m', 'official_ext.train', *arguments],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
  )


def test_signals_and_a_second_run_in_the_folder(shapes_dir, tmp_path):
  """The command as a shell starts it: statuses and what it says."""
  gin_file = tmp_path / 'tiny.gin'
  lines = [*tiny.BINDINGS, f"data.data_dir = '{shapes_dir}'"]
  gin_file.write_text('\n'.join([*lines, 'run.epochs = 9999']))
  run = tmp_path / 'run'
  arguments = ['--gin_file', str(gin_file), '--model_dir', str(run)]
  table = run / 'epochs.jsonl'

  first = launch(*arguments)
  wait_for(table.exists, first)
  second = launch(*arguments)
  _, errors = second.communicate(timeout=60)
  assert second.returncode == 2
  assert f'--model_dir={run} is in use by process {first.pid} on' in errors

  first.send_signal(signal.SIGTERM)
  output, errors = first.communicate(timeout=60)
  assert first.returncode == 143
  assert 'Stopping after this step; once more to stop at once.' in errors
  command = re.search('Go on with: python (.*)', output)[1]
  assert last_step(run) == int(
    re.search(r'after step ([\d,]+)', output)[1].replace(',', '')
  )

  size = table.stat().st_size
  third = launch(*shlex.split(command)[2:])
  wait_for(lambda: table.stat().st_size > size, third)
  third.send_signal(signal.SIGINT)
  output, _ = third.communicate(timeout=60)
  assert third.returncode == 130
  assert 'Going on in' in output

  size = table.stat().st_size
  fourth = launch(*arguments)
  wait_for(lambda: table.stat().st_size > size, fourth)
  fourth.send_signal(signal.SIGSTOP)  # So that it meets both at once.
  fourth.send_signal(signal.SIGTERM)
  fourth.send_signal(signal.SIGINT)
  fourth.send_signal(signal.SIGCONT)
  output, _ = fourth.communicate(timeout=60)
  assert fourth.returncode in (130, 143)
  assert 'Go on with' not in output


@pytest.mark.parametrize(
  ('handler', 'asks'), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)]
)
def test_a_terminal_that_closes(handler, asks):
  """It may send SIGHUP twice; after `nohup` none counts."""
  before = signal.signal(signal.SIGHUP, handler)
  try:
    stop = stopping.StopRequest()
    with stop.on_signals():
      for _ in range(2):
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(0.2)  # Another thread hears it.
    assert signal.getsignal(signal.SIGHUP) == handler
  finally:
    signal.signal(signal.SIGHUP, before)
  assert stop.agree() == asks
  assert stop.signal == (signal.SIGHUP if asks else None)


@pytest.mark.parametrize('connect', [os.pipe, os.openpty])
def test_output_that_nobody_reads_any_more(connect, monkeypatch):
  """As after Ctrl-C, which ends `tee` before the run has been saved.

  A terminal that was closed fails otherwise than a pipe.
  """
  reader, writer = connect()
  with open(writer, 'w') as pipe:
    monkeypatch.setattr(sys, 'stdout', pipe)
    monkeypatch.setattr(sys, 'stderr', sys.stderr)
    streams.outlive_readers()
    print('heard', flush=True)
    assert os.read(reader, 9).split() == [b'heard']
    os.close(reader)
    print('in vain', flush=True)
    print('and again', flush=True)


def test_a_signal_while_the_step_compiles_leaves_no_epoch(
  shapes_dir, tmp_path, monkeypatch
):
  """Nothing is trained, so nothing is evaluated or saved."""
  prepare = trainer.Trainer._prepare

  def prepare_and_stop(self):
    prepare(self)
    self.stop._heard = signal.SIGTERM

  monkeypatch.setattr(trainer.Trainer, '_prepare', prepare_and_stop)
  with pytest.raises(Stopped, match='Stopped after step 0 of 9'):
    tiny.run(shapes_dir, tmp_path)
  monkeypatch.undo()
  assert not list(tmp_path.rglob('*.index'))
  assert rows(tmp_path) == []
  tiny.run(shapes_dir, tmp_path)
  assert [row['step'] for row in rows(tmp_path)] == [3, 6, 9]


_CHILD = (
  'import time; from official_ext.machine import stopping; '
  'stopping.end_with_parent(); print("ready", flush=True); time.sleep(60)'
)
_PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen(
  [sys.executable, '-c', {_CHILD!r}], stdout=subprocess.PIPE,
  start_new_session=True,
)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_process_ends_with_the_one_that_began_it():
  """However that ends."""
  parent = subprocess.Popen(
    [sys.executable, '-c', _PARENT], stdout=subprocess.PIPE, cwd=ROOT
  )
  child = psutil.Process(int(parent.stdout.readline()))
  parent.kill()
  parent.wait()
  psutil.wait_procs([child], timeout=20)
  assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
