"""What is made of records: statistics, tables and the plot."""

import json
import re
import types

import numpy as np
import pytest
from helpers import example_records
from helpers.commands import ROOT
from matplotlib import figure
from scipy import stats

from official_ext.errors import UserError
from official_ext.repeats import records, run_figures, summary
from official_ext.runs import right_images
from studies import (
  accuracy_plot,
  cost_plot,
  cost_table,
  figure_tables,
  ledger_table,
  markdown,
  pages,
  plots,
  recipe_table,
  run_cells,
  run_statistics,
  run_tables,
  seed_table,
  tables,
  variance_table,
)


def test_a_summary_by_hand():
  """0.2 and 0.4 are 0.1 from their mean; t of one degree is 12.7062."""
  result = run_figures.summarize([0.2, 0.4])
  assert (result.runs, result.best) == (2, 0.4)
  assert result.mean == pytest.approx(0.3)
  assert result.deviation == pytest.approx(0.02**0.5)
  assert result.half_width == pytest.approx(12.7062047 * 0.1, rel=1e-7)
  assert run_figures.summarize([0.5]) == run_figures.Summary(
    1, 0.5, None, None, 0.5
  )
  # 1.959964 × 0.3 ÷ √2; the deviation stays that of the figures.
  known = run_figures.summarize([0.2, 0.4], 0.3)
  assert known.deviation == pytest.approx(0.02**0.5)
  assert known.half_width == pytest.approx(1.959964 * 0.3 / 2**0.5, rel=1e-6)
  assert run_figures.summarize([0.5], 0.3).deviation is None


def test_a_deviation_of_several_groups_by_hand():
  """Squares: 0.02 of three with one mean, 0.005 of two with another."""
  deviation = run_statistics.pooled_deviation(
    [[0.1, 0.2, 0.3], [0.7], [0.4, 0.5]]
  )
  assert deviation.value == pytest.approx((0.025 / 3) ** 0.5)
  assert deviation.degrees_of_freedom == 3
  assert run_statistics.pooled_deviation([[0.1], [0.5]]) is None


def test_a_difference_by_hand():
  """Deviation 0.1 of three; t of two degrees is 4.302653."""
  above, half_width = run_statistics.difference(
    [0.5], [0.1, 0.2, 0.3], run_statistics.Deviation(0.1, 2)
  )
  assert above == pytest.approx(0.3)
  assert run_statistics.difference([0.5], [0.25], None) == (0.25, None)
  assert half_width == pytest.approx(4.30265273 * 0.1 * (1 + 1 / 3) ** 0.5)


_NO_FLIP = 'small_images.augmentations = [@crop(), @cutout()]'
# What that sets, as a table has it.
_SETS_NO_FLIP = (
  "`train_data.augmentations = [{'type': 'crop', 'crop': {'padding': 4, "
  "'mode': 'reflect', 'stratified': False}}, {'type': 'cutout', 'cutout': "
  "{'size': 8, 'inside': True, 'before_normalization': False}}]`"
)


@pytest.fixture
def folder(tmp_path):
  """Records of two variants."""
  for name, seed, accuracy, gin in (
    ('recipe', 0, 0.90, ''),
    ('recipe', 1, 0.92, ''),
    ('worse', 0, 0.81, _NO_FLIP),
  ):
    record = example_records.record_of(name, seed, accuracy, gin)
    record['epochs'].insert(0, {'train_accuracy': 0.5, 'test_accuracy': 0.5})
    records.write(tmp_path / f'{name}-seed{seed}.json', record)
  return tmp_path


