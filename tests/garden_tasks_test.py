"""Garden's own tasks with ResNet9, from records to the end of a run."""

import copy
import json
import types

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers import commands, garden_records
from helpers.flags import Flags
from helpers.small_garden import (
  CLASSIFICATION,
  MASKRCNN,
  NAMES,
  ON_FPN,
  RETINANET,
  SEGMENTATION,
  experiment_of,
  run,
)
from official.core import exp_factory, task_factory
from official.modeling import hyperparams
from official.modeling.optimization import optimizer_factory
from official.vision.configs import backbones as garden_backbones
from official.vision.ops import preprocess_ops

from official_ext.configs import validation
from official_ext.configuration import experiment, gin_config
from official_ext.errors import UserError
from official_ext.experiments import garden_parts
from official_ext.schema import fields
from official_ext.schema.fields import Tie
from official_ext.tasks.input_normalization import renormalize

CHANNELS = [8, 16, 16, 32]
RUN = (
  'sgd_cosine.train_steps = 2',
  'sgd_cosine.validation_interval = 1',
  'sgd_cosine.warmup_steps = 0',
  'records.batch_size = 4',
  'records.eval_batch_size = 4',
  f'resnet9.channels = {CHANNELS}',
)


@pytest.fixture(scope='module')
def records(tmp_path_factory):
  """Training and test files, 64 and 6 pictures."""
  folder = tmp_path_factory.mktemp('records')
  return types.SimpleNamespace(
    train=garden_records.write(folder / 'train', range(64)),
    test=garden_records.write(folder / 'test', range(1000, 1006)),
  )


def asked(name, records, bindings=(), override=''):
  """Returns the shipped experiment, made small, on these records."""
  paths = (
    f"records.train_path = '{records.train}'",
    f"records.test_path = '{records.test}'",
  )
  return experiment_of(name, [*paths, *RUN, *bindings], override)


def config(name, records, bindings=(), override=''):
  """Returns the config of the same."""
  return asked(name, records, bindings, override).params


def set_up(params):
  """Returns the task, its model and a batch for training."""
  tf_keras.utils.set_random_seed(0)
  task = task_factory.get_task(params.task)
  model = task.build_model()
  return task, model, next(iter(task.build_inputs(params.task.train_data)))


class Recorder(tf_keras.optimizers.legacy.SGD):
  """Keeps the gradients that a task's own training step applies."""

  def apply_gradients(self, pairs, *args, **kwargs):
    self.pairs = list(pairs)
    return super().apply_gradients(self.pairs, *args, **kwargs)


def fixed_batch_losses(task, model, batch, optimizer, steps):
  step = tf.function(task.train_step)
  return [float(step(batch, model, optimizer)[task.loss]) for _ in range(steps)]


def read_rows(folder):
  text = (folder / 'epochs.jsonl').read_text()
  return [json.loads(row) for row in text.splitlines()]


def assert_trains(name, records, tmp_path):
  """Two steps, an evaluation after each; returns the rows."""
  # To trace detectors takes far longer than two steps without.
  eager = 'trainer.train_tf_function=false,trainer.eval_tf_function=false'
  run(asked(name, records, override=eager), tmp_path)
  rows = read_rows(tmp_path)
  assert [row['step'] for row in rows] == [1, 2]
  assert all(np.isfinite(row['train_loss']) for row in rows)
  return rows


def assert_every_backbone_weight_has_a_gradient(task, model, batch):
  optimizer = Recorder(0.0)
  task.train_step(batch, model, optimizer)
  gradients = {v.ref(): g for g, v in optimizer.pairs}
  assert len(model.backbone.trainable_variables) == 24
  for variable in model.backbone.trainable_variables:
    gradient = gradients[variable.ref()]
    assert gradient is not None, variable.name
    assert np.isfinite(gradient).all(), variable.name
    assert np.any(gradient), variable.name


def assert_keeps_the_best(tmp_path, rows, column, metric):
  best = max(rows, key=lambda row: row[column])
  kept = json.loads((tmp_path / 'best' / 'info.json').read_text())
  assert kept['best_ckpt_global_step'] == best['step']
  assert kept[metric] == pytest.approx(best[column])


def test_the_rate_reaches_its_height_and_falls_to_zero():
  """However short the training is."""
  trainer = garden_parts.SGDCosine(
    train_steps=400, learning_rate=0.5, warmup_steps=100
  ).trainer('AP')
  factory = optimizer_factory.OptimizerFactory(trainer.optimizer_config)
  rate = factory.build_learning_rate()
  rates = [float(rate(step)) for step in (0, 50, 100, 250, 400)]
  assert rates == pytest.approx([0, 0.25, 0.5, 0.25, 0], abs=1e-7)


