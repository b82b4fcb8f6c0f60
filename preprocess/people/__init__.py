"""Person finders: one file per method, one line each in `PERSON_FINDERS`."""

from asd_experiments.config import PersonFinderName
from preprocess.people.finder import PersonFinder
from preprocess.people.motion import find_moving_person

PERSON_FINDERS: dict[PersonFinderName, PersonFinder] = {
    "motion": find_moving_person,
}
