"""Garden's export module for a trained classifier, preprocessing inside."""

from collections.abc import Mapping

import tensorflow as tf
from official.vision.serving import export_base_v2

from official_ext.serving.trained_model import TrainedModel


def export_module(
  trained: TrainedModel, class_names: bool
) -> export_base_v2.ExportModule:
  """Returns a module from uint8 images to a dict of tensors.

  Input `inputs`: uint8 `[batch, height, width, channels]`, of the size that the
  model was trained on. Outputs: float32 `logits` and `probabilities`, both
  `[batch, num_classes]`, and string `class_name` `[batch]`, the name of the
  most probable class.

  Args:
    trained: What to export.
    class_names: Whether `class_name` is among the outputs; TFLite's kernels
      leave strings to a library of their own.
  """
  names = tf.constant(trained.class_names)

  def outputs(logits: tf.Tensor) -> Mapping[str, tf.Tensor]:
    made = {'logits': logits, 'probabilities': tf.nn.softmax(logits)}
    if class_names:
      made['class_name'] = tf.gather(names, tf.argmax(logits, axis=-1))
    return made

  return export_base_v2.ExportModule(
    trained.params,
    trained.model,
    input_signature=tf.TensorSpec(
      [None, *trained.image_shape], tf.uint8, name='inputs'
    ),
    preprocessor=trained.preprocess,
    inference_step=trained.task.inference_step,
    postprocessor=outputs,
  )
