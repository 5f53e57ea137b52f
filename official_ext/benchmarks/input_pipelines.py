"""The training input alone: this package's, and Garden's stock one."""

from collections.abc import Callable
from typing import Any

import orbit
import tensorflow as tf
import tensorflow_datasets as tfds
from official.core import config_definitions as cfg
from official.vision.configs import image_classification as garden_cfg
from official.vision.dataloaders import tfds_classification_decoders
from official.vision.tasks import image_classification as garden

from official_ext.configuration.experiment import Experiment
from official_ext.dataloaders import preprocessing

_Pull = Callable[[], Any]


def ours(experiment: Experiment, strategy: tf.distribute.Strategy) -> _Pull:
  """Returns a function that takes a batch as the trainer does."""
  build_inputs = experiment.build_task().build_inputs
  return _pull(strategy, build_inputs, experiment.params.task.train_data)


def why_not_stock(experiment: Experiment) -> str | None:
  """Returns why Garden's pipeline cannot read the data; None if it can."""
  if preprocessing.on_device(experiment.params.task.train_data):
    return "Garden's pipeline makes images ready, the step here"
  assert experiment.data  # `local_data` lets no other task through.
  source = experiment.data.train
  if (source.image_key, source.label_key) != ('image', 'label'):
    return "Garden's decoder reads the features 'image' and 'label' only"
  if source.info.image_shape[2] != 3:
    return "Garden's parser makes RGB images only"
  return None


def stock(
  params: cfg.ExperimentConfig, strategy: tf.distribute.Strategy
) -> _Pull:
  """Returns a function that takes a batch from Garden's own pipeline.

  It reads the same split in batches of the same size; all else is Garden's
  default: the images are encoded to JPEG, decoded, cropped, resized, flipped
  and normalised.
  """
  ours, model = params.task.train_data, params.task.model
  # Garden has a list of data sets, with the same decoder for each.
  tfds_classification_decoders.TFDS_ID_TO_DECODER_MAP.setdefault(
    ours.tfds_name, tfds_classification_decoders.ClassificationDecorder
  )
  data = garden_cfg.DataConfig(
    is_training=True,
    global_batch_size=ours.global_batch_size,
    tfds_name=ours.tfds_name,
    tfds_split=ours.tfds_split,
    tfds_data_dir=ours.tfds_data_dir or str(tfds.core.constants.DATA_DIR),
  )
  task = garden.ImageClassificationTask(
    garden_cfg.ImageClassificationTask(
      model=garden_cfg.ImageClassificationModel(
        num_classes=model.num_classes, input_size=model.input_size
      ),
      train_data=data,
    )
  )
  return _pull(strategy, task.build_inputs, data)


def _pull(
  strategy: tf.distribute.Strategy,
  build_inputs: Callable[..., tf.data.Dataset],
  data: cfg.DataConfig,
) -> _Pull:
  # As Garden's trainer distributes it and Orbit iterates over it.
  dataset = orbit.utils.make_distributed_dataset(strategy, build_inputs, data)
  iterator = iter(dataset)
  take = tf.function(lambda iterator: next(iterator))
  return lambda: take(iterator)