def test_retinanet_runs(records, tmp_path):
  rows = assert_trains(RETINANET, records, tmp_path)
  assert np.isfinite(rows[-1]['test_loss'])
  assert -1 <= rows[-1]['test_box_ap'] <= 1
  assert_keeps_the_best(tmp_path, rows, 'test_box_ap', 'AP')


def test_maskrcnn_runs(records, tmp_path):
  rows = assert_trains(MASKRCNN, records, tmp_path)
  assert rows[-1]['test_loss'] is None  # Garden computes none.
  assert rows[-1].keys() >= {'test_box_ap', 'test_mask_ap'}
  assert_keeps_the_best(tmp_path, rows, 'test_box_ap', 'AP')


@pytest.mark.parametrize(
  ('name', 'policy'),
  [
    (CLASSIFICATION, 'float32'),
    (SEGMENTATION, 'mixed_bfloat16'),
    (ON_FPN, 'float32'),
    # Their training in float32 is tested below.
    (RETINANET, 'mixed_bfloat16'),
    (MASKRCNN, 'mixed_bfloat16'),
  ],
)
def test_every_backbone_weight_has_a_gradient(records, name, policy):
  tf_keras.mixed_precision.set_global_policy(policy)
  task, model, batch = set_up(config(name, records))
  assert_every_backbone_weight_has_a_gradient(task, model, batch)


def learned(name, records, tmp_path, *bindings):
  """Trains for 60 steps, evaluates at 30 and 60, and returns the rows."""
  lines = (
    'sgd_cosine.train_steps = 60',
    'sgd_cosine.validation_interval = 30',
    'records.batch_size = 16',
    'sgd_cosine.warmup_steps = 5',
    'sgd_cosine.learning_rate = 0.1',
    *bindings,
  )
  run(asked(name, records, lines), tmp_path)
  rows = read_rows(tmp_path)
  assert [row['step'] for row in rows] == [30, 60]
  for row in rows:
    assert np.isfinite([row['train_loss'], row['test_loss']]).all()
  return rows


def test_the_classifier_learns_rectangles_from_discs(records, tmp_path, capsys):
  rows = learned(CLASSIFICATION, records, tmp_path)
  assert rows[-1]['train_loss'] < 0.5
  assert rows[-1]['test_accuracy'] == 1
  assert 'Test accuracy 100.00%' in capsys.readouterr().out
  assert_keeps_the_best(tmp_path, rows, 'test_accuracy', 'accuracy')


def test_the_segmentation_finds_the_figures(records, tmp_path, capsys):
  scale = ('parser.aug_scale_min = 1.0', 'parser.aug_scale_max = 1.0')
  rows = learned(SEGMENTATION, records, tmp_path, *scale)
  # Background alone would give a third of its share, less than 0.3.
  assert rows[-1]['test_mean_iou'] > 0.8
  assert 'test_accuracy' not in rows[-1]
  metrics = rows[-1]['test_metrics']
  classes = {'iou/0', 'iou/1', 'iou/2'}
  assert metrics.keys() == classes | {'mean_iou', 'best_mean_iou'}
  assert metrics['mean_iou'] == pytest.approx(rows[-1]['test_mean_iou'])
  out = capsys.readouterr().out
  assert 'epoch lr train loss test loss test IoU seconds total' in (
    ' '.join(out.split())
  )
  assert f'mean_iou {metrics["mean_iou"]:.4f}' in out
  assert_keeps_the_best(tmp_path, rows, 'test_mean_iou', 'mean_iou')


def test_the_loss_of_retinanet_on_a_batch_falls_by_half(records):
  task, model, batch = set_up(config(RETINANET, records))
  optimizer = tf_keras.optimizers.legacy.Adam(3e-3)
  losses = fixed_batch_losses(task, model, batch, optimizer, 30)
  assert losses[-1] < losses[0] / 2


def test_the_loss_of_maskrcnn_on_a_batch_falls_by_half(records):
  task, model, batch = set_up(config(MASKRCNN, records))
  optimizer = tf_keras.optimizers.legacy.Adam(2e-2)
  losses = [
    float(task.train_step(batch, model, optimizer)[task.loss])
    for _ in range(12)  # Fewer than it takes to trace one.
  ]
  assert losses[-1] < losses[0] / 2


