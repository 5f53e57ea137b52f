"""The ten-epoch recipe as a whole, beside an independent one in float64.

It is written from `new_dawn.py` of https://github.com/davidcpage/cifar10-fast:
two convolutions for the whitened one, batch norm group by group, a summed loss
with the rates and decays that go with it, and plain arithmetic for the rest.
"""

import gin
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.core import exp_factory, task_factory, train_utils

from official_ext import registry_imports  # noqa: F401
from official_ext.configuration import gin_config
from official_ext.ops import whitening

_BATCH, _GROUP, _STEPS = 64, 32, 7
_CHANNELS = [8, 16, 16, 16]
_STEPS_AN_EPOCH = 50_000 // _BATCH
_LAYERS = ('prep', 'layer1', 'layer1_res1', 'layer1_res2', 'layer2', 'layer3')
_LAYERS += ('layer3_res1', 'layer3_res2')


class Original:
  """The original's network, update and average, all in float64."""

  def __init__(self, weights, filters):
    self.weights = {
      name: tf.Variable(tf.cast(value, tf.float64))
      for name, value in weights.items()
    }
    self.filters = filters.astype(np.float64).reshape(3, 3, 3, 27)
    self.velocity = dict.fromkeys(weights, 0.0)
    sizes = {name: weights[f'{name}_bn/beta'].shape for name in _LAYERS}
    self.statistics = {
      name: [np.zeros(size), np.ones(size)] for name, size in sizes.items()
    }
    self.start = self.all_numbers()
    self.average = dict(self.start)
    self.step = 0

  def all_numbers(self):
    """Weights, and statistics under Garden's names."""
    numbers = {name: value.numpy() for name, value in self.weights.items()}
    for name, (mean, variance) in self.statistics.items():
      numbers[f'{name}_bn/moving_mean'] = mean
      numbers[f'{name}_bn/moving_variance'] = variance
    return numbers

  def train(self, images, labels):
    """Takes a step and returns the mean loss."""
    self.step += 1
    batch_statistics = {}
    with tf.GradientTape() as tape:
      logits = self._logits(images, self.weights, self._norm(batch_statistics))
      log_p = tf.nn.log_softmax(logits)
      of_label = tf.gather(log_p, labels, batch_dims=1)
      losses = -0.8 * of_label - 0.2 * tf.reduce_mean(log_p, 1)
      loss = tf.reduce_sum(losses)
    gradients = tape.gradient(loss, self.weights)
    epoch = self.step / _STEPS_AN_EPOCH
    rate = np.interp(epoch, [0, 2, 8], [0, 1.0, 0.1]) / _BATCH
    for name, weight in self.weights.items():
      scale = 64 if name.endswith('beta') else 1
      decay = 5e-4 * _BATCH / scale
      change = -rate * scale * (gradients[name] + decay * weight)
      self.velocity[name] = 0.9 * self.velocity[name] + change
      weight.assign_add(0.9 * self.velocity[name] + change)
    for name, now in batch_statistics.items():
      self.statistics[name] = [
        0.9 * old + 0.1 * new
        for old, new in zip(self.statistics[name], now, strict=True)
      ]
    if self.step % 5 == 1:
      factor = 0.99**5
      for name, number in self.all_numbers().items():
        old = self.average[name]
        self.average[name] = factor * old + (1 - factor) * number
    return loss.numpy() / _BATCH

  def evaluate(self, images):
    """Returns the logits of the averaged network."""

    def norm(x, name):
      mean, variance = (
        self.average[f'{name}_bn/{kind}']
        for kind in ('moving_mean', 'moving_variance')
      )
      offset = self.average[f'{name}_bn/beta']
      return (x - mean) / np.sqrt(variance + 1e-5) + offset

    return self._logits(images, self.average, norm).numpy()

  def _norm(self, batch_statistics):
    """Returns batch norm by groups of images, which keeps their statistics."""

    def norm(x, name):
      groups = [x[i : i + _GROUP] for i in range(0, len(x), _GROUP)]
      moments = [tf.nn.moments(group, [0, 1, 2]) for group in groups]
      count = _GROUP * x.shape[1] * x.shape[2]
      means, variances = (np.stack(kind) for kind in zip(*moments, strict=True))
      unbiased = variances * count / (count - 1)
      batch_statistics[name] = [means.mean(0), unbiased.mean(0)]
      normal = [
        (group - mean) / tf.sqrt(variance + 1e-5)
        for group, (mean, variance) in zip(groups, moments, strict=True)
      ]
      return tf.concat(normal, 0) + self.weights[f'{name}_bn/beta']

    return norm

  def _logits(self, images, weights, norm):
    def convolve(x, kernel):
      return tf.nn.conv2d(x, kernel, 1, 'SAME')

    def layer(x, name, pool=False):
      x = convolve(x, weights[f'{name}_conv/kernel'])
      if pool:
        x = tf.nn.max_pool2d(x, 2, 2, 'VALID')
      return celu(norm(x, name))

    def residual(x, name):
      return x + layer(layer(x, f'{name}_res1'), f'{name}_res2')

    def celu(x):
      below = tf.minimum(x, 0)
      return tf.maximum(x, 0) + 0.3 * (tf.exp(below / 0.3) - 1)

    kernel = tf.reshape(weights['prep_conv/kernel'], [1, 1, 27, _CHANNELS[0]])
    x = convolve(tf.cast(images, tf.float64), self.filters)
    x = celu(norm(convolve(x, kernel), 'prep'))
    x = residual(layer(x, 'layer1', pool=True), 'layer1')
    x = layer(x, 'layer2', pool=True)
    x = residual(layer(x, 'layer3', pool=True), 'layer3')
    features = tf.reduce_max(x, [1, 2])
    return features @ weights['linear/kernel'] / 16


