"""COCO's average precision, of Garden's detectors under any NumPy."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from helpers import garden_records
from helpers.small_garden import MASKRCNN, RETINANET, experiment_of
from official.core import task_factory, train_utils
from pycocotools import mask as run_lengths

from official_ext.configs import coco_annotations, validation
from official_ext.errors import UserError
from official_ext.machine.stopping import StopRequest
from official_ext.progress.bar import Progress
from official_ext.training.trainer import Trainer

SEEDS = range(1000, 1008)  # Four rectangles and four discs.
PICTURES = [garden_records.draw(seed) for seed in SEEDS]
# Images are enlarged to this side for the network.
SIDE = 64
MASK = 28

# Of a class, three of four objects are found before anything else: precision is
# 1 at the 76 of the 101 recalls 0, 0.01, ... 1 that are at most 3/4, then 0.
# https://cocodataset.org/#detection-eval
THREE_OF_FOUR = 76 / 101


@pytest.fixture(scope='module')
def records(tmp_path_factory):
  return garden_records.write(tmp_path_factory.mktemp('coco') / 'test', SEEDS)


@pytest.fixture(scope='module')
def annotations(tmp_path_factory):
  """What COCO's own files have, of the same pictures."""
  content = {
    'images': [
      {'id': seed, 'height': garden_records.SIZE, 'width': garden_records.SIZE}
      for seed in SEEDS
    ],
    'categories': [{'id': 1, 'name': 'rectangle'}, {'id': 2, 'name': 'disc'}],
    'annotations': [
      annotation(*numbered)
      for numbered in enumerate(zip(SEEDS, PICTURES, strict=True), start=1)
    ],
  }
  path = tmp_path_factory.mktemp('coco') / 'annotations.json'
  path.write_text(json.dumps(content))
  return path


def annotation(number, of_seed):
  seed, picture = of_seed
  top, left, bottom, right = picture.box
  encoded = run_lengths.encode(np.asfortranarray(picture.mask.astype(np.uint8)))
  return {
    'id': number,
    'image_id': seed,
    'category_id': picture.label,
    'bbox': [left, top, right - left, bottom - top],
    'area': float(picture.mask.sum()),
    'iscrowd': 0,
    'segmentation': encoded | {'counts': encoded['counts'].decode()},
  }


class Oracle(tf_keras.Model):
  """Finds the one object of each picture, but for some."""

  def __init__(self, missed):
    super().__init__()
    self._missed = missed

  def call(self, images, anchor_boxes, image_shape, training):
    del anchor_boxes, image_shape, training
    count = len(PICTURES)
    assert len(images) == count
    boxes = np.array([p.box for p in PICTURES], np.float32)
    scores = np.full([count, 1], 0.9, np.float32)
    for place in self._missed:
      boxes[place] = [0, 0, 1, 1]
      scores[place] = 0.1
    scale = SIDE / garden_records.SIZE
    return {
      'detection_boxes': tf.constant(boxes[:, np.newaxis] * scale),
      'detection_scores': tf.constant(scores),
      'detection_classes': tf.constant([[p.label] for p in PICTURES]),
      'num_detections': tf.ones([count], tf.int32),
      'detection_masks': tf.ones([count, 1, MASK, MASK]),
      # Of the loss, which a RetinaNet is evaluated by, too.
      'cls_outputs': maps(count, 9 * 3),
      'box_outputs': maps(count, 9 * 4),
    }


def maps(count, channels):
  """Returns a RetinaNet's outputs for two levels, of 9 anchors a place."""
  return {
    level: tf.zeros([count, side, side, channels])
    for level, side in (('3', SIDE // 8), ('4', SIDE // 16))
  }


def metrics(name, records, annotation_file, folder, missed=()):
  """Returns what a run's trainer says of an oracle."""
  bindings = [
    f"records.train_path = '{records}'",
    f"records.test_path = '{records}'",
    f'records.eval_batch_size = {len(SEEDS)}',
    f'{name}.input_size = {SIDE}',
    f"{name}.annotation_file = '{annotation_file}'",
  ]
  # To trace takes longer than one evaluation without.
  params = experiment_of(
    name, bindings, 'trainer.eval_tf_function=false'
  ).params
  task = task_factory.get_task(params.task, logging_dir=str(folder))
  task.build_model = lambda: Oracle(missed)
  trainer = train_utils.create_trainer(
    params,
    task,
    train=False,
    evaluate=True,
    trainer_cls=functools.partial(
      Trainer, observer=Progress(params, quiet=True), stop=StopRequest()
    ),
  )
  return trainer.evaluate(tf.constant(-1))


@pytest.mark.parametrize('given', [True, False], ids=['file', 'records'])
def test_a_retinanet_that_is_right_has_an_ap_of_one(
  records, annotations, tmp_path, given
):
  file = annotations if given else ''
  found = metrics(RETINANET, records, file, tmp_path)
  assert found['AP'] == found['ARmax1'] == 1


@pytest.mark.parametrize('given', [True, False], ids=['file', 'records'])
def test_a_maskrcnn_that_misses_an_object_has_its_share(
  records, annotations, tmp_path, given
):
  """Masks that fill their boxes are one pixel too large, but half right."""
  file = annotations if given else ''
  found = metrics(MASKRCNN, records, file, tmp_path, missed=[0])
  assert (tmp_path / 'annotation.json').exists() != given
  expected = (THREE_OF_FOUR + 1) / 2
  assert found['AP'] == pytest.approx(expected, abs=1e-6)
  assert found['mask_AP50'] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (None, r"^task\.annotation_file='.*' cannot be read \(.*[Nn]o such file"),
    ('{"images": [', r'cannot be read \(Expecting value: line 1 column 13'),
    ('[]', 'has no images nor annotations nor categories; name the JSON file'),
    ('{"images": [], "annotations": []}', 'has no categories; name'),
    ('7', 'has no images nor annotations nor'),
  ],
)
def test_annotations_that_cannot_be_read_are_refused(
  records, tmp_path, content, message
):
  file = tmp_path / 'annotations.json'
  if content is not None:
    file.write_text(content)
  bindings = [
    f"records.train_path = '{records}'",
    f"records.test_path = '{records}'",
    f"{RETINANET}.annotation_file = '{file}'",
  ]
  params = experiment_of(RETINANET, bindings).params
  with pytest.raises(UserError, match=message) as caught:
    validation.check_files(params, 'train_and_eval')
  assert '\n' not in str(caught.value)
  validation.check_files(params, 'train')
  params.task.use_coco_metrics = False
  coco_annotations.check(params.task)
