"""Networks that give every patient the same answer."""

import pandas as pd

from asd_experiments.evaluation.predictions import aggregate, probability_columns

COLLAPSED_SHARE = 0.95
"""So many patients in one class are (almost) all; one in a test fold of up to 19 is not."""

COLLAPSED_SD = 0.02
"""Probabilities that vary less between patients, in every class, say nothing of the patient."""


def find_collapse(predictions: pd.DataFrame, classes: list[str]) -> list[str]:
    """Say in which way the network of one fold has collapsed, if it has.

    Looked at are the mean probabilities of the validation and of the test patients. A split has
    collapsed if at least 95 % of them have the same most probable class and fewer truly are of
    it, or if the probability of no class varies by more than 0.02 (SD) from patient to patient
    although there is more than one class. The decision threshold plays no part: it would cut
    through differences in the last digit.

    Args:
        predictions: Prediction table of one fold.
        classes: All classes in their fixed order.

    Returns:
        One sentence per split that has collapsed; empty if none has.
    """
    found = []
    columns = probability_columns(classes)
    for split in ("val", "test"):
        patients = aggregate(predictions[predictions["split"] == split], "patient")
        if patients["label"].nunique() < 2:
            continue
        probabilities = patients[columns].to_numpy()
        called = pd.Series([classes[best] for best in probabilities.argmax(axis=1)])
        commonest = called.mode()[0]
        share, truly = ((x == commonest).mean() for x in (called, patients["label"]))
        spread = probabilities.std(axis=0).max()
        if spread < COLLAPSED_SD:
            found.append(
                f"{split}: the probabilities of {len(patients)} patients hardly vary "
                f"(SD {spread:.4f}, rule: below {COLLAPSED_SD})"
            )
        elif share >= COLLAPSED_SHARE > truly:
            found.append(
                f"{split}: {commonest} is most probable for {share:.0%} of {len(patients)} "
                f"patients (rule: {COLLAPSED_SHARE:.0%}), {truly:.0%} have it"
            )
    return found
