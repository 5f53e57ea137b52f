"""Image classification configurations: Garden's, with this package's fields."""

import dataclasses

from official.modeling import hyperparams
from official.vision.configs import common as garden_common
from official.vision.configs import image_classification as garden

from official_ext.configs import backbones
from official_ext.configs.augmentation import Augmentation
from official_ext.configs.progressive_resizing import ProgressiveResizing
from official_ext.errors import UserError
from official_ext.ops import activations, initializers
from official_ext.schema import fields, parts
from official_ext.schema.fields import Tie

# Of CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html): means and
# deviations of the channels as in `torch_backend.py` of cifar10-fast.
CIFAR10_MEAN_RGB = (125.31, 122.95, 113.87)
CIFAR10_STDDEV_RGB = (62.99, 62.09, 66.70)

KERNEL_INITIALIZER = fields.Rule(
  initializers.is_known,
  f'one of {", ".join(initializers.NAMES)} or the name of a Keras initialiser '
  "such as 'he_uniform'",
)
_ACTIVATION = fields.Rule(
  activations.is_known,
  "'celu' or the name of a Keras activation such as 'relu'",
)
_ONE_CLASS = fields.Rule(
  lambda soft: not soft, 'False: each image of these data has one class'
)
_DTYPES = fields.one_of(*fields.PRECISIONS)

# What weights classes by how few images they have.
BALANCED = 'balanced'
_NUMBERS = fields.all_of(fields.ABOVE_0, 'a list of numbers')
_CLASS_WEIGHTS = fields.Rule(
  lambda v: v == BALANCED if isinstance(v, str) else _NUMBERS.accepts(v),
  f"'{BALANCED}', or {_NUMBERS.requirement}",
)

# Fields of Garden's data config that this package's input acts upon.
_USED = frozenset(
  {
    'drop_remainder',
    'dtype',
    'global_batch_size',
    'image_field_key',
    'is_training',
    'label_field_key',
    'prefetch_buffer_size',
    # A flag of Garden's sets it for evaluation too.
    'tf_data_service_address',
    'tfds_data_dir',
    'tfds_name',
    'tfds_split',
  }
)
_USED_IN_TRAINING = frozenset({'enable_tf_data_service', 'seed'})
# Fields of this package's that only training acts upon.
_OWN_OF_TRAINING = frozenset({'augmentations', 'progressive_resizing'})


@dataclasses.dataclass
class DataConfig(garden.DataConfig):
  """Input from a TFDS data set that is held in memory.

  Of Garden's fields, those that the input path does not use must keep their
  defaults.

  Attributes:
    tfds_name: TFDS name of the data set, with a version if need be.
    tfds_split: TFDS split, or slice of one.
    global_batch_size: Images of a step, over all replicas.
    dtype: Of the images that the model gets.
    mean_rgb: Mean of each channel, in 0 to 255.
    stddev_rgb: Standard deviation of each channel, in 0 to 255.
    augmentations: What is done to training images, in this order.
    progressive_resizing: Smaller sizes to train on first; None for none.
    preprocess_on_device: Whether the images live on the device, and are
      augmented and normalised there as part of the step, with the same results,
      instead of by the host's CPU; None for doing so on GPUs.
  """

  tfds_name: str = fields.field('', tied_to=Tie.WEIGHTS)
  tfds_split: str = fields.field('', tied_to=Tie.RUN)
  global_batch_size: int = fields.field(0, fields.AT_LEAST_1)
  dtype: str = fields.field('float32', _DTYPES, tied_to=Tie.FUTURE)
  mean_rgb: list[float] = fields.field(
    list(CIFAR10_MEAN_RGB), tied_to=Tie.WEIGHTS
  )
  stddev_rgb: list[float] = fields.field(
    list(CIFAR10_STDDEV_RGB), fields.all_of(fields.ABOVE_0), tied_to=Tie.WEIGHTS
  )
  augmentations: list[Augmentation] = dataclasses.field(default_factory=list)
  progressive_resizing: ProgressiveResizing | None = None
  preprocess_on_device: bool | None = fields.field(None, tied_to=Tie.PLACE)

  def check_together(self, place: str) -> None:
    """Raises for an option that would be ignored in silence."""
    used = _USED | {
      key for key in DataConfig.__annotations__ if key not in _OWN_OF_TRAINING
    }
    where = 'in evaluation'
    if self.is_training:
      used |= _USED_IN_TRAINING | _OWN_OF_TRAINING
      where = 'with data in memory'
    usual = DataConfig(is_training=self.is_training)
    for field in dataclasses.fields(self):
      value, before = getattr(self, field.name), getattr(usual, field.name)
      # A file that a run wrote has lists for tuples.
      same = value == before or (
        isinstance(before, tuple) and value == list(before)
      )
      if field.name not in used and not same:
        shown = '' if isinstance(value, hyperparams.Config) else f'={value!r}'
        raise UserError(
          f'{place}{field.name}{shown} has no effect {where}; leave it out.'
        )
    if self.drop_remainder != self.is_training:
      raise UserError(
        f'{place}drop_remainder={self.drop_remainder} cannot be chosen; '
        'training drops the last partial batch, evaluation never drops an '
        'image.'
      )