def test_input_is_normalised_by_the_tasks_own_numbers():
  pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3))
  mean, stddev = [125.31, 122.95, 113.87], [62.99, 62.09, 66.70]
  garden = (pixels - preprocess_ops.MEAN_RGB) / preprocess_ops.STDDEV_RGB
  ours = renormalize(tf.constant(garden, tf.float32), mean, stddev)
  np.testing.assert_allclose(ours, (pixels - mean) / stddev, atol=1e-5)


def test_images_reach_the_classifier_normalised(records):
  params = config(CLASSIFICATION, records)
  task = task_factory.get_task(params.task)
  images, _ = next(iter(task.build_inputs(params.task.validation_data)))
  normalization = params.task.normalization
  expected = [
    (garden_records.draw(seed).image - np.array(normalization.mean_rgb))
    / normalization.stddev_rgb
    for seed in range(1000, 1004)
  ]
  np.testing.assert_allclose(images, expected, atol=1e-4)


STOCK = {
  'task.model.backbone.type': 'resnet9',
  'task.model.backbone.resnet9.channels': CHANNELS,
}


def stock(name='image_classification', **flags):
  gin_config.parse([], flags.pop('bindings', []))
  common = (
    'trainer.train_steps=1,trainer.optimizer_config.optimizer.type=sgd,'
    'trainer.optimizer_config.learning_rate.type=constant,'
    'task.train_data.global_batch_size=4,'
    'task.validation_data.global_batch_size=4'
  )
  override = ','.join(filter(None, [common, flags.pop('override', '')]))
  return experiment.parse(
    Flags(experiment=name, params_override=override, **flags)
  )


def test_a_stock_experiment_takes_resnet9_from_each_place(tmp_path):
  file = tmp_path / 'resnet9.yaml'
  file.write_text(
    'task: {model: {backbone: {type: resnet9, '
    f'resnet9: {{channels: {CHANNELS}}}}}}}}}\n'
  )
  listed = ','.join(map(str, CHANNELS))
  override = (
    'task.model.backbone.type=resnet9,'
    f'task.model.backbone.resnet9.channels=[{listed}]'
  )
  for stock_experiment in (
    stock(override=override),
    stock(config_file=[str(file)]),
    stock(bindings=[f'any_experiment.overrides = {STOCK}']),
  ):
    params = stock_experiment.params
    chosen = params.task.model.backbone
    assert chosen.get().channels == CHANNELS
    assert params.as_dict()['task']['model']['backbone']['type'] == 'resnet9'
    model = params.task.model.replace(num_classes=3, input_size=[32, 32, 3])
    built = task_factory.get_task(
      params.task.replace(model=model)
    ).build_model()
    assert built.backbone.name.startswith('res_net9')
  assert not hasattr(garden_backbones.Backbone(), 'resnet9')


@pytest.mark.parametrize(
  ('name', 'side'),
  [
    ('retinanet_resnetfpn_coco', 128),
    ('fasterrcnn_resnetfpn_coco', None),  # To build takes half a minute.
    ('seg_deeplabv3_pascal', 32),
    ('resnet_imagenet', 32),
  ],
)
def test_every_kind_of_experiment_takes_resnet9(name, side):
  overrides = {
    **STOCK,
    'task.init_checkpoint': None,
  }
  if 'deeplab' in name:
    overrides['task.model.decoder.aspp.level'] = 3
    overrides['task.model.head.level'] = 3
  bindings = [f'any_experiment.overrides = {overrides}']
  params = stock(name, bindings=bindings).params
  assert params.task.model.backbone.get().channels == CHANNELS
  if not side:
    return
  smaller = params.task.model.replace(input_size=[side, side, 3])
  task = task_factory.get_task(params.task.replace(model=smaller))
  model = task.build_model()
  assert len(model.backbone.trainable_variables) == 24
  if 'deeplab' in name:
    logits = model(tf.zeros([1, 32, 32, 3]))['logits']
    assert logits.shape == (1, 4, 4, smaller.num_classes)


