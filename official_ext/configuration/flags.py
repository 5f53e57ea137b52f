"""What is read of Garden's flags, for who has no command line of them."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Flags:
  """The flags by which Garden chooses an experiment, as if none were given.

  Attributes:
    experiment: Its name.
    config_file: YAML files over its config.
    params_override: YAML, or a.b=1,c=2, over these.
    tpu: Name or address of a TPU.
    tf_data_service: Address of a tf.data service.
  """

  experiment: str = 'small_images'
  config_file: Sequence[str] = ()
  params_override: str = ''
  tpu: str = ''
  tf_data_service: str = ''

  def __contains__(self, name: str) -> bool:
    """Whether there is such a flag; Garden asks."""
    return hasattr(self, name)
