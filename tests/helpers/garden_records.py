"""TFRecords in Garden's own format, of rectangles and discs drawn here.

An image is grey noise with one figure of 10 to 20 pixels. Class 1 is a red
rectangle, class 2 a blue disc, and 0 is the background of detection and
segmentation; where a class is that of the image, 0 is the rectangle.
"""

import dataclasses

import numpy as np
import tensorflow as tf

SIZE = 32


@dataclasses.dataclass
class Picture:
  image: np.ndarray  # [SIZE, SIZE, 3], uint8.
  label: int  # 1 or 2.
  box: tuple[int, int, int, int]  # top, left, bottom, right, in pixels.
  mask: np.ndarray  # [SIZE, SIZE], bool.


def draw(seed):
  """Returns the picture of a seed."""
  random = np.random.default_rng(seed)
  image = random.integers(80, 176, (SIZE, SIZE, 1)).repeat(3, axis=2)
  label = 1 + seed % 2
  side = int(random.integers(10, 21))
  top, left = (int(n) for n in random.integers(0, SIZE - side + 1, 2))
  rows, columns = np.mgrid[:SIZE, :SIZE]
  if label == 1:
    mask = (top <= rows) & (rows < top + side)
    mask &= (left <= columns) & (columns < left + side)
  else:
    radius = side / 2
    centre = (top + radius - 0.5, left + radius - 0.5)
    squares = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2
    mask = squares < radius**2
  image[mask] = [200, 40, 40] if label == 1 else [40, 40, 200]
  box = (top, left, top + side, left + side)
  return Picture(image.astype(np.uint8), label, box, mask)


def _bytes(*values):
  return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _ints(*values):
  return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _floats(*values):
  return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def _png(pixels):
  return tf.io.encode_png(pixels.astype(np.uint8)).numpy()


def _features(picture, seed):
  top, left, bottom, right = (float(n) / SIZE for n in picture.box)
  mask = picture.mask[..., np.newaxis]
  return {
    'image/encoded': _bytes(_png(picture.image)),
    'image/height': _ints(SIZE),
    'image/width': _ints(SIZE),
    'image/source_id': _bytes(str(seed).encode()),
    'image/class/label': _ints(picture.label - 1),
    'image/segmentation/class/encoded': _bytes(_png(mask * picture.label)),
    'image/object/bbox/ymin': _floats(top),
    'image/object/bbox/xmin': _floats(left),
    'image/object/bbox/ymax': _floats(bottom),
    'image/object/bbox/xmax': _floats(right),
    'image/object/class/label': _ints(picture.label),
    'image/object/area': _floats(float(picture.mask.sum())),
    'image/object/is_crowd': _ints(0),
    'image/object/mask': _bytes(_png(mask)),
  }


def write(path, seeds):
  """Writes examples that all of Garden's vision decoders read."""
  with tf.io.TFRecordWriter(str(path)) as writer:
    for seed in seeds:
      feature = _features(draw(seed), seed)
      example = tf.train.Example(features=tf.train.Features(feature=feature))
      writer.write(example.SerializeToString())
  return str(path)
