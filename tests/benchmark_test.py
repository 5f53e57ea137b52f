"""The benchmark: what it counts, what it compares, and what it leaves."""

import importlib.util
import json
import types

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers import commands, tiny
from helpers.flags import Flags
from official.core import task_factory, train_utils

from official_ext import benchmark
from official_ext.benchmarks import (
  input_pipelines,
  local_data,
  report,
  step_times,
  suite,
  timing,
  train_process,
)
from official_ext.configuration import experiment, gin_config
from official_ext.errors import RunError, UserError
from official_ext.profiling import model_work, step_profile
from studies.pytorch import step as pytorch_step


def _model(params):
  return task_factory.get_task(params.task).build_model()


def _benchmark(cwd, *arguments, module='benchmark'):
  environment = {'TMPDIR': str(cwd / 'tmp')}
  return commands.run(module, *arguments, cwd=cwd, environment=environment)


def test_resnet9_takes_379_million_multiply_adds(shapes_dir):
  """By hand, at 32×32: height × width × 9 × channels in × channels out."""
  params = tiny.config(shapes_dir, ['resnet9.channels = [64, 128, 256, 512]'])
  model = _model(params)
  layers = [
    *(32 * 32 * 9 * 3 * 64, 32 * 32 * 9 * 64 * 128),
    *(2 * 16 * 16 * 9 * 128 * 128, 16 * 16 * 9 * 128 * 256),
    *(8 * 8 * 9 * 256 * 512, 2 * 4 * 4 * 9 * 512 * 512),
    512 * 10,
  ]
  assert model_work.count_macs(model) == sum(layers)
  assert round(sum(layers) / 1e6, 2) == 379.26
  assert model_work.matrix_products(model, 512) == [
    (524288, 27, 64),
    (524288, 576, 128),
    (131072, 1152, 128),
    (131072, 1152, 256),
    (32768, 2304, 512),
    (8192, 4608, 512),
  ]


def test_parts_take_turns():
  calls = []

  def part(name):
    def measure():
      calls.append(name)
      return float(len(calls))

    return measure

  speeds = timing.interleave({name: part(name) for name in 'abc'}, 3)
  assert ''.join(calls) == 'abccbaabc'
  assert speeds == {'a': [1, 6, 7], 'b': [2, 5, 8], 'c': [3, 4, 9]}


def test_a_speed_is_units_over_the_time_of_the_second_half(monkeypatch):
  """A call takes half a second, ten times that before the buffers are empty."""
  clock, calls = [0.0], []

  def run():
    calls.append(1)
    clock[0] += 5.0 if 2 < len(calls) <= 6 else 0.5

  monkeypatch.setattr(timing.time, 'perf_counter', lambda: clock[0])
  measure = timing.repeated(run, units=64, seconds=2.0, drain=True)
  assert len(calls) == 2
  assert measure() == 128
  assert len(calls) == 2 + 4 + 4


def test_garden_reads_a_data_set_that_is_not_on_its_list(shapes_dir):
  experiment = tiny.experiment_of(shapes_dir)
  assert input_pipelines.why_not_stock(experiment) is None
  strategy = tf.distribute.get_strategy()
  pull = input_pipelines.stock(experiment.params, strategy)
  images, labels = pull()
  assert images.shape == (30, 32, 32, 3)
  assert labels.shape == (30,)
  assert 0 <= np.min(labels) <= np.max(labels) < 10
  assert not np.array_equal(images, pull()[0])


def test_what_pytorch_or_garden_do_not_do_is_not_compared(
  shapes_dir, monkeypatch
):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name)

  def reason(line):
    return pytorch_step.why_not(tiny.config(shapes_dir, [line]))

  for line in (
    'resnet9.channels = [4, 8, 8, 16]',
    "head.kernel_initializer = 'he_uniform'",
    'head.logit_scale = 1.0',
    'norm_activation.norm_epsilon = 1e-3',
    'sgd_coupled_decay.nesterov = False',
    'small_images.augmentations = [@crop()]',
    'data.eval_batch_size = 50',
  ):
    assert reason(line) is None
  for line in (
    "resnet9.first_layer = 'whitening'",
    'resnet9.pool_before_norm = True',
    'resnet9.norm_group_size = 10',
    'resnet9.norm_scale = False',
    'small_images.freeze_backbone = True',
    'losses.label_smoothing = 0.1',
    "norm_activation.activation = 'celu'",
    "head.pooling = 'avg'",
    'head.use_bias = True',
    'small_images.average = @moving_average()',
    'sgd_coupled_decay.exclude_from_weight_decay = ["beta"]',
    'data.preprocess_on_device = True',
  ):
    name = line.split(' ')[0].rpartition('.')[2]
    name = {'average': 'ema', 'label_smoothing': 'one_hot'}.get(name, name)
    assert f'{name}=' in reason(line)
    assert reason(line).endswith(' is not written in PyTorch here')
  on_device = tiny.experiment_of(
    shapes_dir, ['data.preprocess_on_device = True']
  )
  assert 'the step here' in input_pipelines.why_not_stock(on_device)


