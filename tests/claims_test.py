"""What pages claim, and the records that have to carry it."""

import json
import re

import pytest
from helpers import example_records
from helpers.commands import ROOT
from scipy import stats

from official_ext.errors import RunError, UserError
from studies import claims, evidence

BASE = [0.900, 0.902, 0.904]
VARIANTS = {
  'recipe': BASE,
  'worse': [0.882, 0.884],
  'alike': [0.901, 0.903],
  'far': [0.500],
}


@pytest.fixture
def folder(tmp_path):
  """Records of a recipe, and of changes to it."""
  for number, (name, accuracies) in enumerate(VARIANTS.items()):
    gin = f'crop.padding = {4 + number}'
    for seed, accuracy in enumerate(accuracies):
      seen = {'test_accuracy_mirror': accuracy + 0.01 + 0.001 * seed}
      example_records.write(tmp_path, name, seed, accuracy, gin, **seen)
  return str(tmp_path)


def test_a_cost_is_beyond_chance_or_not(folder):
  worse = evidence.beyond_chance(folder, 'worse', 2, 3, 2)
  chances = stats.dunnett(
    VARIANTS['worse'], VARIANTS['alike'], control=BASE, rng=0
  ).pvalue
  assert chances[0] < 0.05 < chances[1]
  assert worse.holds
  assert worse.figures == {'points': '1.9', 'p': '< 0.01'}
  assert not evidence.beyond_chance(folder, 'worse', 2, 3, 2, sign=1).holds
  assert not evidence.beyond_chance(folder, 'alike', 2, 3, 2).holds
  assert not evidence.within_chance(folder, 'worse', 2, 3, 2).holds
  alike = evidence.within_chance(folder, 'alike', 2, 3, 2)
  assert alike.holds
  assert alike.told == f'+0.00 points, p {chances[1]:.2f} (dunnett)'


def test_the_same_with_what_seeds_add_taken_out(folder):
  """Seeds add 0, 0.2 and 0.4 points; changes 0.1 and -1.8."""
  assert evidence.beyond_chance(folder, 'worse', 2, 3, 2, by='seeds').holds
  # Nothing is left to chance here, so even a tenth of a point is beyond it.
  assert evidence.beyond_chance(
    folder, 'alike', 2, 3, 2, by='seeds', sign=1
  ).holds
  with pytest.raises(UserError, match="by='luck' is no comparison"):
    evidence.beyond_chance(folder, 'worse', 2, 3, 2, by='luck')


def test_what_is_far_below(folder):
  """Deviation 0.2, 0.14 and 0.14: 0.178 pooled of four degrees."""
  assert evidence.far_below(folder, 'far', 1, 3, 38.0).holds
  assert not evidence.far_below(folder, 'far', 1, 3, 39.0).holds
  with pytest.raises(UserError, match='claim far_below'):
    evidence.beyond_chance(folder, 'far', 1, 3, 2)


def test_means_by_hand(folder):
  """90.2 with a deviation of 0.2: ± 4.302653 × 0.2 ÷ √3 = 0.497."""
  at_least, agrees = evidence.mean_at_least, evidence.mean_agrees
  found = at_least(folder, 'recipe', 3, 89.70)
  assert found.holds
  assert found.figures == {'mean': '90.20', 'half_width': '0.50'}
  assert not at_least(folder, 'recipe', 3, 89.71).holds
  # 1.959964 × 0.1 ÷ √3 = 0.113.
  assert at_least(folder, 'recipe', 3, 90.08, deviation=0.1).holds
  assert not at_least(folder, 'recipe', 3, 90.09, deviation=0.1).holds
  assert agrees(folder, 'recipe', 3, 90.3, within=0.60).holds
  assert not agrees(folder, 'recipe', 3, 90.3, within=0.59).holds
  assert agrees(folder, 'recipe', 3, 91.3, within=1, view='mirror').holds
  # One run has no interval of its own.
  assert not at_least(folder, 'far', 1, 1.0).holds
  assert not agrees(folder, 'far', 1, 50.0, within=9).holds
  with pytest.raises(UserError, match="no view 'shift'; it has mirror"):
    agrees(folder, 'recipe', 3, 91.3, within=1, view='shift')


def test_gains_by_hand(folder):
  """1.9 ± 1.959964 × d × √(1/3 + 1/2); the views gain 1.0, 1.1 and 1.2."""

  def gains(deviation, **asked):
    return evidence.gain_over(
      folder, 'recipe', 'worse', 3, 2, deviation, **asked
    ).holds

  assert gains(1.06)
  assert not gains(1.07)
  assert gains(1.07, shows=False)
  assert gains(1.0, less_than=3.69)
  assert not gains(1.0, less_than=3.68)
  view = evidence.gain_of_view(folder, 'recipe', 'mirror', 3)
  assert view.holds
  assert view.told == '+1.10 ± 0.25 points'
  assert not evidence.gain_of_view(folder, 'far', 'mirror', 1).holds


