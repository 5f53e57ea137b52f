"""A classifier's backbone as the beginning of another run."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import yaml
from helpers import commands, garden_records, tiny
from helpers.flags import Flags
from helpers.small_garden import (
  CLASSIFICATION,
  NAMES,
  SEGMENTATION,
  experiment_of,
  run,
)
from official.core import task_factory
from PIL import Image

from official_ext.checkpoints import transfer
from official_ext.configuration import experiment, gin_config
from official_ext.errors import UserError

# Those of the fixture `trained_run`.
CHANNELS = [4, 8, 16, 16]


def asked(name, checkpoint, bindings=(), override=''):
  lines = (
    f'resnet9.channels = {CHANNELS}',
    f"backbone.init_checkpoint = '{checkpoint}'",
    *bindings,
  )
  return experiment_of(name, lines, override)


def config(name, checkpoint, bindings=(), override=''):
  return asked(name, checkpoint, bindings, override).params


def set_up(params):
  task = task_factory.get_task(params.task)
  return task, task.build_model()


@pytest.fixture(scope='module')
def classifier(trained_run, shapes_dir):
  """The model whose weights are those of the run."""
  params = tiny.config(shapes_dir, [f'resnet9.channels = {CHANNELS}'])
  model = task_factory.get_task(params.task).build_model()
  path = tf.train.latest_checkpoint(str(trained_run))
  status = tf.train.Checkpoint(model=model).restore(path)
  status.assert_existing_objects_matched().expect_partial()
  return model


@pytest.mark.parametrize('name', NAMES)
def test_weights_and_features_are_the_classifiers(
  trained_run, classifier, name
):
  task, model = set_up(config(name, trained_run))
  transfer.check(task.task_config, model)
  task.initialize(model)
  theirs = classifier.backbone
  assert len(model.backbone.weights) == len(theirs.weights) == 40
  for ours, expected in zip(
    model.backbone.weights, theirs.weights, strict=True
  ):
    np.testing.assert_array_equal(ours, expected)
  image = np.random.default_rng(0).normal(size=(1, 32, 32, 3))
  ours, expected = (
    backbone(image.astype(np.float32), training=False)
    for backbone in (model.backbone, theirs)
  )
  assert ours.keys() == expected.keys() == {'1', '2', '3'}
  for level in expected:
    np.testing.assert_array_equal(ours[level], expected[level])


def test_the_same_picture_gives_the_same_features_from_its_file(
  trained_run, classifier, tmp_path
):
  """The input is normalised as the classifier's was."""
  test = garden_records.write(tmp_path / 'test', [0])
  params = config(
    CLASSIFICATION,
    trained_run,
    [f"records.test_path = '{test}'", 'records.eval_batch_size = 1'],
  )
  task, model = set_up(params)
  task.initialize(model)
  images, _ = next(iter(task.build_inputs(params.task.validation_data)))
  trained = yaml.safe_load((trained_run / 'params.yaml').read_text())
  data = trained['task']['train_data']
  pixels = garden_records.draw(0).image - np.array(data['mean_rgb'])
  pixels = (pixels / data['stddev_rgb'])[np.newaxis].astype(np.float32)
  np.testing.assert_allclose(
    model.backbone(images, training=False)['3'],
    classifier.backbone(pixels, training=False)['3'],
    rtol=1e-4,
    atol=1e-4,
  )


def test_an_average_without_a_best_checkpoint(tmp_path):
  """The mend is not the folder that is refused."""
  trainer = {'optimizer_config': {'ema': {'average_decay': 0.9}}}
  trainer['best_checkpoint_export_subdir'] = ''
  with pytest.raises(
    UserError, match=r'moving average, .*; which alone is in a'
  ):
    transfer._check_average('place', tmp_path, {'trainer': trainer})
  trainer['best_checkpoint_export_subdir'] = 'good'
  with pytest.raises(UserError, match=f'; name {tmp_path}/good, where it is'):
    transfer._check_average('place', tmp_path, {'trainer': trainer})