class Block(tf_keras.layers.Layer):
  """A layer inside of one, as Garden's backbones have."""

  def __init__(self):
    super().__init__()
    self.conv = tf_keras.layers.Conv2D(4, 3, name='inner')

  def call(self, x):
    return self.conv(x) + self.conv(x[:, ::-1])


def test_layers_that_cannot_be_counted_are_left_out():
  inputs = tf_keras.Input([8, 8, 3])
  hidden = tf_keras.Model(inputs, Block()(inputs))
  plain = tf_keras.Model(inputs, tf_keras.layers.Conv2D(4, 3)(inputs))
  assert model_work.why_not(plain) is None
  assert 'output of inner is not known' in model_work.why_not(hidden)


@pytest.mark.parametrize(
  ('steps', 'macs', 'left_out'),
  [
    ([], 7, {'convolution_share', 'convolution_flops_per_second'}),
    # A step that XLA has made one operation of.
    (
      [{'__inference_run': 0.5}],
      7,
      {'convolution_share', 'convolution_flops_per_second'},
    ),
    ([{'Conv2D': 0.5, 'Relu': 0.5}], None, {'convolution_flops_per_second'}),
    ([{'Conv2D': 0.5, 'Relu': 0.5}], 7, set()),
  ],
)
def test_a_profile_without_convolutions_is_left_out(steps, macs, left_out):
  results = report.Results(setup={'macs_per_image': macs})
  if macs is None:
    results.left_out['step_flops_per_second'] = 'unknown'
  plan = types.SimpleNamespace(batch_size=10, replicas=1)
  suite._add_profile(results, steps, plan)
  assert set(results.left_out) - {'step_flops_per_second'} == left_out
  if not left_out:
    assert results.figures['convolution_share'] == [0.5]
    assert results.figures['convolution_flops_per_second'] == [6 * 7 * 10 / 0.5]


def test_parts_of_a_cpu_are_not_measured(shapes_dir):
  experiment = tiny.experiment_of(
    shapes_dir, override='runtime.num_logical_cpus=2'
  )
  with pytest.raises(UserError, match='num_logical_cpus=2 divides the cores'):
    suite.run(experiment, [], 1, 0.1)


def test_a_file_is_never_overwritten(tmp_path):
  file = tmp_path / 'mine.json'
  file.write_text('mine')
  with pytest.raises(UserError, match=r'mine\.json exists'):
    benchmark.check_new(str(file))
  with pytest.raises(RunError, match='File exists'):
    benchmark.write(str(file), {})
  assert file.read_text() == 'mine'
  with pytest.raises(UserError, match='no folder that can be written to'):
    benchmark.check_new(str(tmp_path / 'none' / 'a.json'))
  benchmark.check_new(str(tmp_path / 'new.json'))


@pytest.mark.parametrize(
  'place', [['--json', '/home/me/a.json'], ['--json=/home/me/a.json']]
)
def test_a_record_does_not_say_where_it_was_written(place):
  command = benchmark.command('a.b', ['--rounds', '2', *place, 'gin/x.gin'])
  assert command == 'python -m a.b --rounds 2 gin/x.gin'


def test_a_download_is_refused(tmp_path):
  gin_config.parse([], [f"data.data_dir = '{tmp_path}'"])
  with pytest.raises(UserError, match=f'cifar10 is not in {tmp_path}'):
    local_data.check(Flags())
  assert list(tmp_path.iterdir()) == []


def test_another_task_is_refused():
  with pytest.raises(UserError, match="'resnet_imagenet' cannot be measured"):
    local_data.check(Flags(experiment='resnet_imagenet'))


def test_a_model_dir_is_refused(tmp_path):
  result = _benchmark(tmp_path, '--model_dir', 'runs/mine')
  assert result.returncode == 2
  assert result.stderr.startswith('error: --model_dir=runs/mine has no effect')