def test_tables_by_hand(folder):
  assert run_tables.runs(str(folder)) == (
    '| recipe | runs | mean, % | deviation | 95% interval | least, % | best, % '
    '| seconds |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n'
    '| recipe | 2 | 91.00 | 1.41 | 78.29 to 103.71 | 90.00 | 92.00 | 1,000 to '
    '1,001 |\n'
    '| worse | 1 | 81.00 |  |  | 81.00 | 81.00 | 1,000 |\n'
  )
  assert run_tables.runs(str(folder), only='worse').splitlines()[2:] == [
    '| worse | 1 | 81.00 |  |  | 81.00 | 81.00 | 1,000 |'
  ]
  assert run_tables.runs(str(folder), target=0.92).splitlines()[2:] == [
    '| recipe | 2 | 91.00 | 1.41 | 78.29 to 103.71 | 90.00 | 92.00 | 1 | 1,000 '
    'to 1,001 |',
    '| worse | 1 | 81.00 |  |  | 81.00 | 81.00 | 0 | 1,000 |',
  ]
  message = 'no record of best, but of recipe, worse; name one'
  with pytest.raises(UserError, match=message):
    run_tables.runs(str(folder), only='best')


def test_a_ledger_by_hand(tmp_path):
  record = example_records.record_of('a', 1, 0.9412)
  record['versions'] = {'tensorflow': '2.20.0', 'cpu': 'AMD EPYC', 'cores': 2}
  record['versions'] |= {'gpu': 'none', 'commit': '1234567'}
  record |= {'compile_seconds': 2.4, 'wall_seconds': 1030.0}
  records.write(tmp_path / 'a-seed1.json', record)
  example_records.write(tmp_path, 'older', 0, 0.5)
  assert ledger_table.ledger(str(tmp_path)).splitlines()[2:] == [
    '| a, seed 1 | 94.12 | AMD EPYC × 2 | float32 | 2.20.0 | 1234567 | 2 | '
    '1,001 | 1,030 |',
    '| older, seed 0 | 50.00 |  | float32 |  |  |  | 1,000 |  |',
  ]
  record['versions']['gpu'] = 'NVIDIA H200'
  records.write(tmp_path / 'a-seed1.json', record)
  assert '| NVIDIA H200 |' in ledger_table.ledger(str(tmp_path))


def test_recipes_by_hand(tmp_path):
  for name, folder, seed, cpu in (
    ('resnet9_v100', '24_epochs', 0, 'AMD EPYC'),
    ('resnet9_v100', '24_epochs', 1, 'AMD EPYC'),
    ('resnet9_v100', '24_epochs', 2, 'Intel Xeon'),
    ('airbench94', 'airbench', 0, 'AMD EPYC'),
  ):
    (tmp_path / folder).mkdir(exist_ok=True)
    record = example_records.record_of(name, seed, 0.94 + 0.001 * seed)
    record['versions'] = {'cpu': cpu, 'cores': 2}
    if folder == 'airbench':
      record['epochs'][-1]['test_accuracy_mirror'] = 0.945
    records.write(tmp_path / folder / f'{name}-seed{seed}.json', record)
  # The fastest run of each machine; six operations a multiply-add.
  assert recipe_table.recipes(str(tmp_path)).splitlines()[2:] == [
    '| resnet9_v100 | 24 | 2.71 | 3 | 94.10 |  | 1,000 (AMD EPYC × 2), 1,002 '
    '(Intel Xeon × 2) |',
    '| airbench94 | 8 | 0.284 | 1 | 94.00 | 94.50 (with the mirror image) | '
    '1,000 (AMD EPYC × 2) |',
  ]


def test_variance_by_hand(tmp_path):
  """Two runs of ten images, of which two differ: 7 and 9 are right.

  Each of the two has a variance of 1/2, so √1 / 10 is the images' alone; the
  deviation is 0.2 / √2, the rest √(0.02 − 0.01).
  """
  split = {'tfds_name': 'x', 'version': '1', 'split': 'test', 'digest': ''}
  for seed, count in enumerate((7, 9)):
    record = example_records.record_of('recipe', seed, count / 10)
    record['data'] = {'test': {**split, 'num_examples': 10}}
    bits = right_images.pack(np.arange(10) < count)
    record['right_images'] = {'accuracy': bits}
    records.write(tmp_path / f'recipe-seed{seed}.json', record)
  example_records.write(tmp_path, 'older', 0, 0.5)
  # 12.7062 × 0.141421 ÷ √2 around the mean.
  assert variance_table.variance(str(tmp_path)).splitlines()[2:] == [
    '| recipe | 2 | 80.00 ± 127.06 | 14.14 | 10.00 | 10.00 | 7 | 1 |'
  ]
  (tmp_path / 'recipe-seed1.json').unlink()
  with pytest.raises(UserError, match='has no variant of two runs whose rec'):
    variance_table.variance(str(tmp_path))