@parts.part('evaluation')
@dataclasses.dataclass
class Evaluation(garden.Evaluation):
  """Garden's evaluation config, with test-time augmentation.

  Attributes:
    views: Names of ways to look at an image, of `official_ext.ops.views`:
      'mirror' for it and its mirror image, 'mirror_translate' for these and,
      with half of the weight, both shifted by a pixel. The accuracy of the mean
      logits over each is reported beside the plain one.
  """

  views: list[str] = dataclasses.field(default_factory=list)


@parts.part('losses')
@dataclasses.dataclass
class Losses(garden.Losses):
  """Garden's losses.

  Attributes:
    one_hot: Whether labels are vectors, which costs memory and time; where
      smoothed they have to be.
    label_smoothing: Share of the label spread evenly over all classes.
    class_weights: What an image counts in the loss of the training, by its
      class: 'balanced' for what makes all classes count alike, whatever their
      sizes; or a list of one number for each class, of which only the ratios
      matter; None for all images alike. The loss of the test data stays plain.
  """

  one_hot: bool = False
  label_smoothing: float = fields.field(0.0, fields.SHARE)
  class_weights: str | list[float] | None = fields.field(
    None, fields.optional(_CLASS_WEIGHTS)
  )
  # Garden's own path for them needs labels that this package does not make.
  soft_labels: bool = fields.field(False, _ONE_CLASS)

  def check_together(self, place: str) -> None:
    """Raises where one of the values leaves another without an effect."""
    if self.use_binary_cross_entropy and not self.one_hot:
      raise UserError(
        f'{place}use_binary_cross_entropy=True needs {place}one_hot=True.'
      )
    if not self.label_smoothing:
      return
    smoothing = f'{place}label_smoothing={self.label_smoothing}'
    if self.use_binary_cross_entropy:
      raise UserError(
        f'{smoothing} has no effect with {place}use_binary_cross_entropy=True; '
        'leave one of them out.'
      )
    if not self.one_hot:
      raise UserError(
        f'{smoothing} needs {place}one_hot=True (gin: losses.label_smoothing '
        'sets both).'
      )


@parts.part('norm_activation')
@dataclasses.dataclass
class NormActivation(garden_common.NormActivation):
  """Garden's batch norm and activation, by default those of PyTorch.

  Attributes:
    activation: Activation after each batch norm: 'relu', 'celu' (of 0.3) or
      another name of Keras.
    use_sync_bn: Whether batch statistics are those of the whole batch, not of
      each replica's part of it.
    norm_momentum: Share of the old value in the moving statistics.
    norm_epsilon: Added to the variance.
  """

  activation: str = fields.field('relu', _ACTIVATION)
  use_sync_bn: bool = False
  norm_momentum: float = fields.field(0.9, fields.SHARE)
  norm_epsilon: float = fields.field(1e-5, fields.ABOVE_0)


@parts.part('head')
@dataclasses.dataclass
class Head(hyperparams.Config):
  """What makes logits of a backbone's last feature map.

  Attributes:
    pooling: 'max' or 'avg', over the whole of the map.
    dropout_rate: Share of the pooled features dropped in training.
    use_bias: Whether the dense layer has a bias.
    logit_scale: Factor on the logits.
    kernel_initializer: Initialiser of the dense kernel: 'torch_uniform',
      PyTorch's default, 'torch_uniform_unit_std', the same divided by its own
      standard deviation, or a name of Keras.
  """

  pooling: str = fields.field('max', fields.one_of('max', 'avg'))
  dropout_rate: float = fields.field(0.0, fields.SHARE, tied_to=Tie.RUN)
  use_bias: bool = False
  logit_scale: float = fields.field(0.125, fields.ABOVE_0)
  kernel_initializer: str = fields.field(
    'torch_uniform', KERNEL_INITIALIZER, tied_to=Tie.RUN
  )


@dataclasses.dataclass
class ImageClassificationModel(hyperparams.Config):
  """Configuration of `official_ext.modeling.classification_model`.

  Attributes:
    num_classes: Number of logits; 0 to take it from the data.
    input_size: Height, width and channels; empty to take it from the data.
    backbone: Any backbone that Garden's factory knows.
    norm_activation: Batch norm and activation of the backbone.
    head: Pooling, dense layer and scale.
  """

  num_classes: int = fields.field(0, fields.AT_LEAST_0)
  input_size: list[int] = dataclasses.field(default_factory=list)
  backbone: backbones.Backbone = dataclasses.field(
    default_factory=backbones.Backbone
  )
  norm_activation: NormActivation = dataclasses.field(
    default_factory=NormActivation
  )
  head: Head = dataclasses.field(default_factory=Head)


@dataclasses.dataclass
class ImageClassificationTask(garden.ImageClassificationTask):
  """Configuration of `official_ext.tasks.image_classification`."""

  model: ImageClassificationModel = dataclasses.field(
    default_factory=ImageClassificationModel
  )
  train_data: DataConfig = dataclasses.field(
    default_factory=lambda: DataConfig(is_training=True)
  )
  validation_data: DataConfig = dataclasses.field(
    default_factory=lambda: DataConfig(is_training=False, drop_remainder=False)
  )
  losses: Losses = dataclasses.field(default_factory=Losses)
  evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)
