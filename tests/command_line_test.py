"""What all commands have in common."""

import pytest
from helpers import commands

COMMANDS = (
  *('train', 'repeat', 'predict', 'report', 'export'),
  *('prepare_data', 'benchmark', 'studies.tables', 'studies.benchmark'),
)


@pytest.mark.parametrize('flag', ['--help', '--helpshort', '--helpfull', '-?'])
@pytest.mark.parametrize('command', COMMANDS)
def test_help_that_is_asked_for_is_no_failure(command, flag):
  result = commands.run(command, flag)
  assert (result.returncode, result.stderr) == (0, '')
  assert 'helpfull' in result.stdout


def test_a_flag_that_does_not_exist_is_one():
  result = commands.run('train', '--helpme')
  assert result.returncode == 2
  assert result.stderr.startswith("error: Unknown command line flag 'helpme'")