def test_chances_of_several_comparisons():
  assert run_statistics.holm([0.01, 0.04, 0.03]) == pytest.approx(
    [0.03, 0.06, 0.06]
  )
  assert run_statistics.holm([0.6, 0.7]) == [1.0, 1.0]
  assert run_statistics.holm([]) == []
  control = [0.0, 0.1, 0.2]
  groups = [[0.5, 0.6], [0.15, 0.25], [0.05, 0.15]]
  found = run_statistics.dunnett(groups, control)
  squares = 0.02 + 3 * 0.005
  for group, chance in zip(groups, found, strict=True):
    above = np.mean(group) - np.mean(control)
    t = above / np.sqrt(squares / 5 * (1 / 2 + 1 / 3))
    alone = 2 * stats.t.sf(abs(t), 5)
    # Between that of one comparison and Bonferroni's.
    assert alone < chance < min(1.0001, 3 * alone)
  assert found == run_statistics.dunnett(groups, control)


def test_costs_by_hand(folder):
  """12.7062 × 0.0141421 × √(1 + 1/2).

  One comparison is a t-test: t is 1/√3, of one degree, so p 1 − 2/π · 30°.
  """
  example_records.write(folder, 'near', 0, 0.9, _NO_FLIP)
  assert cost_table.costs(str(folder)).splitlines()[2:] == [
    '| recipe |  | 2 | 91.00 |  |  | 99.00 |',
    # Too far for the interval.
    f'| worse | {_SETS_NO_FLIP} | 1 | 81.00 | -10.00 |  | 99.00 |',
    f'| near | {_SETS_NO_FLIP} | 1 | 90.00 | -1.00 ± 22.01 | 0.67 | 99.00 |',
    '',
    'Deviation from run to run behind the intervals: 1.41 points, with 1 '
    'degree of freedom.',
  ]


def test_costs_by_seed_by_hand(folder):
  """Seed 1 adds 0.02 to the recipe, 0.022 to the change: 0.021 to both.

  Residuals of ±0.0005 with one degree of freedom make a deviation of 0.001;
  12.7062 × 0.001 × √(1/2 + 1/2).
  """
  for seed, accuracy in enumerate((0.9, 0.922)):
    loss = 2 - 2 * accuracy
    example_records.write(folder, 'near', seed, accuracy, test_loss=loss)
  table = seed_table.costs_by_seed(str(folder))
  # Losses 0.1 and 0.08, 0.2 and 0.156: a deviation of 0.012.
  assert table.splitlines()[2:] == [
    # With one degree, a t of 1 has a p of 1/2.
    '| near | 2 | +0.10 ± 1.27 | 0.50 | +0.0880 ± 0.1525 |',
    '',
    'Deviation from run to run behind the intervals: 0.10 points, with 1 '
    'degree of freedom; of the loss 0.0120, with as many.',
  ]
  (folder / 'near-seed1.json').unlink()
  # As low as seed 0 of the recipe, and nothing is left to tell chance by.
  table = seed_table.costs_by_seed(str(folder))
  assert table.splitlines()[2:] == ['| near | 1 | +0.00 |  | +0.1000 |']
  (folder / 'near-seed0.json').unlink()
  example_records.write(folder, 'near', 2, 0.9)
  message = 'near has none of the seeds of recipe; train it with seed 0'
  with pytest.raises(UserError, match=message):
    seed_table.costs_by_seed(str(folder))