@pytest.mark.parametrize(
  ('name', 'override', 'message'),
  [
    (
      'seg_deeplabv3_pascal',
      'task.model.backbone.type=resnet9',
      r'aspp.level=4 and task\.model\.head\.level=4 do not exist in resnet9',
    ),
    (
      'seg_deeplabv3_pascal',
      'task.model.backbone.type=resnet9,task.model.decoder.aspp.level=3,'
      'task.model.head.level=2',
      'head.level=2 is not the level of task.model.decoder.aspp.level=3; use',
    ),
    (
      'maskrcnn_spinenet_coco',
      'task.model.backbone.type=resnet9',
      'max_level=7 does not exist in resnet9, .* or decoder.type=fpn',
    ),
    (
      'retinanet_spinenet_coco',
      'task.model.backbone.type=resnet9',
      'max_level=7 does not exist in resnet9, .* or decoder.type=fpn',
    ),
    (
      'fasterrcnn_resnetfpn_coco',
      'task.model.backbone.type=resnet9,task.model.input_size=[300,300,3]',
      r'=\[300, 300\] must be .* 64, the stride of level 6; use \[320, 320\]',
    ),
    (
      'fasterrcnn_resnetfpn_coco',
      'task.model.backbone.type=resnet9,task.model.input_size=[304,304,3],'
      'task.model.min_level=3',
      r'input_size=\[304, 304\] must be multiples of 64',
    ),
    (
      'retinanet_resnetfpn_coco',
      'task.model.backbone.type=resnet9,task.model.input_size=[256,300,3]',
      r'must be .* 128, the stride of level 7; use \[256, 384\]\.$',
    ),
    (
      'seg_deeplabv3_pascal',
      'task.model.backbone.type=resnet9,task.model.decoder.type=fpn,'
      'task.model.head.level=2,task.model.min_level=2,'
      'task.model.input_size=[260,256,3]',
      r'must be multiples of 8, the stride of level 3; use \[264, 256\]',
    ),
    (
      'retinanet_resnetfpn_coco',
      'task.model.backbone.type=resnet9,task.model.min_level=4',
      'task.model.min_level=4 does not exist in resnet9',
    ),
    (
      'image_classification',
      'task.model.backbone.type=resnet7',
      "backbone.type='resnet7' does not exist; .*resnet9",
    ),
    (
      'image_classification',
      'task.model.backbone.resnet9.chanels=[1]',
      'did you mean task.model.backbone.resnet9.channels',
    ),
  ],
)
def test_what_does_not_fit_is_said_in_one_line(name, override, message):
  override += ',task.init_checkpoint=null'
  with pytest.raises(UserError, match=message) as caught:
    stock(name, override=override)
  assert '\n' not in str(caught.value)


MIXED = 'task.train_data.mixup_and_cutmix.prob=1.0'
OF_MIXED = 'needs labels as only task.train_data.mixup_and_cutmix makes them; l'
MIXES = 'task.train_data.mixup_and_cutmix mixes labels, which task.losses.soft'


@pytest.mark.parametrize(
  ('override', 'message'),
  [
    ('task.losses.soft_labels=true', f'soft_labels=True {OF_MIXED}'),
    (
      'task.losses.use_binary_cross_entropy=true',
      f'use_binary_cross_entropy=True {OF_MIXED}',
    ),
    (MIXED, f'{MIXES}_labels=False with one_hot=True does not take; set them'),
    (
      f'{MIXED},task.losses.soft_labels=true',
      f'{MIXES}_labels=True with one_hot=True does not take; set them',
    ),
  ],
)
def test_a_loss_of_other_labels_is_refused(records, override, message):
  with pytest.raises(UserError, match=message):
    config(CLASSIFICATION, records, override=override)


@pytest.mark.parametrize('is_binary', ['false', 'true'])
def test_a_loss_of_mixed_labels_is_trained_on(records, is_binary):
  override = f'{MIXED},task.losses.soft_labels=true,task.losses.one_hot=false'
  override += f',task.losses.use_binary_cross_entropy={is_binary}'
  task, model, batch = set_up(config(CLASSIFICATION, records, (), override))
  losses = fixed_batch_losses(task, model, batch, Recorder(0.1), 2)
  assert losses[1] < losses[0]


def test_a_detector_that_does_not_pad_takes_more_sizes():
  pad = 'parser.pad=false'
  override = f'task.train_data.{pad},task.validation_data.{pad}'
  override += ',task.model.input_size=[300,300,3],task.init_checkpoint=null'
  override += ',task.model.backbone.type=resnet9'
  assert stock('retinanet_resnetfpn_coco', override=override)


@pytest.mark.parametrize(
  ('override', 'message'),
  [
    ('trainer.train_steps=0', 'trainer.train_steps=0 must be at least 1'),
    (
      'trainer.optimizer_config.optimizer.type=null',
      'optimizer_config.optimizer.type=None must be chosen',
    ),
    (
      'task.train_data.global_batch_size=0',
      'task.train_data.global_batch_size=0 must be at least 1',
    ),
  ],
)
def test_what_is_left_open_is_said_before_a_folder_is_made(
  override, message, tmp_path
):
  with pytest.raises(UserError, match=message):
    run(stock(override=override), tmp_path / 'run', 'train')
  assert not (tmp_path / 'run').exists()


