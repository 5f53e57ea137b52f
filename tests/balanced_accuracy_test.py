"""Accuracy with each class counting alike: its number, and where it shows."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import tiny

from official_ext.progress import epoch_table
from official_ext.reporting import classes
from official_ext.tasks import balanced_accuracy
from official_ext.tasks.balanced_accuracy import BalancedAccuracy

UNEQUAL = np.array([0, 0, 0, 0, 0, 0, 2, 2, 3])
# Right are 5 of 6, 1 of 2 and none of 1; of class 1 there is no image.
PREDICTED = np.array([0, 0, 1, 0, 0, 0, 2, 3, 1])
EXPECTED = (5 / 6 + 1 / 2 + 0) / 3


def mean_recall(labels, predicted):
  """As scikit-learn defines it, from the images themselves."""
  there = np.unique(labels)
  return np.mean(
    [np.mean(predicted[labels == label] == label) for label in there]
  )


def confusion(labels, predicted, num_classes):
  counts = np.zeros([num_classes, num_classes], int)
  np.add.at(counts, (labels, predicted), 1)
  return counts


def test_it_is_the_mean_over_the_classes_that_there_are():
  assert mean_recall(UNEQUAL, PREDICTED) == pytest.approx(EXPECTED)
  counts = confusion(UNEQUAL, PREDICTED, 4)
  assert float(balanced_accuracy.of(counts)) == pytest.approx(EXPECTED)
  assert float(balanced_accuracy.of(np.zeros([4, 4], int))) == 0


@pytest.mark.parametrize('jit_compile', [False, True])
@pytest.mark.parametrize('one_hot', [False, True])
def test_batches_add_up_to_it(one_hot, jit_compile):
  rng = np.random.default_rng(0)
  labels = rng.choice(7, size=50, p=[0.5, 0.3, 0.1, 0.05, 0.03, 0.02, 0])
  logits = rng.normal(size=[50, 7]) + 2 * np.eye(7)[labels]
  metric = BalancedAccuracy(7, one_hot)

  @tf.function(jit_compile=jit_compile)
  def update(labels, logits):
    metric.update_state(labels, logits)

  for first in range(0, 50, 20):
    some = labels[first : first + 20]
    update(np.eye(7)[some] if one_hot else some, logits[first : first + 20])
  expected = mean_recall(labels, logits.argmax(1))
  assert float(metric.result()) == pytest.approx(expected, abs=1e-12)
  assert expected != np.mean(labels == logits.argmax(1))
  metric.reset_state()
  assert float(metric.result()) == 0


@pytest.mark.parametrize(
  ('images', 'expected'),
  [([5, 5], False), ([5, 0, 5], False), ([5], False), ([5, 6], True)],
)
def test_of_classes_of_equal_size_it_says_no_more(images, expected):
  assert balanced_accuracy.says_more(np.array(images)) == expected


def test_a_report_has_it_where_sizes_differ():
  counts = classes.confusion(UNEQUAL, PREDICTED, 4)
  np.testing.assert_array_equal(counts, confusion(UNEQUAL, PREDICTED, 4))
  assert classes.balanced(counts) == pytest.approx(EXPECTED)
  by_class = classes.results(counts, ['ant', 'bee', 'cat', 'dog'])
  assert [each.accuracy for each in by_class] == [5 / 6, None, 1 / 2, 0]
  assert classes.sentence(6 / 9, classes.balanced(counts), by_class) == (
    'Test accuracy 66.67%, 44.44% as the mean of the classes; lowest of dog, '
    '0.0%.'
  )


def test_a_report_is_silent_of_it_where_they_are_equal():
  counts = np.array([[3, 1], [2, 2]])
  assert classes.balanced(counts) is None
  by_class = classes.results(counts, ['ant', 'bee'])
  assert classes.sentence(5 / 8, None, by_class) == (
    'Test accuracy 62.50%; lowest of bee, 50.0%.'
  )


def test_metrics_of_equal_classes_are_what_they_were(shapes_dir):
  whole = ["data.test_split = 'test'"]
  for bindings, more in ((whole, []), ([], ['balanced_accuracy'])):
    task = tiny.experiment_of(shapes_dir, bindings).build_task()
    names = [metric.name for metric in task.build_metrics(training=False)]
    assert names == ['accuracy', 'top_5_accuracy', 'validation_loss', *more]
    training = [metric.name for metric in task.build_metrics(training=True)]
    assert training == ['accuracy', 'top_5_accuracy']


def test_the_table_has_it_behind_all_other_accuracies(
  shapes_dir, tmp_path, capsys
):
  views = ["evaluation.views = ['mirror']"]
  tiny.run(shapes_dir, tmp_path, views, 'trainer.train_steps=3')
  (row,) = epoch_table.read(tmp_path / epoch_table.FILE_NAME)
  keys = list(row)
  first = keys.index('test_accuracy')
  assert keys[first : first + 3] == [
    'test_accuracy',
    'test_accuracy_mirror',
    'test_balanced_accuracy',
  ]
  lines = capsys.readouterr().out.splitlines()
  head = next(i for i, line in enumerate(lines) if 'train loss' in line)
  assert lines[head].split()[-5:] == (
    ['acc', 'mirror', 'balanced', 'seconds', 'total']
  )
  shown = f'{row["test_balanced_accuracy"]:.4f}'
  assert lines[head + 1].split()[-3] == shown