def test_a_fit_by_seed_gives_what_sums_were_made_of():
  """The third variant has the seed alone in which nothing else is."""
  seeds = {0: 0.0, 1: 0.25, 2: -0.5}
  figures = [
    {seed: 1.0 + seeds[seed] for seed in (0, 1, 2)},
    {seed: 3.0 + seeds[seed] for seed in (1, 0)},
    {seed: 0.5 + seeds[seed] for seed in (2,)},
  ]
  fit = run_statistics.fit_by_seed(figures)
  assert fit.difference(1)[0] == pytest.approx(2)
  assert fit.difference(2)[0] == pytest.approx(-0.5)
  assert fit.deviation.value == pytest.approx(0, abs=1e-12)
  assert fit.deviation.degrees_of_freedom == 1


def test_bold_are_a_change_and_its_parts(folder):
  for name, sets in (
    ('part', _NO_FLIP),
    ('other', 'run.epochs = 7'),
    ('whole', f'head.logit_scale = 1.0\n{_NO_FLIP}'),
    ('more', 'head.logit_scale = 1.0\nrun.epochs = 7'),
    ('nothing', 'run.seed = 0'),
  ):
    example_records.write(folder, name, 0, 0.9, sets)
  lines = cost_table.costs(str(folder), bold='whole').splitlines()[2:-2]
  names = {line.split()[1] for line in lines}
  assert names == {
    'recipe',
    'other',
    'more',
    'nothing',
    '**worse**',
    '**part**',
    '**whole**',
  }
  assert '**' not in cost_table.costs(str(folder))
  with pytest.raises(UserError, match='no record of all, but of worse, more'):
    cost_table.costs(str(folder), bold='all')


def test_a_published_deviation_is_taken_as_known(folder):
  """1.959964 × 0.01 × √(1 + 1/2); for steps × √(1/2 + 1)."""
  example_records.write(folder, 'worse', 0, 0.9)
  lines = cost_table.costs(str(folder), 0.01).splitlines()
  assert '| -1.00 ± 2.40 |' in lines[3]
  told = 'Deviation from run to run behind the intervals: 1.00 points, as '
  told += 'published (in these runs: 1.41 points, with 1 degree of freedom).'
  assert lines[-1] == told
  lines = run_tables.steps(str(folder), 0.01).splitlines()
  assert lines[3] == '| worse | 1 | 90.00 | -1.00 ± 2.40 |'
  assert lines[-1] == told
  # 1.959964 × 0.01 ÷ √2, and of one run.
  lines = run_tables.runs(str(folder), 0.01).splitlines()
  assert lines[2].split(' | ')[3:5] == ['1.41', '89.61 to 92.39']
  assert lines[3].split(' | ')[3:5] == ['', '88.04 to 91.96']
  assert lines[-1] == told
  (folder / 'recipe-seed1.json').unlink()
  lines = cost_table.costs(str(folder), 0.01).splitlines()
  assert lines[-1] == (
    'Deviation from run to run behind the intervals: 1.00 points, as published.'
  )


def test_what_ends_far_away_says_nothing_of_the_deviation(folder):
  """Squares: 0.0002 of the recipe, 0.0008 of a change that ends like it."""
  for name, accuracies in (('like', (0.89, 0.93)), ('worse', (0.81, 0.21))):
    for seed, accuracy in enumerate(accuracies):
      gin = {'like': '', 'worse': _NO_FLIP}[name]
      example_records.write(folder, name, seed, accuracy, gin)
  table = cost_table.costs(str(folder))
  assert table.endswith(': 2.24 points, with 2 degrees of freedom.\n')
  # t of two degrees is 4.302653; × 0.0223607 × √(1/2 + 1/2).
  assert [line.split(' | ')[4] for line in table.splitlines()[3:5]] == [
    '-40.00',
    '+0.00 ± 9.62',
  ]


def test_what_rounds_to_nothing_has_no_minus():
  assert run_cells.with_interval(-0.004, None, 2) == '+0.00'
  assert run_cells.with_interval(-0.006, 0.1, 2) == '-0.01 ± 0.10'


