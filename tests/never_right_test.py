"""The test images that no run gets right, in the report."""

import copy
import json
import pathlib
import re

import numpy as np
import pytest
from helpers import commands

from official_ext.errors import UserError
from official_ext.repeats import records
from official_ext.reporting import content, never_right, page
from official_ext.runs import right_images
from official_ext.serving import trained_model


@pytest.fixture(scope='module')
def trained(trained_run):
  return trained_model.load_for_inference(str(trained_run))


@pytest.fixture(scope='module')
def record(trained_run):
  return records.make(pathlib.Path(trained_run), 'tiny', 'tiny')


def bits_of(record):
  return right_images.unpack(record['right_images']['accuracy'], 50)


def write(folder, record, seed, right):
  """Writes a record of a run in which these images were right."""
  changed = copy.deepcopy(record)
  changed['seed'] = seed
  changed['right_images'] = {'accuracy': right_images.pack(right)}
  changed['test_accuracy'] = float(np.mean(right))
  changed['epochs'][-1]['test_accuracy'] = changed['test_accuracy']
  (folder / f'tiny-seed{seed}.json').write_text(json.dumps(changed))


@pytest.fixture
def folder(tmp_path, record):
  """Two runs: the second gets the first three right that the first does not."""
  right = bits_of(record)
  write(tmp_path, record, 0, right)
  other = np.zeros_like(right)
  other[np.flatnonzero(~right)[:3]] = True
  write(tmp_path, record, 1, other)
  return tmp_path


def test_those_that_are_wrong_in_all_runs(folder, trained, record):
  found = never_right.find(str(folder), trained)
  assert found.num_runs == 2
  wrong = np.flatnonzero(~bits_of(record))
  np.testing.assert_array_equal(found.images, wrong[3:])
  gathered = content.gather(trained, found)
  # The model is that of the first run: all of these are its mistakes, too.
  pictures = gathered['never_right_pictures']
  assert 0 < len(pictures) == min(len(wrong) - 3, 24)
  confidence = [picture.probability for picture in pictures]
  assert confidence == sorted(confidence, reverse=True)
  text = page.render(gathered)
  assert f'none of 2 runs</h2>\n<p>{len(wrong) - 3} test images;' in text
  count = len(gathered['mistakes']) + len(pictures)
  assert text.count('<figcaption>') == count


def test_a_page_without_such_images(tmp_path, trained, record):
  for seed, right in enumerate((bits_of(record), ~bits_of(record))):
    write(tmp_path, record, seed, right)
  found = never_right.find(str(tmp_path), trained)
  text = page.render(content.gather(trained, found))
  assert 'Every test image is right in one of them at least.' in text


def test_a_page_of_one_run_says_nothing_of_several(trained):
  assert ' runs</h2>' not in page.render(content.gather(trained))


def test_one_record_has_nothing_in_common(tmp_path, trained, record):
  write(tmp_path, record, 0, bits_of(record))
  with pytest.raises(UserError, match=f'{tmp_path} has 1 records .* two at'):
    never_right.find(str(tmp_path), trained)


def test_records_of_other_images_are_refused(folder, trained, record):
  other = copy.deepcopy(record)
  other['variant'] = 'other'
  other['data']['test']['digest'] = 'crc32:00000000'
  write(folder, other, 2, bits_of(record))
  message = r'test\[:50\] \(50, crc32:00000000\), and the model has'
  with pytest.raises(UserError, match=message):
    never_right.find(str(folder), trained)


def test_the_command(folder, trained_run, tmp_path):
  output = tmp_path / 'page.html'
  result = commands.run(
    'report',
    f'--model_dir={trained_run}',
    f'--records_dir={folder}',
    f'--output={output}',
  )
  assert result.returncode == 0, result.stderr
  assert re.search(r'<h2>Right in none of 2 runs</h2>', output.read_text())
