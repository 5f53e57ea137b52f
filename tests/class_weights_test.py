"""Images weighted by their class: the numbers, the loss, what is refused."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers import tiny
from official.vision.tasks import image_classification as garden

from official_ext.configs import image_classification as configs
from official_ext.dataloaders.image_source import ImageDataInfo
from official_ext.dataloaders.in_memory import ImageData
from official_ext.errors import UserError
from official_ext.progress import epoch_table
from official_ext.schema import comparison, fields
from official_ext.schema.fields import Tie
from official_ext.tasks import class_weights
from official_ext.tasks.image_classification import ImageClassificationTask

KINDS = [
  {},
  {'one_hot': True, 'label_smoothing': 0.2},
  {'one_hot': True, 'use_binary_cross_entropy': True},
]


def data_of(labels, names=('ant', 'bee', 'cat')):
  shape = (1, 1, 3)
  info = ImageDataInfo('toys train', len(labels), shape, list(names))
  images = tf.zeros([len(labels), *shape], tf.uint8)
  return ImageData(info, images, tf.constant(labels, tf.int32))


def params_of(asked, **losses):
  return configs.ImageClassificationTask(
    losses=configs.Losses(class_weights=asked, **losses),
    model=configs.ImageClassificationModel(num_classes=3),
  )


def task_of(labels, asked, **losses):
  """A task as `build_inputs` leaves it, were these the training labels."""
  task = ImageClassificationTask(params_of(asked, **losses))
  if asked:
    task._class_weights = class_weights.of(asked, data_of(labels))
  return task


def batch_of(labels, one_hot=False):
  logits = np.random.default_rng(0).normal(size=[len(labels), 3])
  labels = tf.one_hot(labels, 3) if one_hot else tf.constant(labels)
  return labels, tf.constant(logits, tf.float32)


def cross_entropies(labels, logits, smoothing=0.0):
  """Of each image, by the formula, in float64."""
  logits = np.float64(logits)
  log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
  truth = np.eye(logits.shape[1])[labels]
  truth = (1 - smoothing) * truth + smoothing / logits.shape[1]
  return -(truth * log_p).sum(1)


def test_balanced_weights_are_those_of_the_formula():
  """Those of scikit-learn: n / (k × n_c)."""
  labels = [0, 1, 1, 2, 2, 2, 2, 2]
  weights = class_weights.of('balanced', data_of(labels))
  assert weights.dtype == np.float32
  assert weights == pytest.approx([8 / 3, 8 / 6, 8 / 15])
  assert weights[labels].mean() == pytest.approx(1)


def test_of_a_list_the_ratios_count():
  labels = [0, 1, 1, 2]
  # 4 images count 2 + 1 + 1 + 4 = 8.
  for asked in ([2.0, 1.0, 4.0], (20, 10, 40)):
    weights = class_weights.of(asked, data_of(labels))
    assert weights.tolist() == [1, 0.5, 2]


def test_a_class_without_images_can_be_in_a_list_only():
  assert class_weights.of([1, 9, 3], data_of([0, 2])).tolist() == [
    0.5,
    4.5,
    1.5,
  ]
  message = "class_weights='balanced' .* toys train has none of bee; add some"
  with pytest.raises(UserError, match=message):
    class_weights.of('balanced', data_of([0, 2]))


def test_a_list_of_another_length_is_refused():
  message = 'class_weights has 2 numbers, but toys train has 3 classes; give'
  with pytest.raises(UserError, match=message):
    class_weights.of([1.0, 2.0], data_of([0, 1, 2]))


NUMBERS = "'balanced', or a list of numbers more than 0, or None"


@pytest.mark.parametrize(
  ('asked', 'message'),
  [
    ('balance', f"='balance' must be {NUMBERS}."),
    ([1.0, 0.0], f'=[1.0, 0.0] must be {NUMBERS}.'),
    ([1.0, float('nan')], f'=[1.0, nan] must be {NUMBERS}.'),
    (2.0, '=2.0 is float, but must be str | list[float] | None.'),
  ],
)
def test_other_values_are_refused(asked, message):
  with pytest.raises(UserError) as raised:
    fields.check(configs.Losses(class_weights=asked), 'losses.')
  assert str(raised.value) == f'losses.class_weights{message}'


@pytest.mark.parametrize('jit_compile', [False, True])
@pytest.mark.parametrize('smoothing', [None, 0.0, 0.2])
def test_the_loss_is_the_weighted_mean(smoothing, jit_compile):
  """None stands for labels that are no vectors."""
  labels = np.array([0, 1, 1, 2, 2, 2, 2, 2], np.int32)
  one_hot = smoothing is not None
  options = {'one_hot': one_hot, 'label_smoothing': smoothing or 0.0}
  task = task_of(labels, 'balanced', loss_weight=2.0, **options)
  truth, logits = batch_of(labels, one_hot)
  loss = tf.function(task.build_losses, jit_compile=jit_compile)
  each = cross_entropies(labels, logits, smoothing or 0.0)
  weights = np.array([8 / 3, 8 / 6, 8 / 15])[labels]
  # Of the weights' own, as a decay of them is, no class has more.
  found = loss(truth, logits, [tf.constant(3.0)])
  assert float(found) == pytest.approx(2 * (np.mean(weights * each) + 3))


@pytest.mark.parametrize('jit_compile', [False, True])
@pytest.mark.parametrize('losses', KINDS)
def test_a_weight_is_as_many_copies(losses, jit_compile):
  """Gradients are those of a data set in which a class is there w times."""
  labels = np.array([0, 0, 0, 1, 2, 2], np.int32)
  copies = np.array([1, 4, 2])[labels]
  images = np.random.default_rng(1).normal(size=[len(labels), 5])
  model = tf_keras.Sequential([tf_keras.layers.Dense(3)])
  model.build([None, 5])

  @tf.function(jit_compile=jit_compile)
  def gradient(task, images, labels):
    if losses:
      labels = tf.one_hot(labels, 3)
    with tf.GradientTape() as tape:
      loss = task.build_losses(labels, model(images))
    return loss, *tape.gradient(loss, model.trainable_variables)

  weighted = gradient(
    task_of(labels, [1.0, 4.0, 2.0], **losses), images, labels
  )
  repeated = gradient(
    task_of(labels, None, **losses),
    images.repeat(copies, axis=0),
    labels.repeat(copies),
  )
  for mine, theirs in zip(weighted, repeated, strict=True):
    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_replicas_add_up_to_the_batch():
  """Each divides by its number of images; so does the batch."""
  labels = np.array([0, 1, 1, 2, 2, 2, 2, 2], np.int32)
  task = task_of(labels, 'balanced')
  truth, logits = batch_of(labels)
  halves = [
    task.build_losses(truth[i : i + 4], logits[i : i + 4]) for i in (0, 4)
  ]
  whole = task.build_losses(truth, logits)
  assert np.mean(halves) == pytest.approx(float(whole), rel=1e-6)


@pytest.mark.parametrize('losses', KINDS)
def test_without_weights_every_bit_is_garden_s(losses):
  labels = np.array([0, 1, 1, 2], np.int32)
  batch = batch_of(labels, bool(losses))
  for asked in (None, [1.0, 1.0, 1.0]):
    task = task_of(labels, asked, **losses)
    expected = garden.ImageClassificationTask(params_of(asked, **losses))
    assert task.build_losses(*batch) == expected.build_losses(*batch)


def test_the_loss_of_the_test_data_is_plain():
  labels = np.array([0, 1, 1, 2, 2, 2, 2, 2], np.int32)
  truth, logits = batch_of(labels)
  metric = task_of(labels, 'balanced')._validation_loss()
  metric.update_state(truth, logits)
  expected = cross_entropies(labels, logits).mean()
  assert float(metric.result()) == pytest.approx(expected)


def test_a_run_that_goes_on_keeps_them(shapes_dir):
  before = tiny.config(shapes_dir).as_dict()
  now = tiny.config(shapes_dir, ["losses.class_weights = 'balanced'"])
  (found,) = comparison.differences(before, now, Tie.RUN)
  assert found.place == 'task.losses.class_weights'
  assert (found.before, found.now) == (None, 'balanced')
  assert not list(comparison.differences(before, now, Tie.WEIGHTS))


def test_a_run_without_images_of_a_class_does_not_begin(shapes_dir, tmp_path):
  few = ["data.train_split = 'train[:30]'", "losses.class_weights = 'balanced'"]
  with pytest.raises(UserError, match=r'train\[:30\] has none of') as raised:
    tiny.run(shapes_dir, tmp_path / 'run', few)
  assert len(raised.value.lines) == 1
  assert not (tmp_path / 'run').exists()


def test_a_run_of_mixed_precision_goes_on_with_them(shapes_dir, tmp_path):
  """A list, which it finds in its folder again, smoothed labels, an average."""
  bindings = [
    'losses.label_smoothing = 0.1',
    'small_images.average = @moving_average()',
    "run.precision = 'bfloat16'",
  ]
  numbers = f'losses.class_weights = {list(map(float, range(1, 11)))}'
  one_epoch = 'trainer: {train_steps: 3, validation_interval: 3}'
  tiny.run(shapes_dir, tmp_path, [*bindings, numbers], one_epoch)
  with pytest.raises(UserError, match='class_weights'):
    tiny.run(shapes_dir, tmp_path, bindings)
  tiny.run(shapes_dir, tmp_path, [*bindings, numbers])
  rows = epoch_table.read(tmp_path / epoch_table.FILE_NAME)
  assert [row['step'] for row in rows] == [3, 6, 9]
