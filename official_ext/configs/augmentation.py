"""The one-of of augmentations, to which each adds itself."""

import dataclasses

from official_ext.schema import parts


@dataclasses.dataclass
class Augmentation(parts.Choice):
  """One step of the augmentation of training images.

  Garden's own one-of has one augmentation for each image; here a data config
  lists them, in the order in which they are applied. See
  `official_ext.augmentation`.
  """