def test_contradicting_places_in_gin_are_refused():
  overrides = {'task.model': 1, 'task.model.backbone.type': 'resnet9'}
  with pytest.raises(UserError, match=r"sets 'task\.model\.backbone\.type' in"):
    stock(bindings=[f'any_experiment.overrides = {overrides}'])


@pytest.mark.parametrize(
  ('name', 'bindings', 'message'),
  [
    (
      SEGMENTATION,
      ["resnet9_segmentation.decoder = 'x'"],
      r"decoder.*='x' is str, but must be ASPP \| FPN \| None\.$",
    ),
    (
      ON_FPN,
      ['resnet9_segmentation.input_size = 24'],
      r'must be multiples of 16, the stride of level 4; use \[32, 32\]',
    ),
    (
      SEGMENTATION,
      ['normalization.stddev_rgb = [0, 62, 66]'],
      r'gin: normalization\.stddev_rgb \(command line\)=\[0, 62, 66\] must be '
      'three numbers more than 0',
    ),
    (
      RETINANET,
      ['fpn.num_filters = 0'],
      r'gin: fpn\.num_filters \(command line\)=0 must be at least 1\.$',
    ),
    (
      RETINANET,
      ['resnet9_retinanet.anchor_size = 0.0'],
      r'^task\.model\.anchor\.anchor_size=0\.0 must be more than 0\.$',
    ),
    (
      RETINANET,
      ['backbone.network = @fpn()'],
      r'backbone\.network.*: FPN is no Backbone; there are .*resnet9',
    ),
    (
      RETINANET,
      ['backbone.network = @resnet9'],
      r'a reference to resnet9; write parentheses .* as in @resnet9\(\)\.$',
    ),
    (
      RETINANET,
      ['records.trian_path = "x"'],
      r"named 'trian_path'.* Did you mean records\.train_path\?$",
    ),
    (
      RETINANET,
      ['aspp.num_filters = 8'],
      r'aspp\.num_filters .* has no effect: .* not made of @aspp\(\)',
    ),
    (
      MASKRCNN,
      ['triangular.peak_epoch = 8'],
      r'peak_epoch .* has no effect: .* not made of @triangular\(\)',
    ),
    (
      SEGMENTATION,
      ["runtime.mixed_precision_dtype = 'half'"],
      "mixed_precision_dtype.*='half' must be one of .*, float16, or None",
    ),
    (
      CLASSIFICATION,
      ['normalization.mean_rgb = [1, 2]'],
      r'normalization\.mean_rgb .*=\[1, 2\] must be three numbers\.$',
    ),
    (
      CLASSIFICATION,
      ['resnet9.channels = [1, 2, 3]'],
      r'channels .*=\[1, 2, 3\] must be four numbers of at least 1\.$',
    ),
    (
      CLASSIFICATION,
      ['sgd_cosine.warmup_steps = 2'],
      r'warmup_steps \(command line\)=2 must be less than train_steps=2\.$',
    ),
    (
      MASKRCNN,
      ['resnet9_maskrcnn.num_sampled_rois = 117'],
      'sampled_rois=117 must .* most num_proposals=16 and the 100 boxes of the',
    ),
    (
      MASKRCNN,
      ['resnet9_maskrcnn.num_sampled_masks = 9'],
      'num_sampled_rois=8 must be at least num_sampled_masks=9',
    ),
  ],
)
def test_arguments_that_cannot_work_are_refused(
  records, name, bindings, message
):
  with pytest.raises(UserError, match=message) as caught:
    config(name, records, bindings)
  assert '\n' not in str(caught.value)


def test_files_of_examples_are_there(records):
  params = exp_factory.get_exp_config(SEGMENTATION)
  data, one, other = params.task.train_data, records.train, records.test
  for there in (one, f'{one}*', f'{one}, {other},', [one, f'{other}*']):
    data.input_path = there
    validation.check_files(params, 'train')
  with pytest.raises(UserError, match=r"validation_data.*: '' names no file"):
    validation.check_files(params, 'train_and_eval')
  for missing in (f'{one},{other}/*', [one, f'{other}/*']):
    data.input_path = missing
    with pytest.raises(
      UserError, match=f"data.input_path: '{other}/\\*' names"
    ):
      validation.check_files(params, 'train')
  data.tfds_name = 'cifar10'
  validation.check_files(params, 'train')