def test_a_ratio_by_hand(tmp_path):
  """1.9 and 2.1: 2 ± 12.7062 × 0.1."""
  file = tmp_path / 'figures.json'
  file.write_text(json.dumps({'spread': {'a': {'rounds': [1.9, 2.1]}}}))
  found = evidence.ratio(str(file), 'a', 2, at_least=0.72)
  assert found.holds
  assert found.figures['ratio'] == '2.0'
  assert not evidence.ratio(str(file), 'a', 2, at_least=0.73).holds
  assert evidence.ratio(str(file), 'a', 2, at_most=3.28).holds
  assert not evidence.ratio(str(file), 'a', 2, at_most=3.27).holds
  with pytest.raises(UserError, match='a has 2 rounds, not 3 as was'):
    evidence.ratio(str(file), 'a', 3)
  with pytest.raises(UserError, match='has no figure b, but a; name one'):
    evidence.ratio(str(file), 'b', 2)
  with pytest.raises(UserError, match=r'none\.json is no file of figures'):
    evidence.ratio(str(tmp_path / 'none.json'), 'a', 2)


def test_another_number_of_runs_than_was_fixed_fails(folder):
  with pytest.raises(UserError, match='worse has 2 runs, not 5 as was fixed'):
    evidence.beyond_chance(folder, 'worse', 5, 3, 2)
  with pytest.raises(UserError, match='recipe has 3 runs, not 2 as was fixed'):
    evidence.beyond_chance(folder, 'worse', 2, 2, 2)
  with pytest.raises(UserError, match='2 changes are compared, not 3 as was'):
    evidence.beyond_chance(folder, 'worse', 2, 3, 3)
  with pytest.raises(UserError, match='worse has 2 runs, not 1 as was fixed'):
    evidence.gain_over(folder, 'recipe', 'worse', 3, 1, 0.15)


ENTRY = """
worse:
  says: costs {{points}} points
  needs:
    - {{kind: beyond_chance, records: {folder}, variant: {variant}, runs: 2,
        base_runs: 3, comparisons: 2}}
"""


def read(tmp_path, text):
  file = tmp_path / 'claims.yaml'
  file.write_text(text)
  return claims.read(file)


def test_a_sentence_gets_its_figures(folder, tmp_path):
  found = read(tmp_path, ENTRY.format(folder=folder, variant='worse'))
  page = 'It <!-- claim: worse -->costs 9 points<!-- end claim --> more.'
  filled = claims.fill(page, 'page.md', found)
  assert filled == page.replace('9', '1.9')
  # Where the words are the same, lines are left as they are broken.
  broken = filled.replace('1.9 points', '1.9\npoints')
  assert claims.fill(broken, 'page.md', found) == broken
  assert claims.names_in(page) == ['worse']


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('a <!-- claim: worse -->b', 'page.md: a claim has no <!-- end claim -->'),
    ('<!-- claim: worse -->b<!-- end claim -->', 'worse --> begins a line'),
    ('- <!-- claim: worse -->b<!-- end claim -->', 'worse --> begins a line'),
    ('a <!-- claim: worse -->b\n<!-- end claim -->', 'end claim --> begins a'),
    ('a <!-- claim: x -->b<!-- end claim -->', 'claims.yaml has no claim x'),
  ],
)
def test_marks_with_mistakes(folder, tmp_path, text, message):
  found = read(tmp_path, ENTRY.format(folder=folder, variant='worse'))
  with pytest.raises(UserError, match=message):
    claims.fill(text, 'page.md', found)


def test_what_does_not_hold_is_not_written(folder, tmp_path):
  found = read(tmp_path, ENTRY.format(folder=folder, variant='alike'))
  page = 'It <!-- claim: worse -->costs 9 points<!-- end claim --> more.'
  with pytest.raises(UserError, match=r'worse does not hold \(\+0\.00 points'):
    claims.fill(page, 'page.md', found)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('[]', 'is no mapping of names to claims'),
    ('a: b: c', 'is no YAML'),
    ('a: {says: b}', 'a is to have says and needs, and nothing else'),
    ('a: {says: b, needs: []}', 'a needs nothing'),
    ('a: {says: 94, needs: [b]}', 'says=94 is no text'),
    ('a: {says: b, needs: [ratio]}', 'is to be a list of mappings'),
    ('a: {says: b, needs: [{kind: x}]}', "there is no kind 'x'; there are bey"),
    ('a: {says: b, needs: [{kind: ratio}]}', 'ratio: missing a required'),
  ],
)
def test_claims_with_mistakes(tmp_path, text, message):
  with pytest.raises(UserError, match=message):
    read(tmp_path, text)


def test_a_figure_that_is_not_there(folder, tmp_path):
  text = ENTRY.format(folder=folder, variant='worse')
  found = read(tmp_path, text.replace('{points}', '{seconds}'))
  with pytest.raises(UserError, match='that gives points, p'):
    found['worse'].sentence()


def test_every_claim_holds_and_is_made_once(monkeypatch, capsys):
  monkeypatch.chdir(ROOT)
  claims.main()
  told = capsys.readouterr().out
  assert 'FAILS' not in told
  made = [
    name
    for page in (ROOT / 'README.md', *(ROOT / 'docs').glob('*.md'))
    for name in claims.names_in(page.read_text())
  ]
  assert sorted(made) == sorted(claims.read(ROOT / claims.FILE))
  assert {*re.findall(r'^holds  (\w+):', told, re.MULTILINE)} == {*made}


def test_the_command_says_what_fails(folder, tmp_path, monkeypatch, capsys):
  read(tmp_path, ENTRY.format(folder=folder, variant='alike'))
  monkeypatch.chdir(tmp_path)
  with pytest.raises(RunError, match='the records do not carry worse'):
    claims.main()
  assert capsys.readouterr().out.startswith('FAILS  worse: +0.00 points, p ')