@pytest.fixture(scope='module')
def measured(shapes_dir, tmp_path_factory):
  """The folder and the result of a command, with a TMPDIR of its own in it."""
  folder = tmp_path_factory.mktemp('benchmark')
  (folder / 'tmp').mkdir()
  bindings = (*tiny.BINDINGS, f"data.data_dir = '{shapes_dir}'")
  result = _benchmark(
    folder,
    *(f'--gin_params={line}' for line in bindings),
    *('--rounds', '1', '--seconds', '0.05', '--json', 'figures.json'),
    module='studies.benchmark',
  )
  assert result.returncode == 0, result.stderr
  return folder, result


def test_only_the_figures_stay_behind(measured):
  folder, _ = measured
  assert {file.name for file in folder.iterdir()} == {'figures.json', 'tmp'}
  # TFDS makes an empty folder when it is imported.
  left = [file for file in (folder / 'tmp').rglob('*') if file.is_file()]
  assert left == []


def test_every_figure_is_there(measured):
  folder, result = measured
  figures = json.loads((folder / 'figures.json').read_text())
  left_out, spread = figures['left_out'], figures['spread']
  rows = report.Results({'pytorch': pytorch_step.RIVAL}).rows()
  assert 'step_over_pytorch' in rows
  for key, (title, _, _) in rows.items():
    assert title in result.stdout
    if key in left_out:
      assert 'pytorch' in key
      assert not importlib.util.find_spec('torch')
      assert figures[key] is None
    else:
      assert 0 < spread[key]['min'] <= figures[key] <= spread[key]['max']
  setup = figures['setup']
  assert figures['step_flops_per_second'] == pytest.approx(
    6 * setup['macs_per_image'] * figures['step_images_per_second']
  )
  # TensorFlow alone takes the one, and so small a network not the other.
  assert 2**28 < figures['peak_memory_bytes'] < 2**32
  assert (setup['batch_size'], setup['precision']) == (30, 'float32')
  assert setup['versions']['tensorflow'] == tf.__version__
  assert setup['cores'] >= 1
  assert setup['command'].startswith('python -m studies.benchmark ')
  assert 'torch' in setup['versions']


def test_steps_are_compared_round_by_round():
  """Half the speed in the second round is the machine's doing."""
  compared = step_times.StepTimes(
    {'recipe': [400.0, 200.0, 400.0], 'change': [500.0, 250.0, 320.0]},
    {'recipe': 8000, 'change': 4000},
    {'rounds': 3},
  )
  assert compared.step_ratios('change') == [0.8, 0.8, 1.25]
  assert compared.as_dict() == {
    'variants': {
      'recipe': {
        'images_per_second': 400,
        'step_time_over_recipe': 1,
        'training_seconds': 20,
        'training_time_over_recipe': 1,
        'rounds': [400, 200, 400],
      },
      'change': {
        'images_per_second': 320,
        'step_time_over_recipe': 0.8,
        'training_seconds': 12.5,
        'training_time_over_recipe': 0.4,
        'rounds': [500, 250, 320],
      },
    },
    'setup': {'rounds': 3},
  }


def test_a_change_is_measured_beside_the_recipe(shapes_dir, tmp_path):
  bindings = (*tiny.BINDINGS, f"data.data_dir = '{shapes_dir}'")
  (tmp_path / 'recipe.gin').write_text('\n'.join(bindings))
  (tmp_path / 'shorter.gin').write_text(
    "norm_activation.activation = 'celu'\nrun.epochs = 2\n"
  )
  arguments = ('--gin_file=recipe.gin', '--rounds=1', '--seconds=0.05')
  arguments += ('--json=steps.json', 'shorter.gin')
  arguments += ('longer:run.epochs = 4',)
  result = _benchmark(tmp_path, *arguments)
  assert result.returncode == 0, result.stderr
  figures = json.loads((tmp_path / 'steps.json').read_text())
  recipe, shorter, longer = figures['variants'].values()
  assert list(figures['variants']) == ['recipe', 'shorter', 'longer']
  speeds = recipe['images_per_second'], shorter['images_per_second']
  assert shorter['step_time_over_recipe'] == speeds[0] / speeds[1]
  assert recipe['training_seconds'] == 9 * 30 / speeds[0]
  assert shorter['training_seconds'] == 6 * 30 / speeds[1]
  seconds = 12 * 30 / longer['images_per_second']
  assert longer['training_seconds'] == seconds
  assert figures['setup']['precision'] == dict.fromkeys(
    ('recipe', 'shorter', 'longer'), 'float32'
  )
  assert 'shorter' in result.stdout
  again = _benchmark(tmp_path, *arguments)
  assert again.returncode == 2
  assert again.stderr.startswith('error: --json=steps.json exists')