def test_the_command_trains_and_goes_on_with_a_stock_experiment(
  records, tmp_path, capsys
):
  overrides = {
    **STOCK,
    'task.model.num_classes': 2,
    'task.model.input_size': [32, 32, 3],
    'task.train_data.input_path': records.train,
    'task.train_data.global_batch_size': 4,
    'task.train_data.decode_jpeg_only': False,
    'task.validation_data.input_path': records.test,
    'task.validation_data.global_batch_size': 4,
    'task.validation_data.decode_jpeg_only': False,
    'task.evaluation.top_k': 2,
    'trainer.train_steps': 2,
    'trainer.steps_per_loop': 1,
    'trainer.summary_interval': 1,
    'trainer.validation_interval': 1,
    'trainer.checkpoint_interval': 1,
    'trainer.optimizer_config.optimizer.type': 'sgd',
    'trainer.optimizer_config.learning_rate.type': 'constant',
    'trainer.optimizer_config.learning_rate.constant.learning_rate': 0.01,
  }
  arguments = (
    *('--experiment', 'image_classification', '--model_dir', tmp_path / 'run'),
    *('--gin_params', f'any_experiment.overrides = {overrides}'),
  )
  result = commands.run('train', *arguments)
  assert result.returncode == 0, result.stderr
  assert 'Training to step 2' in result.stdout
  assert 'Test accuracy' in result.stdout
  longer = stock(
    bindings=[f'any_experiment.overrides = {overrides}'],
    override='trainer.train_steps=3',
  )
  run(longer, tmp_path / 'run')
  assert 'from step 2 of 3' in capsys.readouterr().out
  assert [row['step'] for row in read_rows(tmp_path / 'run')] == [1, 2, 3]


OPTIMIZATION = {
  'optimizer': {
    'type': 'sgd_coupled_decay',
    'sgd_coupled_decay': {
      'momentum': 0.9,
      'lr_groups': [{'pattern': 'beta$', 'lr_multiplier': 0.0}],
    },
  },
  'learning_rate': {
    'type': 'piecewise_linear',
    'piecewise_linear': {
      'epochs': [0.0, 4.0],
      'values': [0.0, 0.8],
      'steps_per_epoch': 1,
    },
  },
  'ema': {'average_decay': 0.75, 'interval': 1},
}


PLACES = {
  'task.train_data.input_path': Tie.FUTURE,
  'task.train_data.global_batch_size': Tie.RUN,
  'task.validation_data.global_batch_size': Tie.FUTURE,
  'task.losses.l2_weight_decay': Tie.RUN,
  'task.init_checkpoint': Tie.FUTURE,
  'task.freeze_backbone': Tie.RUN,
  'task.model.num_classes': Tie.WEIGHTS,
  'task.model.backbone.type': Tie.WEIGHTS,
  'task.model.backbone.resnet9.channels': Tie.WEIGHTS,
  'task.model.norm_activation.norm_epsilon': Tie.WEIGHTS,
  'task.model.norm_activation.norm_momentum': Tie.RUN,
  'trainer.train_steps': Tie.FUTURE,
  'trainer.max_to_keep': Tie.PLACE,
  'trainer.optimizer_config.optimizer.sgd.momentum': Tie.RUN,
  'trainer.optimizer_config.learning_rate.cosine.decay_steps': Tie.FUTURE,
  'runtime.mixed_precision_dtype': Tie.FUTURE,
  'runtime.num_gpus': Tie.PLACE,
  'runtime.seed': Tie.RUN,
}
OF_DETECTORS = {
  'task.annotation_file': Tie.FUTURE,
  'task.per_category_metrics': Tie.FUTURE,
  'task.use_coco_metrics': Tie.FUTURE,
  'task.normalization.mean_rgb': Tie.WEIGHTS,
  'task.train_data.parser.aug_scale_max': Tie.RUN,
  'task.validation_data.parser.max_num_instances': Tie.FUTURE,
  'task.model.anchor.anchor_size': Tie.WEIGHTS,
  'task.model.min_level': Tie.WEIGHTS,
  'task.model.decoder.fpn.num_filters': Tie.WEIGHTS,
  'task.model.detection_generator.nms_iou_threshold': Tie.FUTURE,
}
OWN_PLACES = {
  CLASSIFICATION: {
    'task.normalization.stddev_rgb': Tie.WEIGHTS,
    'task.evaluation.top_k': Tie.FUTURE,
    'task.losses.label_smoothing': Tie.RUN,
    'task.train_data.aug_crop': Tie.RUN,
    'task.validation_data.aug_crop': Tie.FUTURE,
    'task.model.dropout_rate': Tie.RUN,
  },
  SEGMENTATION: {
    'task.export_config.rescale_output': Tie.PLACE,
    'task.allow_image_summary': Tie.PLACE,
    'task.losses.ignore_label': Tie.RUN,
    'task.evaluation.report_per_class_iou': Tie.FUTURE,
    'task.train_data.aug_scale_max': Tie.RUN,
    'task.train_data.image_feature.mean': Tie.WEIGHTS,
    'task.validation_data.image_feature.stddev': Tie.WEIGHTS,
    'task.validation_data.output_size': Tie.FUTURE,
    'task.model.decoder.aspp.dilation_rates': Tie.WEIGHTS,
    'task.model.decoder.aspp.dropout_rate': Tie.RUN,
    'task.model.head.feature_fusion': Tie.WEIGHTS,
  },
  RETINANET: {
    **OF_DETECTORS,
    'task.export_config.output_normalized_coordinates': Tie.PLACE,
    'task.max_num_eval_detections': Tie.FUTURE,
    'task.losses.focal_loss_gamma': Tie.RUN,
    'task.model.head.num_convs': Tie.WEIGHTS,
    'task.model.detection_generator.box_coder_weights': Tie.WEIGHTS,
  },
  MASKRCNN: {
    **OF_DETECTORS,
    'task.allowed_mask_class_ids': Tie.RUN,
    'task.use_approx_instance_metrics': Tie.FUTURE,
    'task.train_data.parser.rpn_fg_fraction': Tie.RUN,
    'task.model.include_mask': Tie.WEIGHTS,
    'task.model.detection_head.fc_dims': Tie.WEIGHTS,
    'task.model.roi_generator.num_proposals': Tie.RUN,
    'task.model.roi_generator.test_num_proposals': Tie.FUTURE,
    'task.model.roi_sampler.num_sampled_rois': Tie.RUN,
    'task.model.roi_sampler.cascade_iou_thresholds': Tie.WEIGHTS,
    'task.model.mask_sampler.num_sampled_masks': Tie.RUN,
    'task.model.roi_aligner.crop_size': Tie.WEIGHTS,
  },
}


