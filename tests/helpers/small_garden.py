"""The experiments of Garden's tasks, made small."""

from helpers.flags import Flags

from official_ext import registry_imports  # noqa: F401
from official_ext.configuration import experiment, gin_config
from official_ext.training import session

CLASSIFICATION = 'resnet9_garden_classification'
RETINANET = 'resnet9_retinanet'
MASKRCNN = 'resnet9_maskrcnn'
SEGMENTATION = 'resnet9_segmentation'
NAMES = (CLASSIFICATION, SEGMENTATION, RETINANET, MASKRCNN)

# Segmentation with the other decoder.
ON_FPN = 'resnet9_segmentation on fpn'

SMALL = {
  CLASSIFICATION: ('resnet9_garden_classification.aug_crop = False',),
  SEGMENTATION: ('aspp.num_filters = 16', 'aspp.dilation_rates = [1, 2]'),
  ON_FPN: (
    'resnet9_segmentation.decoder = @fpn()',
    'resnet9_segmentation.max_level = 4',
    'fpn.num_filters = 16',
  ),
  RETINANET: (
    'fpn.num_filters = 16',
    'resnet9_retinanet.num_convs = 1',
    'resnet9_retinanet.max_level = 4',
  ),
  MASKRCNN: (
    'fpn.num_filters = 16',
    'resnet9_maskrcnn.max_level = 4',
    'resnet9_maskrcnn.fc_dims = 32',
    'resnet9_maskrcnn.num_proposals = 16',
    'resnet9_maskrcnn.num_sampled_rois = 8',
    'resnet9_maskrcnn.num_sampled_masks = 8',
  ),
}


def experiment_of(name, bindings=(), override=''):
  """Returns the shipped experiment for three classes of 32×32 pixels.

  Args:
    name: A key of `SMALL`.
    bindings: Of gin, after those that make it small.
    override: Of the command line.
  """
  name, lines = name.split()[0], SMALL[name]
  common = (
    f'{name}.input_size = 32',
    f'{name}.num_classes = 3',
    "runtime.mixed_precision_dtype = 'float32'",
  )
  gin_config.parse([f'gin/{name}.gin'], [*common, *lines, *bindings])
  return experiment.parse(Flags(experiment=name, params_override=override))


def run(asked, model_dir, mode='train_and_eval'):
  """Trains an experiment."""
  session.run(asked, mode, str(model_dir))
