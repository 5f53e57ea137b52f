"""What a recipe computes, beside what its authors say."""

import pytest

from official_ext import registry_imports  # noqa: F401
from official_ext.configuration import experiment, gin_config
from official_ext.profiling import training_work

SMALLER_FIRST = [
  'small_images.resizing = @progressive_resizing()',
  'progressive_resizing.sides = [20, 24]',
  'progressive_resizing.until = [0.15, 0.5]',
]


@pytest.mark.parametrize(
  ('recipe', 'bindings', 'petaflops'),
  [
    # In docs/results.md, and airbench's 0.284 of 400,000 images and 118.1
    # million multiply-adds.
    ('resnet9_v100', [], 2.71),
    ('resnet9_dawn', [], 1.13),
    ('airbench94', [], 6 * 118.1e6 * 400_000 / 1e15),
    ('airbench94', SMALLER_FIRST, 0.209),
  ],
)
def test_the_work_of_a_recipe(recipe, bindings, petaflops):
  gin_config.parse([f'gin/{recipe}.gin'], bindings)
  params = experiment.parse_gin_alone()
  counted = training_work.operations(params) / 1e15
  assert counted == pytest.approx(petaflops, rel=3e-3)
