import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss

from asd_experiments.evaluation.cases import Predictions
from asd_experiments.evaluation.metrics import evaluate, probability_metrics
from asd_experiments.evaluation.temperature import (
    HIGHEST,
    LOWEST,
    Temperature,
    fit_temperature,
    fit_temperatures,
    scaled,
)

from .builders import CLASSES, THREE, cases_of, random_table, two_class_table


def simulate(num_classes: int, temperature: float, size: int = 20_000):
    """Truth drawn from a softmax, told as sharp as a network of that temperature would."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (size, num_classes))
    edges = softmax(logits, axis=1).cumsum(axis=1)
    truth = (rng.random((size, 1)) > edges).sum(axis=1).clip(max=num_classes - 1)
    return truth, softmax(logits * temperature, axis=1)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_comes_out(num_classes, temperature):
    fitted = fit_temperature(*simulate(num_classes, temperature))
    assert fitted.value == pytest.approx(temperature, rel=0.05)
    assert not fitted.at_bound


def test_no_other_temperature_has_a_lower_log_loss():
    truth, probabilities = simulate(3, 2.0, size=50)
    best = fit_temperature(truth, probabilities).value

    def loss(temperature: float) -> float:
        return log_loss(truth, softmax(np.log(probabilities) / temperature, axis=1))

    assert loss(best) < min(loss(best * 1.02), loss(best / 1.02), loss(1.0))


def test_patients_that_do_not_determine_it_say_so():
    separated = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    assert fit_temperature(np.array([0, 0, 1]), separated) == (LOWEST, True)
    assert fit_temperature(np.array([1, 1, 0]), separated) == (HIGHEST, True)
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(np.array([0, 1]), certain).value > 0
    with pytest.raises(ValueError, match="needs at least one validation case, got none"):
        fit_temperature(np.array([], dtype=int), np.empty((0, 2)))


def test_every_fold_has_its_own_from_its_validation_patients():
    table = random_table(CLASSES, 40, 1.0)
    predictions = Predictions(table, CLASSES, "ASD")
    fitted = fit_temperatures(predictions)
    assert sorted(fitted) == [0, 1, 2, 3, 4]
    spoiled = table.assign(
        probability_ASD=table["probability_ASD"].where(table.split == "val", 0.5)
    )
    assert fit_temperatures(Predictions(spoiled, CLASSES, "ASD")) == fitted
    _, own = next(predictions.cases("val", "patient").by_fold())
    assert fit_temperature(own.truth, own.probabilities) == fitted[0]


def test_scaling_divides_the_logits_of_each_case_by_its_folds_temperature():
    rows = two_class_table([(0, "a", "ASD", 0.9), (1, "b", "non-ASD", 0.9), (1, "c", "ASD", 0.5)])
    cases = scaled(cases_of(rows), {0: Temperature(2.0, False), 1: Temperature(0.5, False)})
    # Odds of 9 become 9 to the power of 1 / T.
    assert cases.probabilities[:, 0] == pytest.approx([3 / 4, 81 / 82, 1 / 2])
    assert cases.probabilities.sum(axis=1) == pytest.approx(1)
    with pytest.raises(ValueError, match="every fold needs a temperature, fold 1 has none"):
        scaled(cases_of(rows), {0: Temperature(1.0, False)})


@pytest.mark.parametrize("classes", [CLASSES, THREE])
def test_a_temperature_of_1_changes_nothing_and_order_is_kept(classes):
    cases = cases_of(random_table(classes, 20, 1.0), classes)
    same = scaled(cases, dict.fromkeys(range(5), Temperature(1.0, False)))
    assert same.probabilities == pytest.approx(cases.probabilities)
    cooler = scaled(cases, dict.fromkeys(range(5), Temperature(0.3, False)))
    assert (cooler.probabilities.argmax(axis=1) == cases.probabilities.argmax(axis=1)).all()


def test_a_network_that_is_too_sure_is_better_when_scaled():
    table = random_table(CLASSES, 80, 1.0)
    logits = 4 * np.log(table[["probability_ASD", "probability_non-ASD"]].to_numpy())
    table[["probability_ASD", "probability_non-ASD"]] = np.exp(log_softmax(logits, axis=1))
    predictions = Predictions(table, CLASSES, "ASD")
    values = evaluate(predictions)
    for name in ("brier", "ece", "loss"):
        assert values[f"test/patient/{name}_scaled"] < values[f"test/patient/{name}"]
    cases = scaled(predictions.cases("test", "clip"), fit_temperatures(predictions))
    expected = {f"test/clip/{n}_scaled": v for n, v in probability_metrics(cases).items()}
    assert {name: values[name] for name in expected} == pytest.approx(expected)


def test_without_inner_validation_nothing_is_scaled():
    table = random_table(THREE, 30, 1.0)
    values = evaluate(Predictions(table[table["split"] == "test"], THREE, ""))
    assert not any("scaled" in name for name in values)