def test_a_checkpoint_can_be_named_itself(trained_run):
  path = tf.train.latest_checkpoint(str(trained_run))
  task, model = set_up(config(CLASSIFICATION, path))
  transfer.check(task.task_config, model)


def refused(name, checkpoint, bindings=(), override=''):
  """Returns the one line that a config is refused with."""
  task, model = set_up(config(name, checkpoint, bindings, override))
  with pytest.raises(UserError) as caught:
    transfer.check(task.task_config, model)
  text = str(caught.value)
  assert '\n' not in text
  assert f"task.init_checkpoint='{checkpoint}'" in text
  return text


def test_a_checkpoint_of_an_override_is_checked_too(trained_run, shapes_dir):
  override = f'task.init_checkpoint={trained_run}'
  task, model = set_up(tiny.config(shapes_dir, override=override))
  with pytest.raises(UserError, match=r'=\[4, 8, 16, 16\], but here it is'):
    transfer.check(task.task_config, model)


@pytest.mark.parametrize('folder', ['', 'best'])
def test_a_head_is_for_its_own_classes(trained_run, shapes_dir, folder):
  bindings = [f'resnet9.channels = {CHANNELS}']
  names = (trained_run / 'class_names.txt').read_text().splitlines()
  swapped = [names[0], names[2], names[1], *names[3:]]

  def check(modules, names):
    override = (
      f'task.init_checkpoint={trained_run / folder},'
      f'task.init_checkpoint_modules={modules}'
    )
    task, model = set_up(tiny.config(shapes_dir, bindings, override))
    transfer.check(task.task_config, model, names)

  check('all', names)
  check('backbone', swapped)
  message = (
    rf"was trained on data whose label 1 is '{names[1]}' \(class_names.txt\), "
    rf"but here it is '{names[2]}'; use data of the same classes, or task.init"
  )
  with pytest.raises(UserError, match=message):
    check('all', swapped)


BACKBONE = 'task.model.backbone.resnet9'


@pytest.mark.parametrize(
  ('override', 'message'),
  [
    (f'{BACKBONE}.norm_scale=false', 'norm_scale=True, but here it is False'),
    (
      f'{BACKBONE}.first_layer=whitening',
      "first_layer='conv', but here it is 'whitening'",
    ),
    (
      f'{BACKBONE}.pool_before_norm=true',
      'pool_before_norm=False, but here it is True',
    ),
    (
      'task.model.norm_activation.activation=swish',
      "activation='relu', but here it is 'swish'",
    ),
    (
      'task.model.norm_activation.norm_epsilon=0.001',
      'norm_epsilon=1e-05, but here it is 0.001',
    ),
    (f'{BACKBONE}.channels=[4,8,16,8]', 'channels=[4, 8, 16, 16], but here i'),
    ('task.model.backbone.type=resnet', "type='resnet9', but here it is"),
  ],
)
def test_other_options_are_refused(trained_run, override, message):
  name = CLASSIFICATION
  assert message in refused(name, trained_run, override=override)


def test_other_shapes_are_refused(bare_checkpoint):
  text = refused(
    SEGMENTATION, bare_checkpoint, ['resnet9.channels = [4, 8, 16, 24]']
  )
  assert 'layer3_conv/kernel' in text
  assert 'of [3, 3, 16, 16], but here it is of [3, 3, 16, 24]' in text


@pytest.mark.parametrize('name', NAMES[:3])
def test_another_normalisation_is_refused(trained_run, name):
  text = refused(
    name, trained_run, ['normalization.mean_rgb = [127, 127, 127]']
  )
  assert 'task.train_data.mean_rgb=[125.31, 122.95, 113.87]' in text
  assert '=[127, 127, 127]; use the same' in text


