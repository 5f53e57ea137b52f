"""The config that flags, files and gin make, and what they may not say."""

import json

import pytest
import tensorflow as tf
from helpers.flags import Flags
from official.core import exp_factory

from official_ext.augmentation.crop import Crop
from official_ext.augmentation.cutout import Cutout
from official_ext.augmentation.flip import Flip
from official_ext.configs.optimization import MovingAverageConfig
from official_ext.configuration import experiment, gin_config
from official_ext.dataloaders.image_source import ImageDataInfo
from official_ext.errors import UserError
from official_ext.files import safe_yaml
from official_ext.machine import devices


@pytest.fixture
def parse(shapes_dir):
  def run(*bindings, **flags):
    gin_config.parse(
      [],
      [
        "data.dataset = 'procedural_shapes'",
        f"data.data_dir = '{shapes_dir}'",
        "data.train_split = 'train[:100]'",
        "data.test_split = 'test[:50]'",
        'data.batch_size = 30',
        *bindings,
      ],
    )
    return experiment.parse(Flags(**flags)).params

  return run


def test_the_experiment_alone_is_the_24_epoch_recipe():
  params = exp_factory.get_exp_config('small_images')
  assert params.trainer.train_steps == 2328
  assert params.trainer.validation_interval == 97
  assert params.trainer.summary_interval % params.trainer.steps_per_loop == 0
  assert params.task.model.num_classes == 10
  assert params.task.model.input_size == [32, 32, 3]
  steps = [one.get() for one in params.task.train_data.augmentations]
  assert steps == [Crop(padding=4), Flip(), Cutout(size=8)]
  assert not params.task.validation_data.drop_remainder