def test_changes_of_one_name_are_refused(tmp_path):
  result = _benchmark(tmp_path, 'a/x.gin', 'b/x.gin')
  assert result.returncode == 2
  assert result.stderr.startswith('error: two of these have the same name')


def test_the_time_of_a_step_is_split_by_operation():
  x = tf.random.uniform([256, 256])
  image = tf.random.uniform([8, 16, 16, 8])
  kernel = tf.random.uniform([3, 3, 8, 8])

  @tf.function
  def run():
    return tf.nn.relu(tf.nn.conv2d(image, kernel, 1, 'SAME')), tf.matmul(x, x)

  run()
  steps = step_profile.profile(run, steps=2)
  assert len(steps) == 2
  assert all(step_profile.convolution_seconds(times) > 0 for times in steps)
  seconds = step_profile.medians(steps)
  assert 0 < sum(seconds.values()) < 10
  assert list(seconds.values()) == sorted(seconds.values(), reverse=True)
  shares = step_profile.shares(seconds)
  assert sum(shares.values()) == pytest.approx(1)
  assert all(shares[name] > 0 for name in ('convolutions', 'kernel gradients'))
  assert shares['pooling'] == 0
  assert step_profile.shares({}) == {}


@pytest.mark.parametrize(
  ('operation', 'group'),
  [
    ('_MklNativeConv2D', 'convolutions'),
    ('_FusedConv2D', 'convolutions'),
    ('Conv2DBackpropInput', 'input gradients'),
    ('_MklNativeConv2DBackpropFilter', 'kernel gradients'),
    ('_MklMatMul', 'kernel gradients'),
    ('_MklNativeFusedBatchNormEx', 'batch norm'),
    ('FusedBatchNormGradV3', 'batch norm'),
    ('ReluGrad', 'ReLU'),
    ('MaxPoolGrad', 'pooling'),
    ('Conv2DTransposeHelper', 'all else'),
  ],
)
def test_operations_have_their_group(operation, group):
  shares = step_profile.shares({operation: 2.0})
  assert shares[group] == 1
  assert sum(shares.values()) == 1


def test_the_profile_is_the_median_of_steps():
  steps = [{'Relu': 1.0, 'Conv2D': 4.0}, {'Relu': 3.0}, {'Conv2D': 6.0}]
  assert step_profile.medians(steps) == {'Conv2D': 4.0, 'Relu': 1.0}
  assert [step_profile.convolution_seconds(step) for step in steps] == [4, 0, 6]


def test_ratios_are_taken_within_a_round():
  """Where the machine slows down, both are slow."""
  figures = {
    key: [8.0, 4.0, 6.0]
    for over_and_under in report.RATIOS.values()
    for key in over_and_under
  }
  figures['loop_images_per_second'] = [4.0, 2.0, 2.0]
  rivals = {'pytorch': pytorch_step.RIVAL}
  left_out = {'pytorch_images_per_second': 'no'}
  results = report.Results(rivals, figures, left_out)
  results.add_ratios()
  written = results.as_dict()
  assert written['evaluation_over_training'] == 2
  assert written['spread']['evaluation_over_training'] == {
    'min': 2,
    'max': 3,
    'rounds': [2, 2, 3],
  }
  assert written['loop_over_step'] == 0.5
  assert written['step_over_pytorch'] is None
  assert written['left_out']['step_over_pytorch'] == 'no'
  alone = report.Results({}, figures)
  alone.add_ratios()
  assert {key for key in alone.as_dict() if 'pytorch' in key} == set()


def test_a_failing_process_is_told_in_one_line():
  with pytest.raises(RunError, match='failed: error: --experiment=') as error:
    train_process.run(['--experiment=resnet_nine'], to_end=False)
  assert len(str(error.value).splitlines()) == 1


def test_pytorch_is_left_out_where_it_is_another_network(shapes_dir):
  params = tiny.config(shapes_dir, ["head.pooling = 'avg'"])
  assert pytorch_step.why_not(params) in (
    'PyTorch is not installed',
    "task.model.head.pooling='avg' is not written in PyTorch here",
  )


