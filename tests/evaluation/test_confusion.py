from asd_experiments.evaluation.confusion import confusion_counts

from .builders import CLASSES, cases_of, two_class_table


def test_rows_are_true_columns_predicted_in_the_order_of_the_classes():
    rows = two_class_table(
        [
            (0, "a", "ASD", 0.9),
            (0, "b", "ASD", 0.3),
            (0, "c", "ASD", 0.2),
            (1, "d", "non-ASD", 0.3),  # positive by its own fold's threshold alone
            (1, "e", "non-ASD", 0.1),
        ]
    )
    thresholds = {0: 0.5, 1: 0.25}
    cases = cases_of(rows, thresholds=thresholds)
    turned = cases_of(rows, CLASSES[::-1], thresholds=thresholds)
    assert confusion_counts(cases).tolist() == [[1, 2], [1, 1]]
    assert confusion_counts(turned).tolist() == [[1, 1], [2, 1]]
    assert confusion_counts(cases_of(rows.iloc[:0])).tolist() == [[0, 0], [0, 0]]
