"""tf.data pipelines over images that are held in memory."""

import os
import re
from typing import Any

import tensorflow as tf
from absl import logging

from official_ext import addresses
from official_ext.configs.image_classification import DataConfig
from official_ext.dataloaders import augmentation_choices, preprocessing
from official_ext.dataloaders.in_memory import ImageData
from official_ext.errors import UserError
from official_ext.ops import stateless_random

# Stands in a seed where augmentation has the step, which counts from 0.
_SHUFFLE = -1

# Batches are ready in a fraction of a step; this covers what else the machine
# does in between.
_PREFETCH_BATCHES = 4


def build(
  data: ImageData,
  params: DataConfig,
  input_context: tf.distribute.InputContext | None = None,
  start_step: int = 0,
) -> tf.data.Dataset:
  """Builds the pipeline of one worker.

  Training goes on for ever. The order of the images and all that is random are
  functions of (seed, epoch, step), so that a pipeline built with `start_step`
  gives the batches that one without it gives from there on, and so that the
  rows of several workers make up the batch of a single one. An epoch is a new
  order of all images, less those of the last, partial batch.

  Evaluation gives every image once, on each replica in the order of the data
  set, and only normalised; the last batches may be smaller, but not empty.

  With an address of a tf.data service, it makes the training batches, each of
  them once. Those of one tf.data worker come in order; those of several may
  overtake one another, at the edge of an epoch into the next one too.

  Args:
    data: The images.
    params: Training or validation data. A `seed` of None is 0.
    input_context: Which worker this is, and of how many.
    start_step: Training step, over all epochs, whose batch comes first.

  Returns:
    A dataset of (images `[batch, height, width, channels]` of `params.dtype`;
    int32 labels `[batch]`), `batch` being that of a replica. The batches of the
    worker's replicas follow one another. Where the device preprocesses them,
    int32 `[batch]` stands for the images, their places in the data set, in
    training as part of a `preprocessing.Unprocessed`.

  Raises:
    UserError: If the batch is larger than the training data or cannot be
      divided among the replicas, or the tf.data service cannot be reached.
  """
  context = input_context or tf.distribute.InputContext()
  batch_size = _replica_batch_size(params, context)
  if params.is_training:
    dataset = _training(data, params, context, batch_size, start_step)
    # Known to be endless, a distributed iterator need not look for the end.
    dataset = dataset.apply(
      tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    )
  else:
    dataset = _evaluation(data, params, context, batch_size)
  options = tf.data.Options()
  options.deterministic = True
  # There is little to tune, and an iterator that is deleted waits for the
  # thread that does so, which sleeps for twice as long each time.
  options.autotune.enabled = False
  options.experimental_distribute.auto_shard_policy = (
    tf.data.experimental.AutoShardPolicy.OFF
  )
  dataset = dataset.with_options(options)
  if params.is_training and _service(params):
    dataset = dataset.apply(
      tf.data.experimental.service.distribute(
        tf.data.experimental.service.ShardingPolicy.DYNAMIC, _service(params)
      )
    ).with_options(options)
  buffer_size = params.prefetch_buffer_size or _PREFETCH_BATCHES
  return dataset.prefetch(buffer_size)


