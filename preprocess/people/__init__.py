"""Person finders: one file per method, one line each in `PERSON_FINDERS`."""

import pkgutil

from asd_experiments.config import PersonFinderName
from preprocess.method import Method
from preprocess.people.finder import PersonFinder

PERSON_FINDERS: dict[PersonFinderName, str] = {
    "motion": "preprocess.people.motion:MOTION",
    "detectron2": "preprocess.people.detectron2:DETECTRON2",
    "torchvision": "preprocess.people.torchvision:TORCHVISION",
    "onnx": "preprocess.people.onnx:ONNX",
}


def person_finder_method(name: PersonFinderName) -> Method[PersonFinder]:
    """Import a person finder."""
    method: Method[PersonFinder] = pkgutil.resolve_name(PERSON_FINDERS[name])
    return method
