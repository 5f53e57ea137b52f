"""The registry of what was taken to the test images."""

import json

import pytest
from helpers import example_records

from official_ext.configuration.gin_config import Change
from official_ext.errors import UserError
from official_ext.repeats import plan, registry, settings
from studies import registry_table

ASKED = 'crop.padding = 2'


def register(folder, variants, seeds, purpose='chosen by --dev'):
  """Registers settings that lines of gin ask for, by variant."""
  asked = {
    name: example_records.settings_of(gin) for name, gin in variants.items()
  }
  registry.register(folder, asked, seeds, purpose)


def lines(folder):
  return (folder / registry.FILE_NAME).read_text().splitlines()


def test_a_candidate_is_registered_once(tmp_path):
  folder = tmp_path / 'records'
  register(folder, {'a': ASKED}, [1, 0])
  for again in ([0, 1], [1]):
    register(folder, {'a': ASKED}, again)
  register(folder, {'a': ASKED}, [0], None)
  (entry,) = registry.read(folder)
  assert (entry.variant, entry.seeds) == ('a', [0, 1])
  assert entry.test_data == 'cifar10 test'
  assert (entry.purpose, entry.previous) == ('chosen by --dev', '')
  assert entry.date.endswith('+00:00')


@pytest.mark.parametrize(
  ('seeds', 'purpose'), [([0, 1, 2], 'chosen by --dev'), ([0], 'once more')]
)
def test_a_second_look_is_refused(tmp_path, seeds, purpose):
  """Under another name, too."""
  register(tmp_path, {'a': ASKED}, [0, 1])
  before = lines(tmp_path)
  with pytest.raises(
    UserError, match=r'b was taken to cifar10 test on 20.* wi'
  ):
    register(tmp_path, {'b': ASKED}, seeds, purpose)
  assert lines(tmp_path) == before


def test_a_folder_with_a_registry_has_nothing_else(tmp_path):
  study, runs = study_of(tmp_path)
  plan.register(study, runs, None)
  assert not list(tmp_path.iterdir())
  register(tmp_path, {'a': ASKED}, [0])
  with pytest.raises(UserError, match='has a registry, and b is not in it'):
    register(tmp_path, {'b': 'crop.padding = 3'}, [0], None)


def test_a_digest_is_of_all_but_the_seeds():
  first, other, changed = (
    settings.digest(example_records.settings_of(gin))
    for gin in (ASKED, f'{ASKED}\nrun.seed = 5', 'crop.padding = 3')
  )
  assert first == other != changed
  assert first.startswith('sha256:')


def test_what_is_changed_or_gone_shows(tmp_path):
  for number in range(3):
    register(tmp_path, {f'v{number}': f'crop.padding = {number}'}, [0])
  path = tmp_path / registry.FILE_NAME
  good = lines(tmp_path)
  assert [entry.variant for entry in registry.read(tmp_path)] == [
    'v0',
    'v1',
    'v2',
  ]
  forged = json.dumps(json.loads(good[0]) | {'purpose': 'another'})
  for bad, line in (
    ([forged, *good[1:]], 2),
    (good[1:], 1),
    ([good[0], good[2]], 2),
    ([*good, 'no line'], 4),
  ):
    path.write_text('\n'.join(bad) + '\n')
    with pytest.raises(UserError, match=f'line {line}: it is not as it was'):
      registry.read(tmp_path)
    with pytest.raises(UserError, match=f'line {line}: it is not as it was'):
      register(tmp_path, {'new': 'crop.padding = 6'}, [0])
    assert path.read_text() == '\n'.join(bad) + '\n'


def study_of(tmp_path, bindings=()):
  study = plan.Study(
    ['gin/resnet9_v100.gin'],
    bindings,
    str(tmp_path / 'records'),
    str(tmp_path / 'runs'),
    'resnet9_v100',
  )
  return study, plan.of(study, ['b:crop.padding=2', 'c:crop.padding=3'], '012')


def test_variants_take_turns_both_ways_round(tmp_path):
  _, runs = study_of(tmp_path)
  assert [run.name for run in runs] == [
    *('b-seed0', 'c-seed0'),
    *('c-seed1', 'b-seed1'),
    *('b-seed2', 'c-seed2'),
  ]
  assert runs[0].change == Change('b', (), ('crop.padding=2',))


def test_all_runs_of_a_command_are_registered(tmp_path):
  study, runs = study_of(tmp_path)
  plan.register(study, runs, 'chosen by --dev')
  found = registry.read(tmp_path / 'records')
  assert [(entry.variant, entry.seeds) for entry in found] == [
    ('b', [0, 1, 2]),
    ('c', [0, 1, 2]),
  ]
  assert found[0].digest != found[1].digest


def test_nothing_is_registered_of_what_leaves_the_test_images_unseen(tmp_path):
  study, runs = study_of(tmp_path, plan.DEV_SPLITS)
  plan.register(study, runs, None)
  with pytest.raises(UserError, match='--dev leaves the test images unseen'):
    plan.register(study, runs, 'mine')
  assert not (tmp_path / 'records').exists()


def test_a_failure_stays_in_the_table(tmp_path):
  folder = tmp_path / 'mine'
  assert registry_table.candidates(str(tmp_path)) == (
    'None was registered yet.\n'
  )
  register(folder, {'a': ASKED, 'b': 'crop.padding = 3'}, [0, 1])
  example_records.write(folder, 'a', 0, 0.9412, ASKED)
  example_records.write(folder, 'a', 7, 0.5, ASKED)
  rows = registry_table.candidates(str(tmp_path)).splitlines()[2:]
  first, second = ([c.strip() for c in row.split('|')[1:-1]] for row in rows)
  assert first[0] == 'mine/a'
  assert first[2:6] == ['chosen by --dev', '0, 1', '1 of 2', '94.12']
  assert second[0] == 'mine/b'
  assert second[3:6] == ['0, 1', '0 of 2', '']