def test_steps_by_hand(tmp_path):
  """Each is compared with the line above; the mirror has a line of its own."""
  for name, seed, accuracy, mirror in (
    ('0_base', 0, 0.5, None),
    ('1_more', 0, 0.7, None),
    ('whole', 0, 0.8, 0.81),
    ('whole', 1, 0.82, 0.85),
  ):
    more = {'test_accuracy_mirror': mirror} if mirror else {}
    example_records.write(tmp_path, name, seed, accuracy, **more)
  # Deviation 0.0141421, one degree of freedom: 12.7062 × √2, then × √(3/2).
  assert run_tables.steps(str(tmp_path)).splitlines()[2:] == [
    '| 0_base | 1 | 50.00 |  |',
    '| 1_more | 1 | 70.00 | +20.00 ± 25.41 |',
    '| whole | 2 | 81.00 | +11.00 ± 22.01 |',
    # Run by run: 0.01 and 0.03, of deviation 0.0141421.
    '| whole, with the mirror image | 2 | 83.00 | +2.00 ± 12.71 |',
    '',
    'Deviation from run to run behind the intervals: 1.41 points, with 1 '
    'degree of freedom.',
  ]
  lines = summary.table(records.read_all(str(tmp_path))).splitlines()
  assert [re.split(' {2,}', line)[-6:] for line in lines[3:]] == [
    ['81.00', '1.41', '68.29 to 93.71', '80.00', '82.00', '1,000 to 1,001'],
    ['83.00', '2.83', '57.59 to 108.41', '81.00', '85.00', '1,000 to 1,001'],
  ]


def test_other_tables_by_hand(tmp_path):
  export = {'name': 'float16.tflite', 'accuracy': 0.9412, 'agreement': 0.9995}
  export |= {'max_difference': 0.00234, 'num_bytes': 13 * 2**19}
  (tmp_path / 'best.json').write_text(json.dumps([export]))
  assert figure_tables.exports(str(tmp_path)).splitlines()[2:] == [
    '| best | float16.tflite | 94.12% | 99.95% | 2e-03 | 6.5 |'
  ]
  recipe = {'images_per_second': 1234.5, 'step_time_over_recipe': 1.0}
  recipe |= {'training_time_over_recipe': 1.0, 'rounds': [900.0, 1000.0]}
  quick = {'images_per_second': 1500.0, 'step_time_over_recipe': 0.981}
  quick |= {'training_time_over_recipe': 0.41, 'rounds': [1000.0, 1250.0]}
  steps = {'variants': {'recipe': recipe, 'quick': quick}}
  (tmp_path / 'best.json').write_text(json.dumps(steps))
  # Round by round 0.9 and 0.8: 12.7062 × 0.0707107 ÷ √2.
  assert figure_tables.step_times(str(tmp_path)).splitlines()[2:] == [
    '| recipe | 1,234 | 1.00 |  | 1.00 |',
    '| quick | 1,500 | 0.98 | 0.85 ± 0.64 | 0.41 |',
  ]
  shares = {'convolutions': 0.583, 'all else': 0.417}
  (tmp_path / 'best.json').write_text(
    json.dumps({'setup': {'profile': shares}})
  )
  assert figure_tables.profile(str(tmp_path)).splitlines() == [
    '| convolutions | all else |',
    '| --- | --- |',
    '| 58% | 42% |',
  ]


def _fill(text):
  return pages.fill(text, 'a.md')