def test_classes_size_and_steps_come_from_the_data(parse):
  params = parse('run.epochs = 7')
  assert params.task.model.num_classes == 10
  assert params.task.model.input_size == [32, 32, 3]
  assert params.trainer.train_steps == 7 * (100 // 30)
  schedule = params.trainer.optimizer_config.learning_rate.triangular
  assert (schedule.steps_per_epoch, schedule.epochs) == (3, 7)


def test_overrides_win_over_gin_in_order(parse, tmp_path):
  file = tmp_path / 'a.yaml'
  file.write_text(
    'task: {model: {head: {logit_scale: 0.5, pooling: avg}}}\n'
    'trainer: {train_steps: 4}\n'
  )
  params = parse(
    'head.logit_scale = 0.25',
    "norm_activation.activation = 'swish'",
    config_file=[str(file)],
    params_override='task.model.head.logit_scale=1e0,'
    'task.losses.l2_weight_decay=1e-4',
  )
  assert params.task.model.norm_activation.activation == 'swish'
  head = params.task.model.head
  assert (head.pooling, head.logit_scale) == ('avg', 1.0)
  assert params.task.losses.l2_weight_decay == 1e-4
  assert params.trainer.train_steps == 4
  assert params.trainer.validation_interval == 3


SGD = 'trainer.optimizer_config.optimizer.sgd_coupled_decay'


def of_sgd(lr_groups):
  """Returns YAML that sets `lr_groups`."""
  nested = lr_groups
  for key in reversed([*SGD.split('.'), 'lr_groups']):
    nested = {key: nested}
  return json.dumps(nested)


@pytest.mark.parametrize(
  ('override', 'message'),
  [
    (
      '{task: {train_data: {augmentations: '
      '[{type: cutout, cutout: {sze: 4}}]}}}',
      'cutout.sze does not exist; did you mean .*augmentations.cutout.size',
    ),
    (
      'task.init_checkpoint.a=1',
      'init_checkpoint.a does not exist; there are n',
    ),
    (
      of_sgd([{'pattern': 'beta$', 'lr_multiplyer': 64.0}]),
      f'lr_multiplyer does not exist; did you mean {SGD}.lr_groups.lr_multipli',
    ),
    (
      of_sgd({'pattern': 'beta$'}),
      r'lr_groups.* is LrGroup, but must be list\[LrGroup\]',
    ),
  ],
)
def test_a_misspelt_key_where_garden_takes_any(parse, override, message):
  """In place of None, and in a list."""
  with pytest.raises(UserError, match=message):
    parse(params_override=override)


def test_an_override_makes_what_was_none(parse):
  place = 'trainer.optimizer_config.ema'
  params = parse(params_override=f'{place}.average_decay=0.5')
  average = params.trainer.optimizer_config.ema
  assert average == MovingAverageConfig(average_decay=0.5)
  with pytest.raises(UserError, match=f'{place}.average_decay=1.0 must be'):
    parse(params_override=f'{place}.average_decay=1.0')


def test_a_list_of_configs_is_replaced(parse):
  group = "[{'pattern': 'beta$', 'weight_decay_multiplier': 0.5}]"
  params = parse(
    f'sgd_coupled_decay.lr_groups = {group}',
    params_override=of_sgd([{'pattern': 'kernel', 'lr_multiplier': 2.0}]),
  )
  sgd = params.trainer.optimizer_config.optimizer.sgd_coupled_decay
  assert sgd.as_dict()['lr_groups'] == [
    {
      'pattern': 'kernel',
      'lr_multiplier': 2.0,
      'weight_decay_multiplier': 1.0,
      'until_epoch': 0.0,
      'compress_schedule': False,
    }
  ]


def test_a_batch_size_from_an_override_sets_the_steps(parse):
  params = parse(params_override='task.train_data.global_batch_size=50')
  assert params.trainer.train_steps == 24 * 2
  assert params.trainer.steps_per_loop == 2


def test_an_interval_of_epochs_is_that_of_all_counts(parse):
  trainer = parse('run.evaluation_interval = 5').trainer
  assert trainer.train_steps == 24 * 3
  assert {
    trainer.steps_per_loop,
    trainer.summary_interval,
    trainer.checkpoint_interval,
    trainer.validation_interval,
  } == {5 * 3}
  with pytest.raises(
    UserError, match=r'evaluation_interval.*=0 must be at least'
  ):
    parse('run.evaluation_interval = 0')


def test_counts_of_a_runs_own_params_follow_what_is_changed(parse, tmp_path):
  file = tmp_path / 'params.yaml'
  saved = parse(params_override='trainer.checkpoint_interval=1')
  file.write_text(safe_yaml.dump(saved.as_dict()))

  def counts(override):
    trainer = parse(config_file=[str(file)], params_override=override).trainer
    return (
      trainer.train_steps,
      trainer.validation_interval,
      trainer.checkpoint_interval,
    )

  assert counts('') == (24 * 3, 3, 1)
  assert counts('task.train_data.global_batch_size=50') == (24 * 2, 2, 1)
  assert counts('trainer.epochs=6') == (6 * 3, 3, 1)
  assert counts('trainer.train_steps=5') == (5, 3, 1)


def test_counts_follow_the_epochs_with_a_schedule_of_gardens_too(
  parse, tmp_path
):
  """A cosine has no epochs of its own; a run's file has its steps."""
  learning_rate = 'trainer.optimizer_config.learning_rate'
  cosine = f'{learning_rate}.type=cosine,{learning_rate}.cosine.decay_steps=9'
  file = tmp_path / 'params.yaml'

  def counts(override='', **flags):
    params = parse(params_override=override, **flags)
    trainer = params.trainer
    file.write_text(safe_yaml.dump(params.as_dict()))
    return (
      trainer.train_steps,
      trainer.steps_per_epoch,
      *(
        getattr(trainer, f'{name}_interval')
        for name in ('summary', 'checkpoint', 'validation')
      ),
    )

  assert counts(cosine) == (24 * 3, 3, 3, 3, 3)
  batches_of_50 = 'task.train_data.global_batch_size=50'
  again = [str(file)]
  assert counts(batches_of_50, config_file=again) == (24 * 2, 2, 2, 2, 2)
  assert counts('trainer.epochs=5', config_file=again) == (5 * 2, 2, 2, 2, 2)
  # Its own schedule is as long as ever, and steps that were asked for stay.
  params = parse(config_file=again, params_override='trainer.train_steps=7')
  schedule = params.trainer.optimizer_config.learning_rate
  assert (schedule.type, schedule.cosine.decay_steps) == ('cosine', 9)
  assert params.trainer.train_steps == 7


@pytest.mark.parametrize(
  ('override', 'message'),
  [
    ('trainer.epochs=5', r'peak_epoch=5 must be less than the 5 epochs of'),
    (
      'trainer.best_checkpoint_metric_comp=max',
      "metric_comp='max' must be 'higher' for accuracy",
    ),
    (
      'trainer.best_checkpoint_eval_metric=validation_loss',
      "metric_comp='higher' must be 'lower' for validation_loss",
    ),
    (
      'trainer.best_checkpoint_eval_metric=top_5_accuracy,'
      'task.evaluation.top_k=3',
      'must be one of , accuracy, top_3_accuracy, validation_loss',
    ),
  ],
)
def test_an_override_that_cannot_work_is_named(parse, override, message):
  with pytest.raises(UserError, match=message):
    parse(params_override=override)


def test_gin_of_another_experiment_is_named():
  gin_config.parse(['gin/resnet9_maskrcnn.gin'], [])
  message = "arguments of resnet9_maskrcnn, but --experiment='small_images'"
  with pytest.raises(UserError, match=message):
    experiment.parse(Flags())


@pytest.mark.parametrize(
  ('train', 'test', 'message'),
  [
    (['ant', 'cat'], ['cat', 'ant'], "label 0 is 'cat' in b, but 'ant' in a;"),
    (['ant', 'cat'], ['ant', 'cow'], "label 1 is 'cow' in b, but 'cat' in a;"),
    (['ant', 'cat'], ['ant'], None),
    (['0', '1'], ['ant', 'cat'], None),
  ],
)
def test_classes_are_the_same_in_training_and_test(train, test, message):
  infos = [
    ImageDataInfo(name, 9, (8, 8, 3), names)
    for name, names in (('a', train), ('b', test))
  ]
  if message:
    with pytest.raises(UserError, match=message):
      experiment._check_same_classes(*infos)
  else:
    experiment._check_same_classes(*infos)


def test_garden_experiments_run_on_what_is_there():
  gin_config.parse([], [])
  params = experiment.parse(Flags(experiment='resnet_imagenet')).params
  assert params.runtime.mixed_precision_dtype in ('float32', 'bfloat16')
  assert params.runtime.num_gpus == 0
  assert params.runtime.distribution_strategy == 'one_device'


@pytest.fixture
def gpu(monkeypatch):
  """Sets the compute capability of a GPU that is not there."""
  capability = []
  monkeypatch.setattr(tf.config, 'list_physical_devices', lambda _: ['GPU'])
  monkeypatch.setattr(
    tf.config.experimental,
    'get_device_details',
    lambda _: {'compute_capability': capability[-1]},
  )
  return capability.append


@pytest.mark.parametrize(
  ('capability', 'ours', 'gardens'),
  [
    ((6, 1), 'float32', 'float32'),
    ((7, 0), 'float16', 'float32'),
    ((8, 0), 'bfloat16', 'bfloat16'),
  ],
)
def test_gardens_average_is_not_put_into_float16(
  parse, gpu, capability, ours, gardens
):
  gpu(capability)
  params = parse(
    'small_images.average = @moving_average()',
    'moving_average.average_decay = 0.9',
  )
  assert params.runtime.mixed_precision_dtype == ours
  gin_config.parse([], [])
  params = experiment.parse(Flags(experiment='resnet_rs_imagenet')).params
  assert params.runtime.mixed_precision_dtype == gardens


def test_gardens_average_in_float16_is_refused(gpu):
  gpu((7, 0))
  gin_config.parse([], [])
  flags = Flags(
    experiment='resnet_rs_imagenet',
    params_override='runtime.mixed_precision_dtype=float16',
  )
  with pytest.raises(UserError, match="'float16' cannot be trained in with"):
    experiment.parse(flags)


@pytest.mark.parametrize(
  ('flags', 'precision'),
  [
    ('fpu avx512f amx_bf16 amx_tile', 'bfloat16'),  # Intel, 2023.
    ('fpu avx512f avx512_bf16 clzero', 'bfloat16'),  # AMD, 2022.
    ('fpu avx2 avx512f avx512_vnni', 'float32'),
    ('fpu avx2 my_amx_bf16', 'float32'),
    (None, 'float32'),  # No Linux.
  ],
)
def test_precision_is_what_the_cpu_multiplies(
  parse, monkeypatch, tmp_path, flags, precision
):
  cpuinfo = tmp_path / 'cpuinfo'
  if flags:
    cpuinfo.write_text(f'processor\t: 0\nflags\t\t: {flags}\n')
  monkeypatch.setattr(devices, '_CPUINFO', cpuinfo)
  assert parse().runtime.mixed_precision_dtype == precision
  asked = parse("run.precision = 'float32'")
  assert asked.runtime.mixed_precision_dtype == 'float32'


@pytest.mark.parametrize(
  ('binding', 'message'),
  [
    # Of a part, before the config is made.
    ('data.batch_size = 0', r'data.batch_size .*=0 must be at least 1'),
    ('data.batch_size = 2.5', r'2.5 is float, but must be int'),
    ('run.epochs = None', r'run.epochs .*=None is None, but must be float'),
    ('resnet9.channels = 4', r'channels .*=4 is int, but must be list\[int\]'),
    ("run.epochs = '24'", r"run.epochs .*='24' is str, but must be float"),
    (
      "resnet9.kernel_initializer = 'x'",
      r"'x' must be one of torch_uniform, tor",
    ),
    ("norm_activation.activation = 'x'", r"='x' must be 'celu' or the name of"),
    (
      "sgd_coupled_decay.lr_groups = ['beta$']",
      r"lr_groups .*=\['beta\$'\] is list, but must be list\[LrGroup\]",
    ),
    # Of several fields, or of the machine.
    ('run.epochs = 4', r'triangular.peak_epoch=5 must be less than the 4 epo'),
    ("run.precision = 'float16'", r"'float16' needs a GPU"),
    ("evaluation.views = ['miror']", r"no view 'miror'; there are mirror"),
    # Of the data.
    ('data.batch_size = 101', r'batch_size=101 is more than the 100 images'),
    ('data.mean_rgb = [1, 2]', r'mean_rgb=\[1, 2\] is not one number for each'),
    ('cutout.size = 33', r'augmentations\[2\].cutout.size=33 is more than th'),
    ('crop.padding = 32', r'augmentations\[0\].crop.padding=32 cannot be refl'),
    ("data.dataset = 'cifar1O'", r"'cifar1O' is neither .* did you mean cif"),
    ("data.train_split = 'training'", r"'training' selects no image .* train"),
    ("data.data_dir = '/proc/nowhere'", r'in /proc/nowhere'),
    # Of gin.
    ('data.batchsize = 3', r'Did you mean data.batch_size\?'),
    ('data.zzz = 3', r'It has dataset, data_dir'),
    ('run.epochs = @nothing', r'@nothing'),
    ('run.epochs = [', r'gin: .*EOF in multi-line statement'),
    ('run.epochs = %foo', r'gin: .*foo'),
  ],
)
def test_a_bad_binding_is_named_in_one_line(parse, binding, message):
  with pytest.raises(UserError, match=message) as caught:
    parse(binding)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ({'experiment': 'small_pictures'}, r'did you mean .*small_images'),
    ({'params_override': 'task.modle.head=1'}, r'did you mean task.model'),
    ({'params_override': 'nonsense'}, r"'nonsense' is neither a file nor"),
    ({'params_override': '{a: [}'}, r'--params_override is not plain YAML'),
    ({'config_file': ['/nowhere.yaml']}, r'/nowhere.yaml cannot be read'),
    (
      {'params_override': 'runtime.distribution_strategy=off'},
      r'distribution_strategy=False is bool, but must be str',
    ),
    (
      {'params_override': 'task.model.head.pooling=median'},
      r"task.model.head.pooling='median' must be one of max, avg",
    ),
    (
      {'params_override': 'task.train_data.color_jitter=0.5'},
      r'color_jitter=0.5 has no effect with data in memory',
    ),
    (
      {'params_override': 'task.validation_data.enable_tf_data_service=True'},
      r'enable_tf_data_service=True has no effect in evaluation',
    ),
    (
      {
        'params_override': '{task: {validation_data: '
        '{augmentations: [{type: crop}]}}}'
      },
      r'task.validation_data.augmentations=.* has no effect in evaluation',
    ),
    (
      {'params_override': 'task.validation_data.drop_remainder=true'},
      r'evaluation never drops an image',
    ),
    (
      {
        'params_override': '{task: {train_data: '
        '{augmentations: [{type: flip}, {type: randaug}]}}}'
      },
      r"augmentations\[1\].type='randaug' does not exist; there are crop, cut",
    ),
    ({'params_override': 'runtime.num_gpus=2'}, r'TensorFlow sees 0'),
    *(
      ({'params_override': f'trainer.{setting}'}, f'trainer.{setting} {mend}')
      for setting, mend in (
        ('train_steps=0', 'must be at least 1'),
        ('steps_per_loop=0', 'must be at least 1'),
        ('validation_steps=0', 'must be at least 1, or -1'),
        ('summary_interval=4', 'must be a multiple of trainer.steps_per_loop'),
        ('steps_per_epoch=4', 'cannot be chosen; 100 images in .* 30 are 3'),
      )
    ),
    (
      {'params_override': 'trainer.best_checkpoint_eval_metric=foo'},
      r"metric='foo' must be one of , accuracy",
    ),
    (
      {'params_override': 'task.model.backbone.type=resnet8'},
      r"task.model.backbone.type='resnet8' does not exist; .*resnet9",
    ),
    (
      {'params_override': 'task.init_checkpoint=/nowhere'},
      r"init_checkpoint='/nowhere' is neither a checkpoint nor",
    ),
    (
      {'params_override': 'task.losses.use_binary_cross_entropy=true'},
      r'use_binary_cross_entropy=True needs task.losses.one_hot=True',
    ),
    (
      {'params_override': 'task.losses.soft_labels=true'},
      r'task.losses.soft_labels=True must be False: each image of these data h',
    ),
    (
      {'params_override': 'task.train_data.is_training=false'},
      r'task.train_data.is_training must be True',
    ),
  ],
)
def test_a_bad_flag_is_named_in_one_line(parse, flags, message):
  with pytest.raises(UserError, match=message) as caught:
    parse(**flags)
  assert '\n' not in str(caught.value)


def test_a_binding_without_a_dot_is_not_lost(parse):
  with pytest.raises(UserError, match=r"'epochs=3' .* run.epochs"):
    gin_config.parse([], ['epochs=3'])
  gin_config.parse([], ['length=3', 'run.epochs=%length'])
  assert exp_factory.get_exp_config('small_images').trainer.epochs == 3


def test_yaml_cannot_make_objects(parse, tmp_path):
  trace = tmp_path / 'trace'
  file = tmp_path / 'evil.yaml'
  file.write_text(f'task: !!python/object/apply:os.mkdir ["{trace}"]\n')
  with pytest.raises(UserError, match='is not plain YAML'):
    parse(config_file=[str(file)])
  assert not trace.exists()


def test_a_missing_gin_file_names_those_there_are():
  with pytest.raises(UserError, match=r'gin/resnet9_v100\.gin'):
    gin_config.parse(['gin/resnet9_v1000.gin'], [])


def test_gin_files_are_found_from_anywhere(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'mine.gin').write_text(
    "include 'gin/resnet9_v100.gin'\nrun.epochs = 30\n"
  )
  gin_config.parse(['mine.gin'], [])
  params = exp_factory.get_exp_config('small_images')
  assert params.trainer.epochs == 30