def ties(config, place='', inherited=Tie.WEIGHTS):
  """Yields the place of each value of a config, and what it is tied to."""
  for key, value in fields.chosen(config):
    tie = fields.tie_of(type(config), key, inherited)
    if isinstance(value, hyperparams.Config):
      yield from ties(value, f'{place}{key}.', tie)
    else:
      yield f'{place}{key}', tie


@pytest.mark.parametrize('name', NAMES)
def test_what_may_differ_from_a_checkpoint(name):
  found = dict(ties(experiment_of(name).params))
  expected = PLACES | OWN_PLACES[name]
  assert {place: found[place] for place in expected} == expected


@pytest.mark.parametrize('name', NAMES)
def test_a_frozen_backbone_keeps_its_weights(records, name):
  frozen = ['backbone.freeze_backbone = True']
  task, model, batch = set_up(config(name, records, frozen))
  assert not model.backbone.trainable_variables
  assert model.trainable_variables
  optimizer = Recorder(0.0)
  task.train_step(batch, model, optimizer)
  trained = {v.ref() for _, v in optimizer.pairs}
  assert trained.isdisjoint(v.ref() for v in model.backbone.variables)


@pytest.mark.parametrize('name', [SEGMENTATION, RETINANET])
def test_groups_schedule_and_average_are_for_any_task(records, tmp_path, name):
  """Two steps; offsets, whose rate is 0, stay where they were."""
  trainer = {'optimizer_config': OPTIMIZATION, 'train_tf_function': False}
  averaging = asked(name, records, override=json.dumps({'trainer': trainer}))
  run(averaging, tmp_path, 'train')
  rows = read_rows(tmp_path)
  assert [row['learning_rate'] for row in rows] == pytest.approx([0.2, 0.4])
  first, second = (
    tf.train.load_checkpoint(str(tmp_path / f'ckpt-{step}')) for step in (1, 2)
  )
  slot = '/.OPTIMIZER_SLOT/optimizer/average/.ATTRIBUTES/VARIABLE_VALUE'
  value = '/.ATTRIBUTES/VARIABLE_VALUE'
  averages = [
    key for key in second.get_variable_to_shape_map() if key.endswith(slot)
  ]
  changed = 0
  for key in averages:
    weight = second.get_tensor(key.replace(slot, value))
    average = 0.75 * first.get_tensor(key) + 0.25 * weight
    np.testing.assert_allclose(second.get_tensor(key), average, atol=1e-6)
    changed += np.any(weight != first.get_tensor(key.replace(slot, value)))
    if key.endswith('beta' + slot):
      assert not np.any(weight)
  assert changed > 24