def test_tables_are_put_between_their_marks(folder):
  mark = f'<!-- table: runs {folder} -->\n'
  text = f'before\n{mark}old\n<!-- end table -->\nafter'
  filled = _fill(text)
  assert filled == (
    f'before\n{mark}{run_tables.runs(str(folder))}<!-- end table -->\nafter'
  )
  assert _fill(filled) == filled
  mark = f'<!-- table: costs {folder} deviation=0.5 -->\n'
  assert _fill(f'{mark}<!-- end table -->') == (
    f'{mark}{cost_table.costs(str(folder), 0.005)}<!-- end table -->'
  )
  mark = f'<!-- table: runs {folder} deviation=0.5 only=worse -->\n'
  table = run_tables.runs(str(folder), 0.005, 'worse')
  assert (
    _fill(f'{mark}<!-- end table -->') == f'{mark}{table}<!-- end table -->'
  )
  for kind, option in (('steps', 'only=worse'), ('runs', 'folder=x')):
    message = rf'a\.md: a table of {kind} has no use for {option}; leave it out'
    with pytest.raises(UserError, match=message):
      _fill(f'<!-- table: {kind} {folder} {option} -->\n<!-- end table -->')
  with pytest.raises(UserError, match=r'a\.md: deviation=much is no number of'):
    _fill(f'<!-- table: runs {folder} deviation=much -->\n<!-- end table -->')
  for wrong in ('costs', 'costs records option', ' costs  records'):
    with pytest.raises(UserError, match='begins otherwise than with <!-- tab'):
      _fill(f'<!-- table: {wrong} -->\n<!-- end table -->')
  with pytest.raises(UserError, match='no table of kind lists'):
    _fill('<!-- table: lists records -->\n<!-- end table -->')
  with pytest.raises(UserError, match='no <!-- end table -->'):
    _fill('<!-- table: runs records -->\n')
  with pytest.raises(
    UserError, match=r'a\.md: recods has no \*\.json; name a '
  ):
    _fill('<!-- table: runs recods -->\n<!-- end table -->')


def test_what_costs_are_compared_with_is_the_recipe(folder):
  """Though a change may have as many runs, or more."""
  for seed in range(1, 4):
    example_records.write(folder, 'a_change', seed, 0.8 + seed / 100)
  lines = cost_table.costs(str(folder)).splitlines()[2:-2]
  assert [line.split()[1] for line in lines] == ['recipe', 'worse', 'a_change']
  assert lines[0] == '| recipe |  | 2 | 91.00 |  |  | 99.00 |'
  for file in folder.glob('recipe-*'):
    file.unlink()
  with pytest.raises(UserError, match='no record of recipe, which the others'):
    cost_table.costs(str(folder))
  other = example_records.record_of('other', 0, 0.5) | {'recipe': 'other'}
  records.write(folder / 'other-seed0.json', other)
  with pytest.raises(UserError, match='of changes to other, recipe; give each'):
    cost_table.costs(str(folder))


def test_all_that_a_change_has_otherwise_is_told(tmp_path):
  """Also where its recipe is no longer the one that it was made of."""
  for name, gin in (
    ('recipe', 'run.epochs = 6\nsgd_coupled_decay.momentum = 0.8'),
    ('change', 'run.epochs = 6\nsgd_coupled_decay.nesterov = False'),
  ):
    example_records.write(tmp_path, name, 0, 0.5, gin)
  line = cost_table.costs(str(tmp_path)).splitlines()[3]
  assert line.split(' | ')[1] == (
    '`sgd_coupled_decay.nesterov = False`, `sgd_coupled_decay.momentum = 0.9`'
  )


def test_equal_changes_are_in_the_order_of_their_names(folder):
  names = ['b', 'c', 'a', 'e', 'd']
  for name in names:
    record = example_records.record_of(name, 0, 0.5)
    records.write(folder / f'{name}.json', record)
  lines = cost_table.costs(str(folder)).splitlines()[3:8]
  assert [line.split()[1] for line in lines] == sorted(names)


def test_a_bar_does_not_end_a_cell():
  assert markdown.table(['a'], [['`x|y`']]) == '| a |\n| --- |\n| `x\\|y` |\n'


def test_records_that_are_not_alike_are_refused(tmp_path):
  study = tmp_path / '24_epochs'
  study.mkdir()
  (tmp_path / 'original').mkdir()
  (tmp_path / 'original' / '24_epochs.jsonl').write_text('{"test_acc": 0.4}')
  plain = example_records.record_of('resnet9_v100', 0, 0.5)
  mirror = example_records.record_of(
    'resnet9_v100', 1, 0.5, test_accuracy_mirror=0.6
  )
  mirror['epochs'] *= 2
  for record in (plain, mirror):
    records.write(study / f'{record["seed"]}.json', record)
  for table in (run_tables.runs, run_tables.steps):
    with pytest.raises(UserError, match='1 of the 2 records of resnet9_v100'):
      table(str(study))
  with pytest.raises(UserError, match=r'the runs of ours in .* differ in len'):
    accuracy_plot.curves(tmp_path)


