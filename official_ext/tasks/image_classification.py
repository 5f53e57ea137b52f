"""Image classification on data held in memory."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from official.core import task_factory
from official.vision.tasks import image_classification

from official_ext.configs import image_classification as exp_cfg
from official_ext.configs import progressive_resizing
from official_ext.dataloaders import (
  classification_input,
  data_sets,
  in_memory,
  preprocessing,
  resident,
)
from official_ext.errors import UserError
from official_ext.modeling import factory
from official_ext.ops import resizing, views
from official_ext.tasks import (
  balanced_accuracy,
  class_weights,
  validation_loss,
)
from official_ext.tasks.weight_averaging import WeightAveraging


@task_factory.register_task_cls(exp_cfg.ImageClassificationTask)
class ImageClassificationTask(
  WeightAveraging, image_classification.ImageClassificationTask
):
  """Garden's image classification with this package's model and input.

  What a step computes, the losses of images and the metrics are Garden's.

  Attributes:
    data: A handle on the images. A run gives the one that it has opened.
    compiles_validation: That XLA compiles the step of a validation, too, where
      it compiles that of the training.
    right: Which test images were right in the last evaluation, those of this
      process, bool `[count]` in their order, by accuracy.
  """

  compiles_validation = True

  # Known once there is a training input, where classes are weighted.
  _class_weights: np.ndarray

  def __init__(self, params: exp_cfg.ImageClassificationTask, **kwargs: Any):
    """Takes the task's config, and Garden's arguments."""
    # Garden's step asks a tensor for its rank where the loss is binary, which
    # no graph can answer. Without, the labels are vectors already.
    losses = params.losses.replace(use_binary_cross_entropy=False)
    super().__init__(params.replace(losses=losses), **kwargs)
    self._losses = _garden_task(params, params.losses)
    self.data = data_sets.DataSets(params)
    self.right: dict[str, np.ndarray] = {}
    self._devices: list[str] = ['']
    # What a step is traced with: see `tracing`.
    self._train_size: tuple[int, int] | None = None
    self._train_images: resident.Copies = ()
    self._test_images: resident.Copies = ()

  def compute_on(self, strategy: tf.distribute.Strategy) -> None:
    """Says where images are to live that the step preprocesses."""
    self._devices = resident.devices_of(strategy)

  def build_model(self) -> tf_keras.Model:
    """Builds the classifier; see `modeling.classification_model`."""
    l2_weight_decay = self.task_config.losses.l2_weight_decay
    # Garden's unit: l2(w / 2) has the gradient w.
    regularizer = (
      tf_keras.regularizers.l2(l2_weight_decay / 2) if l2_weight_decay else None
    )
    several_sizes = self.task_config.train_data.progressive_resizing is not None
    model = factory.build_classification_model(
      self.task_config.model, regularizer, several_sizes
    )
    model.backbone.trainable = not self.task_config.freeze_backbone
    self._check_sizes(model)
    return model

  def _check_sizes(self, model: tf_keras.Model) -> None:
    """Raises where the network cannot be trained on images of a size."""
    *size, channels = self.task_config.model.input_size
    resizing = self.task_config.train_data.progressive_resizing
    for height, width in progressive_resizing.sizes(resizing, size):
      images = tf.TensorSpec([1, height, width, channels], tf.float32)
      try:
        tf.function(model, autograph=False).get_concrete_function(images)
      except ValueError as error:
        raise UserError(
          'task.train_data.progressive_resizing.sides (gin: '
          f'progressive_resizing.sides): images of {width}×{height} are too '
          'small for the network; begin with a larger side.'
        ) from error

  def stages(self, train_steps: int) -> list[progressive_resizing.Stage]:
    """Returns the parts of a training, each of which has its size."""
    return progressive_resizing.stages(
      self.task_config.train_data.progressive_resizing,
      self.task_config.model.input_size,
      train_steps,
    )

  def initialize(self, model: tf_keras.Model) -> None:
    """Loads Garden's initial checkpoint, or computes what the data decide.

    Called where a run begins; later the weights come from its checkpoint.
    """
    super().initialize(model)
    if self.task_config.init_checkpoint:
      return
    params = self.task_config.train_data
    for layer in model.submodules:
      if hasattr(layer, 'learn_filters'):
        layer.learn_filters(
          self.data.load(params).images, params.mean_rgb, params.stddev_rgb
        )

  def build_inputs(
    self,
    params: exp_cfg.DataConfig,
    input_context: tf.distribute.InputContext | None = None,
    start_step: int = 0,
  ) -> tf.data.Dataset:
    """Builds the pipeline of one worker.

    Args:
      params: Training or validation data.
      input_context: Which worker this is, and of how many.
      start_step: Training step whose batch comes first.

    Returns:
      A dataset of (images, labels) as `classification_input.build` describes.

    Raises:
      UserError: As there, or if the classes cannot be weighted as asked for.
    """
    if preprocessing.on_device(params):
      self._reside(params, ())  # Blank ones go, so that there is room.
      self._reside(params, self.data.reside(params, self._devices))
    data = self.data.load(params)
    asked = self.task_config.losses.class_weights
    if params.is_training and asked is not None:
      self._class_weights = class_weights.of(asked, data)
    return classification_input.build(data, params, input_context, start_step)

  def waits_for(self, params: exp_cfg.DataConfig) -> bool:
    """Whether images are still read that programs do not depend on."""
    weighted = self.task_config.losses.class_weights is not None
    return (
      params.is_training and not weighted and not self.data.has_loaded(params)
    )

  def build_blank_inputs(
    self,
    params: exp_cfg.DataConfig,
    input_context: tf.distribute.InputContext | None = None,
  ) -> tf.data.Dataset:
    """Builds what has the form of `build_inputs`, of black images.

    A step can be compiled with it while the images are read.

    Args:
      params: Training data.
      input_context: Which worker this is, and of how many.

    Raises:
      UserError: If the images do not fit the model, or on a device.
    """
    self.data.check(params)
    info = self.data.source(params).info
    if preprocessing.on_device(params):
      self._reside(params, resident.blank(info, self._devices))
    data = in_memory.blank(info, params.global_batch_size)
    return classification_input.build(data, params, input_context)

  def _reside(
    self, params: exp_cfg.DataConfig, images: resident.Copies
  ) -> None:
    if params.is_training:
      self._train_images = images
    else:
      self._test_images = images

  @property
  def train_images(self) -> resident.Copies:
    """The images that a step gathers; none where the host sends them."""
    return self._train_images

  @contextlib.contextmanager
  def tracing(
    self, size: tuple[int, int] | None, images: resident.Copies
  ) -> Iterator[None]:
    """Has what is traced inside train on images of a size, out of given ones.

    These are then an argument of the program: others can take their place.

    Args:
      size: Height and width; None for those of the images.
      images: As `train_images`.
    """
    kept = self._train_size, self._train_images
    self._train_size, self._train_images = size, images
    try:
      yield
    finally:
      self._train_size, self._train_images = kept

  def build_metrics(
    self, training: bool = True
  ) -> list[tf_keras.metrics.Metric]:
    """Returns Garden's metrics, and in evaluation the mean loss and others.

    Which, the test images of a run tell, which are read for it.
    """
    metrics = super().build_metrics(training=training)
    if not training:
      metrics.append(self._validation_loss())
      for view in self.task_config.evaluation.views:
        metrics.append(type(metrics[0])(name=views.metric_name(view)))
      metrics += self._balanced_accuracy()
    return metrics

  def _balanced_accuracy(self) -> list[tf_keras.metrics.Metric]:
    """Returns nothing where classes are of equal size, or there is no run."""
    if not self.data.is_open:
      return []
    data = self.data.load(self.task_config.validation_data)
    if not balanced_accuracy.says_more(np.bincount(data.labels)):
      return []
    return [
      balanced_accuracy.BalancedAccuracy(
        self.task_config.model.num_classes, self.task_config.losses.one_hot
      )
    ]

  def _validation_loss(self) -> tf_keras.metrics.Metric:
    """Returns the mean of the loss that is trained on, of labels as they are.

    Nothing is smoothed, nor is a term of the weights' own in it.
    """
    losses = self._losses.task_config.losses.replace(label_smoothing=0.0)
    unsmoothed = _garden_task(self.task_config, losses)
    return validation_loss.ValidationLoss(unsmoothed.build_losses)

  def build_losses(
    self, labels: tf.Tensor, model_outputs: tf.Tensor, aux_losses: Any = None
  ) -> tf.Tensor:
    """Returns Garden's loss, images weighted by their class if asked for."""
    mean = self._losses.build_losses
    loss = mean(labels, model_outputs, aux_losses)
    if self.task_config.losses.class_weights is None:
      return loss
    return loss + class_weights.added(
      mean, labels, model_outputs, self._class_weights
    )

  # There is no control flow to convert, and the conversion takes seconds.
  @tf.autograph.experimental.do_not_convert
  def train_step(
    self,
    inputs: tuple[Any, tf.Tensor],
    model: tf_keras.Model,
    optimizer: tf_keras.optimizers.Optimizer,
    metrics: list[tf_keras.metrics.Metric] | None = None,
  ) -> dict[str, Any]:
    """Trains on a batch of `build_inputs`, augmented here if not there."""
    images, labels = inputs
    params = self.task_config.train_data
    if preprocessing.on_device(params):
      found = resident.gather(self._train_images, images.images)
      images = preprocessing.apply(found, params, images.choices)
    if self._train_size:
      images = resizing.resize(images, self._train_size)
    return super().train_step((images, labels), model, optimizer, metrics)

  @tf.autograph.experimental.do_not_convert
  def validation_step(
    self,
    inputs: tuple[tf.Tensor, tf.Tensor],
    model: tf_keras.Model,
    metrics: list[tf_keras.metrics.Metric] | None = None,
  ) -> dict[str, Any]:
    """Evaluates a batch; the loss is among the metrics, not in the logs.

    Returns:
      bool `[batch]` for each accuracy, by its name: which images are right.
    """
    images, classes = inputs
    params = self.task_config.validation_data
    if preprocessing.on_device(params):
      images = resident.gather(self._test_images, images)
      images = preprocessing.for_evaluation(images, params)
    labels = classes
    if self.task_config.losses.one_hot:
      labels = tf.one_hot(classes, self.task_config.model.num_classes)
    logits = self.inference_step(images, model)
    names = self.task_config.evaluation.views
    over_views = {views.metric_name(name): name for name in names}
    seen: dict[views.Look, tf.Tensor] = {views.PLAIN: logits}
    right = {}
    for metric in metrics or []:
      view = over_views.get(metric.name)
      judged = logits
      if view:
        judged = views.logits(
          lambda looked_at: self.inference_step(looked_at, model),
          images,
          seen,
          view,
        )
      self.process_metrics([metric], labels, judged)
      if view or metric.name == 'accuracy':
        found = tf.argmax(judged, axis=-1, output_type=classes.dtype)
        right[metric.name] = found == classes
    return right

  def aggregate_logs(
    self, state: dict[str, list[Any]] | None, step_outputs: dict[str, Any]
  ) -> dict[str, list[Any]]:
    """Returns, for each output of `validation_step`, those of all steps."""
    state = state or {}
    for name, replicas in step_outputs.items():
      state.setdefault(name, []).append(replicas)
    return state

  def reduce_aggregated_logs(
    self,
    aggregated_logs: dict[str, list[Any]],
    global_step: tf.Tensor | None = None,
  ) -> dict[str, Any]:
    """Keeps which images were right; there is nothing more to log.

    Each replica has evaluated images that follow one another.
    """
    del global_step
    self.right = {
      name: np.concatenate(
        [np.concatenate(r) for r in zip(*steps, strict=True)]
      )
      for name, steps in aggregated_logs.items()
    }
    return {}


def _garden_task(
  params: exp_cfg.ImageClassificationTask, losses: exp_cfg.Losses
) -> image_classification.ImageClassificationTask:
  """Returns Garden's own task, for its loss."""
  return image_classification.ImageClassificationTask(
    params.replace(losses=losses)
  )
