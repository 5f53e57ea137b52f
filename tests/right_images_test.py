"""Which test images a run classifies rightly, in its folder and its record."""

import json
import math

import numpy as np
import pytest
from helpers import commands, example_records, tiny

from official_ext.errors import UserError
from official_ext.repeats import records
from official_ext.runs import right_images
from official_ext.serving import evaluation, trained_model


@pytest.mark.parametrize('count', [1, 8, 50, 10_000])
def test_bits_are_packed_and_unpacked(count):
  right = np.random.default_rng(0).random(count) < 0.9
  packed = right_images.pack(right)
  num_bytes = math.ceil(count / 8)
  assert len(packed) == math.ceil(num_bytes / 3) * 4
  np.testing.assert_array_equal(right_images.unpack(packed, count), right)
  for text in (packed + 'AAAA', 'no base64!'):
    with pytest.raises(ValueError, match=r'are not of|is not base64'):
      right_images.unpack(text, count)


def train(shapes_dir, run, devices):
  """Trains in this process, or on two devices in one of its own."""
  bindings = ["evaluation.views = ['mirror']", 'data.batch_size = 20']
  if devices == 1:
    tiny.run(shapes_dir, run, bindings)
    return
  place = f"data.data_dir = '{shapes_dir}'"
  result = commands.run(
    'train',
    *(f'--gin_params={line}' for line in (*tiny.BINDINGS, *bindings, place)),
    f'--params_override=runtime.num_logical_cpus={devices}',
    f'--model_dir={run}',
  )
  assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('devices', [1, 2])
def test_they_are_those_of_the_last_evaluation(shapes_dir, tmp_path, devices):
  """Also over a view, and on two devices, each with a half of the images."""
  run = tmp_path / 'run'
  train(shapes_dir, run, devices)
  row = json.loads((run / 'epochs.jsonl').read_text().splitlines()[-1])
  found = right_images.read(run, row['step'])
  assert found.keys() == {'accuracy', 'accuracy_mirror'}
  for name, packed in found.items():
    right = right_images.unpack(packed, 50)
    assert right.mean() == pytest.approx(row[f'test_{name}'])
  trained = trained_model.load_for_inference(str(run))
  data = trained.load(trained.params.task.validation_data)
  predicted = evaluation.probabilities(trained, data.images).argmax(1)
  right = right_images.unpack(found['accuracy'], 50)
  np.testing.assert_array_equal(right, predicted == data.labels)
  assert right_images.read(run, row['step'] + 1) == {}


def test_what_is_no_file_tells_nothing(tmp_path):
  assert right_images.read(tmp_path, 3) == {}
  for text in ('', '[]', '{}', '{"step": 4}'):
    (tmp_path / right_images.FILE_NAME).write_text(text)
    assert right_images.read(tmp_path, 3) == {}


def test_a_record_whose_images_are_not_its_accuracy_is_refused(tmp_path):
  record = example_records.record_of('a', 0, 0.5)
  split = {'tfds_name': 'x', 'version': '1', 'split': 'test', 'digest': ''}
  record['data'] = {'test': {**split, 'num_examples': 10}}
  right = np.arange(10) < 5
  record['right_images'] = {'accuracy': right_images.pack(right)}
  path = tmp_path / 'a-seed0.json'
  records.write(path, record)
  assert records.read(path) == record
  right[9] = True
  record['right_images'] = {'accuracy': right_images.pack(right)}
  records.write(path, record)
  with pytest.raises(UserError, match=r'right_images\.accuracy is not that of'):
    records.read(path)