def test_a_run_counts_once(folder):
  """Else a copy would make the intervals narrower than they are."""
  text = (folder / 'recipe-seed1.json').read_text()
  (folder / 'recipe-seed1-copy.json').write_text(text)
  with pytest.raises(
    UserError, match=r'-copy\.json are both of recipe with se'
  ):
    cost_table.costs(str(folder))


@pytest.mark.parametrize(
  ('plot', 'figures'),
  [
    (plots.ALL[0], {'ours': [[0.5, 0.9], [0.6, 0.92]], 'its': [[0.4, 0.94]]}),
    (plots.ALL[1], {'dear': [-1.25, 0.31], 'cheap': [0.02, 0.31]}),
  ],
)
def test_a_plot_keeps_its_figures(plot, figures, tmp_path):
  file = tmp_path / 'docs' / 'plot.svg'
  assert plots.read(file) == {}
  plots.write(plot, figures, file)
  assert plots.read(file) == figures
  text = file.read_text()
  plots.write(plot, figures, file)
  assert file.read_text() == text
  plots.write(plot, {}, file)
  assert not file.exists()


def test_a_plot_of_costs_has_the_dearest_on_top():
  axes = figure.Figure().subplots()
  cost_plot.draw({'dear': [-1.25, 0.5], 'cheap': [0.25, 0.25]}, axes)
  points, *_ = axes.containers[0]
  assert points.get_xydata().tolist() == [[-1.25, 0], [0.25, 1]]
  (bars,) = axes.containers[0].lines[2]
  spans = [path.vertices.tolist() for path in bars.get_paths()]
  assert spans == [[[-1.75, 0], [-0.75, 0]], [[0, 1], [0.5, 1]]]
  assert [label.get_text() for label in axes.get_yticklabels()] == [
    'dear',
    'cheap',
  ]
  bottom, top = axes.get_ylim()
  assert top < 0 < 1 < bottom


def test_costs_are_drawn_with_the_intervals_of_their_table():
  drawn = cost_plot.costs(ROOT / 'records')
  table = seed_table.costs_by_seed(str(ROOT / 'records' / 'causes'))
  rows = [line.split(' | ') for line in table.splitlines() if ' ± ' in line]
  assert {row[0].removeprefix('| '): row[2] for row in rows} == {
    name: f'{above:+.2f} ± {half:.2f}' for name, (above, half) in drawn.items()
  }
  assert len(drawn) >= 10
  assert list(drawn.values()) == sorted(drawn.values())
  assert cost_plot.costs(ROOT / 'records' / 'causes') == {}


def test_a_plot_shows_means_and_ranges_in_percent():
  axes = figure.Figure().subplots()
  accuracy_plot.draw({'ours': [[0.5, 0.9], [0.6, 0.92]], 'its': [[0.94]]}, axes)
  ours, its = (line.get_xydata().tolist() for line in axes.lines)
  assert ours == [[1, pytest.approx(55)], [2, pytest.approx(91)]]
  assert its == [[1, pytest.approx(94)]]
  band, _ = axes.collections
  corners = {(x, round(y, 6)) for x, y in band.get_paths()[0].vertices}
  assert corners == {(1, 50), (1, 60), (2, 90), (2, 92)}
  assert [text.get_text() for text in axes.get_legend().get_texts()] == [
    'ours (mean and range of 2 runs): 91.00% at the end',
    'its (1 run): 94.00% at the end',
  ]
  assert axes.get_ylim() == pytest.approx((77, 95))