def test_muon_and_lookahead_are_for_any_task(records, tmp_path):
  """Two steps; slow weights that keep nothing are the fast ones."""
  optimization = OPTIMIZATION | {
    'optimizer': {'type': 'muon'},
    'ema': None,
    'lookahead': {
      'average_decay': 0.0,
      'interval': 1,
      'epochs': 4.0,
      'steps_per_epoch': 1,
    },
  }
  trainer = {'optimizer_config': optimization, 'train_tf_function': False}
  override = json.dumps({'trainer': trainer})
  run(asked(SEGMENTATION, records, override=override), tmp_path, 'train')
  first, second = (
    tf.train.load_checkpoint(str(tmp_path / f'ckpt-{step}')) for step in (1, 2)
  )
  end = '/.ATTRIBUTES/VARIABLE_VALUE'
  slot = '/.OPTIMIZER_SLOT/optimizer/average' + end
  checked = 0
  for key, shape in second.get_variable_to_shape_map().items():
    if not key.endswith(slot):
      continue
    weight = second.get_tensor(key.replace(slot, end))
    np.testing.assert_array_equal(second.get_tensor(key), weight)
    if len(shape) == 4 and shape[0] == 3 and 'backbone' in key:
      before = first.get_tensor(key.replace(slot, end))
      before *= np.sqrt(shape[-1]) / np.linalg.norm(before)
      step = (weight - before).reshape(-1, shape[-1]) / 0.4
      # Of all directions alike, of about 1.
      assert 0.5 < np.linalg.norm(step) / np.sqrt(min(step.shape)) < 1.2
      checked += 1
  assert checked == 8


@pytest.mark.parametrize(
  ('override', 'message'),
  [
    (
      'first_layer=whitening',
      'resnet9 whitens its input and needs filters, which small_images',
    ),
    ('first_layer=white', "'white' must be one of conv, whitening"),
    ('norm_group_size=3', 'norm_group_size=3 does not divide the batch of 4'),
  ],
)
def test_an_option_that_cannot_work_here_is_named(records, override, message):
  with pytest.raises(UserError, match=message):
    config(
      SEGMENTATION,
      records,
      override=f'task.model.backbone.resnet9.{override}',
    )


def test_filters_come_with_the_backbone(records, tmp_path):
  """A decoder's checkpoint has none."""
  backbone = {'resnet9': {'first_layer': 'whitening'}}
  file = tf.train.Checkpoint().save(str(tmp_path / 'decoder'))
  task = {'model': {'backbone': backbone}, 'init_checkpoint': file}
  task['init_checkpoint_modules'] = ['decoder']
  with pytest.raises(UserError, match=r'needs filters.* the backbone is read'):
    config(SEGMENTATION, records, override=json.dumps({'task': task}))


RISING = ('sgd_cosine.warmup_steps = 5', 'sgd_cosine.train_steps = 9')


def test_a_warmup_does_not_replace_the_first_knots(records):
  name, lines = SEGMENTATION, RISING
  trainer = {'optimizer_config': OPTIMIZATION}
  with pytest.raises(
    UserError, match="'linear' would replace the first 5 step"
  ):
    config(name, records, lines, json.dumps({'trainer': trainer}))
  trainer = {'optimizer_config': OPTIMIZATION | {'warmup': {'type': None}}}
  config(name, records, lines, json.dumps({'trainer': trainer}))


@pytest.mark.parametrize(
  ('place', 'value', 'message'),
  [
    (['ema', 'average_decay'], 1.5, 'ema.average_decay=1.5 must be at least 0'),
    (['ema', 'interval'], 0, r'ema\.interval=0 must be at least 1\.$'),
    (
      ['optimizer', 'sgd_coupled_decay', 'momentum'],
      1.0,
      'sgd_coupled_decay.momentum=1.0 must be at least 0 and less than 1',
    ),
    (
      ['learning_rate', 'piecewise_linear', 'steps_per_epoch'],
      0,
      'steps_per_epoch=0 must be at least 1: the steps of an epoch',
    ),
    (
      ['learning_rate', 'piecewise_linear', 'epochs'],
      [4.0, 0.0],
      r'knots at epochs \[4.0, 0.0\]',
    ),
    (
      ['learning_rate'],
      {'type': 'triangular', 'triangular': {'steps_per_epoch': 2}},
      r'triangular\.epochs=0 is to be the length of the training, here \d+',
    ),
  ],
)
def test_a_number_that_cannot_work_here_is_named(
  records, place, value, message
):
  optimization = copy.deepcopy(OPTIMIZATION)
  inner = optimization
  for key in place[:-1]:
    inner = inner[key]
  inner[place[-1]] = value
  trainer = {'optimizer_config': optimization}
  with pytest.raises(UserError, match=message):
    config(
      SEGMENTATION,
      records,
      override=json.dumps({'trainer': trainer}),
    )
