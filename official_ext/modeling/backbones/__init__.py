"""The networks. Whoever imports one of them has all of them registered."""

from official_ext.modeling.backbones import airbench, resnet9  # noqa: F401