def test_a_plot_has_a_longer_training_beside_the_recipe(tmp_path):
  study = tmp_path / '24_epochs'
  study.mkdir()
  (tmp_path / 'original').mkdir()
  (tmp_path / 'original' / '24_epochs.jsonl').write_text(
    '{"test_acc": 0.4}\n{"test_acc": 0.55556}\n'
  )
  for name in ('thirty_epochs', 'resnet9_v100', 'other'):
    example_records.write(study, name, 0, len(name) / 100)
  curves = accuracy_plot.curves(tmp_path)
  assert list(curves.items()) == [
    ('ours', [[0.12]]),
    ('ours, 30 epochs', [[0.13]]),
    ('original', [[0.4, 0.5556]]),
  ]
  plots.write(plots.ALL[0], curves, tmp_path / 'plot.svg')
  assert plots.read(tmp_path / 'plot.svg') == curves


def test_readme_and_plots_agree_with_the_records(monkeypatch, capsys):
  monkeypatch.chdir(ROOT)
  monkeypatch.setattr(tables, 'FLAGS', types.SimpleNamespace(check=True))
  status = tables.main()
  told = capsys.readouterr()
  assert (status, told.err) == (0, '')
  assert told.out == 'All tables and plots agree with the records.\n'


def test_the_same_changes_are_beyond_chance_as_when_the_pages_were_written():
  """If new records change these sets, README and docs/results.md must too."""
  folder = str(ROOT / 'records' / 'causes')

  def cells_of(table):
    lines = (line.split('|')[1:-1] for line in table.splitlines())
    return [[cell.strip() for cell in line] for line in lines if len(line) > 4]

  def beyond_chance(table, column):
    """Names the lines with a p-value below 0.05."""
    names = set()
    for cells in cells_of(table)[2:]:
      chance = cells[column].removeprefix('< ')
      if chance and float(chance) < 0.05:
        names.add(cells[0])
    return names

  def without_0(table, column):
    """Names the lines whose interval does not hold 0."""
    names = set()
    for cells in cells_of(table)[2:]:
      points, _, half_width = cells[column].split()
      if abs(float(points)) > float(half_width):
        names.add(cells[0])
    return names

  clear = {'no_nesterov', 'earlier_port'}
  assert beyond_chance(cost_table.costs(folder), 5) == clear
  by_seed = seed_table.costs_by_seed(folder)
  clear |= {'padding_zero', 'weight_decay_5e-5'}
  assert beyond_chance(by_seed, 3) == clear
  clear |= {'he_uniform', 'cutout_black'}
  assert without_0(by_seed, 4) == clear


def test_what_does_not_agree_is_written(folder, monkeypatch, capsys):
  monkeypatch.chdir(folder)
  study = folder / 'records' / '24_epochs'
  study.mkdir(parents=True)
  (folder / 'records' / 'original').mkdir()
  (folder / 'records' / 'original' / '24_epochs.jsonl').write_text(
    '{"epoch": 1, "test_acc": 0.4177}\n'
  )
  for file in folder.glob('recipe-*.json'):
    text = file.read_text().replace(': "recipe"', ': "resnet9_v100"')
    (study / file.name).write_text(text)
  mark = '<!-- table: runs records/24_epochs -->\n'
  readme_file = folder / 'README.md'
  readme_file.write_text(f'{mark}<!-- end table -->\n')
  page = folder / 'docs' / 'more.md'
  page.parent.mkdir()
  page.write_text(readme_file.read_text())
  for check, status in ((True, 1), (False, 0), (True, 0)):
    monkeypatch.setattr(tables, 'FLAGS', types.SimpleNamespace(check=check))
    assert tables.main() == status
  names = 'README.md', 'docs/more.md', 'docs/accuracy_by_epoch.svg'
  assert capsys.readouterr().err.splitlines() == [
    *(f'{name} does not agree with the records.' for name in names),
    *(f'{name} is written anew from the records.' for name in names),
  ]
  table = run_tables.runs('records/24_epochs')
  assert readme_file.read_text() == f'{mark}{table}<!-- end table -->\n'
  assert page.read_text() == readme_file.read_text()
  assert plots.read(folder / 'docs' / 'accuracy_by_epoch.svg') == {
    'ours': [[0.5, 0.9], [0.5, 0.92]],
    'original': [[0.4177]],
  }
