"""What the commands set before TensorFlow is imported."""

import os
import platform
import subprocess
import sys

import pytest

# A command that tells whether TensorFlow computes with oneDNN.
_COMMAND = """
from official_ext.command_line import cli

def main():
  from tensorflow.python.util import _pywrap_util_port
  print(_pywrap_util_port.IsMklEnabled())

cli.define_flags()
cli.run(main)
"""


def _printed(**environ):
  kept = {k: v for k, v in os.environ.items() if not k.startswith('TF_')}
  ended = subprocess.run(
    [sys.executable, '-c', _COMMAND],
    env=kept | environ,
    capture_output=True,
    text=True,
    check=True,
  )
  assert ended.stderr == ''
  return ended.stdout


@pytest.mark.skipif(
  platform.machine() != 'x86_64', reason='TensorFlow chooses elsewhere'
)
def test_onednn_computes_whatever_the_processor():
  assert _printed() == 'True\n'


def test_what_the_user_has_set_stays():
  assert _printed(TF_ENABLE_ONEDNN_OPTS='0') == 'False\n'