@pytest.mark.parametrize('modules', ['backbone', 'all'])
def test_the_normalisation_of_gardens_parsers_is_seen(trained_run, modules):
  gin_config.parse([], [])
  stock = experiment.parse(
    Flags(
      experiment='resnet_imagenet',
      params_override=(
        'task.model.backbone.type=resnet9,'
        f'task.init_checkpoint={trained_run},'
        f'task.init_checkpoint_modules={modules},'
        'task.model.norm_activation.norm_epsilon=0.00001,'
        f'{BACKBONE}.channels=[{",".join(map(str, CHANNELS))}],'
        'task.model.input_size=[32,32,3]'
      ),
    )
  )
  task, model = set_up(stock.params)
  with pytest.raises(UserError, match="the mean of Garden's parser"):
    transfer.check(task.task_config, model)


@pytest.fixture
def bare_checkpoint(trained_run, tmp_path):
  """The run's last checkpoint without its `params.yaml`."""
  for file in trained_run.glob('ckpt-*'):
    (tmp_path / file.name).write_bytes(file.read_bytes())
  path = tf.train.latest_checkpoint(str(trained_run))
  return str(tmp_path / pathlib.Path(path).name)


@pytest.mark.parametrize(
  ('option', 'message'),
  [
    ('norm_scale=false', 'gamma in its backbone, which has no place here'),
    ('first_layer=whitening', 'lacks prep_conv/'),
  ],
)
def test_without_params_the_weights_tell(bare_checkpoint, option, message):
  name = CLASSIFICATION
  override = f'{BACKBONE}.{option}'
  assert message in refused(name, bare_checkpoint, override=override)


def test_a_checkpoint_without_a_backbone_is_refused(tmp_path):
  path = tf.train.Checkpoint(step=tf.Variable(1)).save(str(tmp_path / 'ckpt'))
  text = refused(CLASSIFICATION, path)
  assert 'has no backbone; name a run' in text


def test_the_driver_refuses_and_leaves_no_folder(trained_run, tmp_path):
  test = garden_records.write(tmp_path / 'test', [0, 1])
  paths = (f"records.{split}_path = '{test}'" for split in ('train', 'test'))
  other = asked(
    SEGMENTATION,
    trained_run,
    [*paths, 'records.batch_size = 1'],
    f'{BACKBONE}.norm_scale=false',
  )
  with pytest.raises(UserError, match='norm_scale=True, but here it is False'):
    run(other, tmp_path / 'run', 'train')
  assert not (tmp_path / 'run').exists()


def test_the_readmes_command_fine_tunes_on_a_folder(
  trained_run, tmp_path, monkeypatch
):
  """Three classes of another size of picture, from files to accuracy."""
  random = np.random.default_rng(0)
  for split in ('train', 'test'):
    for label, name in enumerate(['blue', 'green', 'red']):
      folder = tmp_path / 'pictures' / split / name
      folder.mkdir(parents=True)
      for index in range(8):
        pixels = random.integers(0, 100, (24, 24, 3), dtype=np.uint8)
        pixels[..., 2 - label] += 100
        Image.fromarray(pixels).save(folder / f'{index}.png')
  prepared = commands.run(
    'prepare_data',
    *('--folder', tmp_path / 'pictures', '--name', 'my_pictures'),
    *('--data_dir', tmp_path / 'tfds'),
  )
  assert prepared.returncode == 0, prepared.stderr
  settings = (
    "data.dataset = 'my_pictures'",
    f"data.data_dir = '{tmp_path / 'tfds'}'",
    f"small_images.init_checkpoint = '{trained_run}'",
    f'resnet9.channels = {CHANNELS}',
    'data.batch_size = 8',
    "run.precision = 'float32'",
  )
  result = commands.run(
    'train',
    *('--gin_file', 'gin/fine_tune.gin', '--model_dir', tmp_path / 'run'),
    *(f'--gin_params={line}' for line in settings),
  )
  assert result.returncode == 0, result.stderr
  assert '3 classes, 24×24×3' in result.stdout
  rows = (tmp_path / 'run' / 'epochs.jsonl').read_text().splitlines()
  assert json.loads(rows[-1])['test_accuracy'] > 0.8