def _training(
  data: ImageData,
  params: DataConfig,
  context: tf.distribute.InputContext,
  batch_size: int,
  start_step: int,
) -> tf.data.Dataset:
  """Returns the batches of the worker's replicas, step by step."""
  steps, size = _steps_per_epoch(data, params), data.info.image_shape[:2]
  num_rows = params.global_batch_size // context.num_input_pipelines
  first_row = context.input_pipeline_id * num_rows
  first_rows = range(first_row, first_row + num_rows, batch_size)

  @tf.autograph.experimental.do_not_convert
  def batches_of(epoch: tf.Tensor) -> tf.data.Dataset:
    epoch = tf.cast(epoch, tf.int32)
    seed = stateless_random.make_seed(params.seed or 0, epoch, _SHUFFLE)
    order = stateless_random.permutation(seed, data.info.num_examples)
    step, first = tf.meshgrid(tf.range(steps), first_rows, indexing='ij')

    def share(values: tf.Tensor) -> tf.Tensor:
      """Divides what there is for each image into the worker's batches."""
      shape = values.shape[1:].as_list()
      values = values[: steps * params.global_batch_size]
      values = tf.reshape(values, [steps, params.global_batch_size, *shape])
      values = values[:, first_row : first_row + num_rows]
      return tf.reshape(values, [-1, batch_size, *shape])

    of_epoch = augmentation_choices.choose_for_epoch(params, epoch, order, size)
    return tf.data.Dataset.from_tensor_slices(
      (
        tf.fill([tf.size(step)], epoch),
        tf.reshape(step, [-1]),
        tf.reshape(first, [-1]),
        tuple(map(share, of_epoch)),
        share(order),
      )
    )

  @tf.autograph.experimental.do_not_convert
  def batch_of(
    epoch: tf.Tensor,
    step: tf.Tensor,
    first: tf.Tensor,
    of_epoch: tuple[tf.Tensor, ...],
    rows: tf.Tensor,
  ) -> tuple[Any, tf.Tensor]:
    labels = tf.gather(data.labels, rows)
    places = first + tf.range(batch_size)
    choices = augmentation_choices.choose(
      params, epoch, step, places, size, of_epoch
    )
    if preprocessing.on_device(params):
      return preprocessing.Unprocessed(rows, choices), labels
    images = tf.gather(data.images, rows)
    return preprocessing.apply(images, params, choices), labels

  if _service(params):
    # Its workers take from this range in turns.
    each = tf.data.Dataset.range(start_step, tf.int32.max)
    return each.flat_map(
      lambda step: (
        batches_of(step // steps)
        .skip(step % steps * len(first_rows))
        .take(len(first_rows))
      )
    ).map(batch_of, _cores())
  first_epoch, first_step = divmod(start_step, steps)
  epochs = tf.data.Dataset.range(first_epoch, tf.int32.max)
  batches = epochs.flat_map(batches_of).skip(first_step * len(first_rows))
  return batches.map(batch_of, _cores())


def _evaluation(
  data: ImageData,
  params: DataConfig,
  context: tf.distribute.InputContext,
  batch_size: int,
) -> tf.data.Dataset:
  """Returns the worker's part of the images."""
  count, workers = data.info.num_examples, context.num_input_pipelines
  replicas = context.num_replicas_in_sync
  local = replicas // workers
  first = context.input_pipeline_id * local
  if batch_size == 1 and count % replicas:
    raise UserError(
      f'task.validation_data.global_batch_size={replicas} leaves an image to '
      f'each of the {replicas} replicas, and nothing to some at the end of '
      f'{count} images; use at least {2 * replicas}.'
    )
  cuts = [
    _cuts(count, replica, replicas, batch_size)
    for replica in range(first, first + local)
  ]
  logging.info(
    'Evaluation on all %d images of %s, %d of them on this worker.',
    count,
    data.info.name,
    cuts[-1][-1] - cuts[0][0],
  )

  @tf.autograph.experimental.do_not_convert
  def batch_of(begin: tf.Tensor, end: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    rows = tf.range(begin, end)
    labels = tf.gather(data.labels, rows)
    if preprocessing.on_device(params):
      return rows, labels
    images = tf.gather(data.images, rows)
    return preprocessing.for_evaluation(images, params), labels

  # Step by step, the batches of the worker's replicas.
  begins = [row for step in zip(*cuts, strict=True) for row in step]
  rows = tf.data.Dataset.from_tensor_slices((begins[:-local], begins[local:]))
  return rows.map(batch_of, _cores())


def _cuts(
  count: int, replica: int, replicas: int, batch_size: int
) -> list[int]:
  """Returns where the batches of a replica begin, and the end of the last.

  All replicas have the same number of batches, since some operations fail
  without an image: one that would have a batch less halves its last one.
  """
  first, end = (count * r // replicas for r in (replica, replica + 1))
  steps = -(-count // (replicas * batch_size))
  cuts = [first, *range(first + batch_size, end, batch_size), end]
  if len(cuts) <= steps:
    cuts.insert(-1, (cuts[-2] + end) // 2)
  return cuts


def _service(params: DataConfig) -> str:
  """Returns the address of the tf.data service, if there is to be one.

  Raises:
    UserError: If nothing answers there.
  """
  address = params.tf_data_service_address or ''
  match = re.fullmatch(r'grpc://([^\s/]+:\d+)', address)
  if match and addresses.answers(match[1]):
    return address
  if address or params.enable_tf_data_service:
    raise UserError(
      f"task.train_data.tf_data_service_address='{address}' "
      '(--tf_data_service) is no tf.data service that answers; start its '
      "dispatcher, and write 'grpc://host:port'."
    )
  return ''


def _cores() -> int:
  return len(os.sched_getaffinity(0))


def _steps_per_epoch(data: ImageData, params: DataConfig) -> int:
  """Returns the number of full batches in the data, at least 1."""
  size, count = params.global_batch_size, data.info.num_examples
  if size > count:
    raise UserError(
      f'task.train_data.global_batch_size={size} is more than the {count} '
      f'images of {data.info.name}; use at most that many.'
    )
  return count // size


def _replica_batch_size(
  params: DataConfig, context: tf.distribute.InputContext
) -> int:
  """Returns the number of images of a step on one replica."""
  size, replicas = params.global_batch_size, context.num_replicas_in_sync
  if size % replicas:
    place = 'train_data' if params.is_training else 'validation_data'
    raise UserError(
      f'task.{place}.global_batch_size={size} cannot be divided among '
      f'{replicas} replicas; use a multiple of {replicas}.'
    )
  return size // replicas