def _copy_weights(model, network):
  """Copies what is trained and the moving statistics, layer by layer."""
  torch = pytest.importorskip('torch')
  theirs = [m for m in network.modules() if list(m.parameters(recurse=False))]
  ours = [m for m in model.backbone.layers if m.weights]
  ours.append(model.get_layer('linear'))
  for layer, module in zip(ours, theirs, strict=True):
    targets = _tensors(module)
    weights = [_pytorch_order(weight) for weight in layer.get_weights()]
    if len(weights) < len(targets):  # A scale that stays 1.
      targets = targets[1:]
    # Keras lists what is trained first, as a bias before a kernel that is not.
    targets.sort(key=lambda target: target.ndim)
    weights.sort(key=lambda weight: weight.ndim)
    for weight, target in zip(weights, targets, strict=True):
      with torch.no_grad():
        target.copy_(torch.tensor(weight))


def _tensors(module):
  """Returns a module's tensors in the order of Keras' weights."""
  names = ('weight', 'bias', 'running_mean', 'running_var')
  tensors = (getattr(module, name, None) for name in names)
  return [tensor for tensor in tensors if tensor is not None]


def _pytorch_order(weight):
  """Puts the outputs of a kernel first, then the inputs."""
  axes = {1: [0], 2: [1, 0], 4: [3, 2, 0, 1]}
  return weight.transpose(axes[weight.ndim])


def test_pytorch_trains_the_same_network_the_same_way(shapes_dir):
  torch = pytest.importorskip('torch')
  from studies.pytorch import resnet9

  experiment = tiny.experiment_of(shapes_dir)
  params, task = experiment.params, experiment.build_task()
  assert pytorch_step.why_not(params) is None
  model = task.build_model()
  network = pytorch_step.build_network(params)
  assert model.count_params() == sum(
    tensor.numel() for tensor in network.state_dict().values() if tensor.ndim
  )
  _copy_weights(model, network)
  images, labels = next(iter(task.build_inputs(params.task.train_data)))
  theirs = torch.tensor(images.numpy().transpose(0, 3, 1, 2))
  network.eval()
  with torch.no_grad():
    logits = network(theirs).numpy() * params.task.model.head.logit_scale
  np.testing.assert_allclose(logits, model(images), rtol=1e-4, atol=1e-6)

  optimizer = train_utils.create_optimizer(task, params)
  optimizer.learning_rate = 0.1
  step = resnet9.build_step(
    network,
    theirs,
    torch.tensor(labels.numpy().astype('int64')),
    learning_rate=0.1,
    **pytorch_step.step_options(params),
  )
  for _ in range(3):
    logs = task.train_step((images, labels), model, optimizer)
    assert step() == pytest.approx(float(logs[task.loss]), rel=1e-4)
  np.testing.assert_allclose(
    network[-1].weight.detach().numpy(),
    model.get_layer('linear').get_weights()[0].T,
    rtol=1e-3,
    atol=1e-5,
  )


def test_pytorch_trains_airbench_the_same_way(shapes_dir):
  torch = pytest.importorskip('torch')
  from studies.pytorch import airbench

  bindings = ['airbench.channels = [8, 16, 24]', 'data.batch_size = 40']
  # Of low rates, the same in all steps, as the benchmark has them.
  bindings.append('piecewise_linear.values = [0.01, 0.01]')
  lines = [line for line in tiny.BINDINGS if 'resnet9' not in line]
  lines = [line for line in lines if 'triangular' not in line]
  lines = [line for line in lines if 'run.epochs' not in line]
  place = f"data.data_dir = '{shapes_dir}'"
  gin_config.parse(['gin/airbench94.gin'], [*lines, place, *bindings])
  found = experiment.parse(Flags())
  params, task = found.params, found.build_task()
  assert pytorch_step.why_not(params) is None
  model = task.build_model()
  network = pytorch_step.build_network(params)
  _copy_weights(model, network)
  images, labels = next(iter(task.build_inputs(params.task.train_data)))
  theirs = torch.tensor(images.numpy().transpose(0, 3, 1, 2))
  optimizer = train_utils.create_optimizer(task, params)
  step = airbench.build_step(
    network,
    theirs,
    torch.tensor(labels.numpy().astype('int64')),
    **pytorch_step.airbench_options(params, 0.01),
  )
  for _ in range(3):
    logs = task.train_step((images, labels), model, optimizer)
    assert step() == pytest.approx(float(logs[task.loss]), rel=1e-4)
