import pandas as pd
import pytest

from asd_experiments.training.sampling import clip_weights


def test_every_class_counts_the_same_and_every_patient_within_it():
    """Two ASD patients with 1 and 3 clips, one other with 2: each class weighs half."""
    clips = pd.DataFrame({"patient_id": list("abbbcc"), "label": ["ASD"] * 4 + ["other"] * 2})
    weights = clip_weights(clips, ["ASD", "other"])
    assert weights.tolist() == pytest.approx([1.5, 0.5, 0.5, 0.5, 1.5, 1.5])