def plain_name(variable):
  return variable.name.removesuffix(':0')


@pytest.fixture(scope='module')
def trained():
  """(task, model, optimizer, the original, losses of both) after some steps."""
  rng = np.random.default_rng(0)
  count = _BATCH * _STEPS
  images = rng.normal(size=(count, 32, 32, 3)).astype(np.float32)
  images += np.roll(images, 1, axis=2) + np.roll(images, 1, axis=1)
  labels = rng.integers(0, 10, count).astype(np.int32)
  gin.clear_config()
  small = {'resnet9.channels': _CHANNELS, 'data.batch_size': _BATCH}
  gin_config.parse(
    ['gin/resnet9_dawn.gin'],
    [f'{key} = {value}' for key, value in small.items()],
  )
  params = exp_factory.get_exp_config('small_images')
  task = task_factory.get_task(params.task)
  tf_keras.utils.set_random_seed(1)
  model = task.build_model()
  optimizer = train_utils.create_optimizer(task, params)
  filters = whitening.filters(images[:100])
  model.backbone.get_layer('prep_conv').whitening.assign(filters)
  optimizer.shadow_copy(model)
  weights = {plain_name(v): v.numpy() for v in model.trainable_variables}
  original = Original(weights, filters)

  @tf.function
  def step(images, labels):
    return task.train_step((images, labels), model, optimizer)[task.loss]

  losses = []
  for start in range(0, count, _BATCH):
    batch = slice(start, start + _BATCH)
    theirs = original.train(images[batch], labels[batch])
    losses.append((step(images[batch], labels[batch]).numpy(), theirs))
  return task, model, optimizer, original, losses


def test_losses_are_those_of_the_original(trained):
  ours, theirs = np.transpose(trained[-1])
  np.testing.assert_allclose(ours, theirs, rtol=1e-5)
  assert len(set(np.round(theirs, 3))) > 3


def test_averages_are_those_of_the_original(trained):
  _, model, optimizer, original, _ = trained
  numbers = {plain_name(v): v for v in model.variables}
  trained_numbers = {name: v.numpy() for name, v in numbers.items()}
  expected = original.all_numbers()
  assert numbers.keys() - expected.keys() == {'prep_conv/whitening'}
  optimizer.swap_weights()
  averages = {name: v.numpy() for name, v in numbers.items()}
  optimizer.swap_weights()
  for name in expected:
    for ours, theirs in (
      (trained_numbers[name], expected[name]),
      (averages[name], original.average[name]),
    ):
      changes = [numbers - original.start[name] for numbers in (ours, theirs)]
      scale = np.abs(changes[1]).max()
      assert scale > 0
      # A norm takes out nearly all of the offset before it, so its gradient is
      # a small difference of large numbers: rounding is 1% on some CPUs.
      np.testing.assert_allclose(*changes, atol=0.02 * scale, err_msg=name)


def test_evaluation_is_that_of_the_original(trained):
  """On the averaged network, with and without mirror images."""
  task, model, optimizer, original, _ = trained
  rng = np.random.default_rng(1)
  images = rng.normal(size=(_BATCH, 32, 32, 3)).astype(np.float32)
  logits = original.evaluate(images)
  mirrored = (logits + original.evaluate(images[:, :, ::-1])) / 2
  optimizer.swap_weights()
  ours = model(images, training=False)
  metrics = task.build_metrics(training=False)
  # Labels that the network gives by itself to every other image.
  labels = np.where(np.arange(_BATCH) % 2, logits.argmax(1), 1)
  task.validation_step((images, tf.constant(labels, tf.int32)), model, metrics)
  optimizer.swap_weights()
  np.testing.assert_allclose(ours, logits, atol=1e-4 * np.abs(logits).max())
  results = {metric.name: float(metric.result()) for metric in metrics}
  alone, together = (
    np.mean(values.argmax(1) == labels) for values in (logits, mirrored)
  )
  assert results['accuracy'] == pytest.approx(alone)
  assert results['accuracy_mirror'] == pytest.approx(together)
