"""Segmenters: one file per method, one line each in `SEGMENTERS`.

They give masks to finders that have none, or other masks than the finder's own.
"""

import pkgutil

from asd_experiments.config import SegmenterName
from preprocess.method import Method
from preprocess.segment.segmenter import Segmenter

SEGMENTERS: dict[SegmenterName, str] = {
    "background": "preprocess.segment.background:BACKGROUND",
    "grabcut": "preprocess.segment.grabcut:GRABCUT",
    "torchvision": "preprocess.segment.torchvision:TORCHVISION",
}


def segmenter_method(name: SegmenterName) -> Method[Segmenter]:
    """Import a segmenter."""
    method: Method[Segmenter] = pkgutil.resolve_name(SEGMENTERS[name])
    return method
