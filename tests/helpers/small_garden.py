"""Bindings that make the experiments of Garden's tasks small."""

SMALL = {
  'resnet9_garden_classification': ('random_crop = False',),
  'resnet9_segmentation': (
    'decoder_filters = 16',
    'dilation_rates = [1, 2]',
    'fpn_max_level = 4',
  ),
  'resnet9_retinanet': ('filters = 16', 'num_convs = 1', 'max_level = 4'),
  'resnet9_maskrcnn': (
    'filters = 16',
    'max_level = 4',
    'fc_dims = 32',
    'proposals = 16',
    'sampled_rois = 8',
    'sampled_masks = 8',
  ),
}
