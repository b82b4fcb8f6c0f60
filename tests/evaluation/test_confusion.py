from asd_experiments.evaluation.confusion import confusion_counts

from .builders import CLASSES, two_class_table


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
    assert confusion_counts(rows, CLASSES, "ASD", thresholds).tolist() == [[1, 2], [1, 1]]
    assert confusion_counts(rows, CLASSES[::-1], "ASD", thresholds).tolist() == [[1, 1], [2, 1]]
    assert confusion_counts(rows.iloc[:0], CLASSES, "ASD", {}).tolist() == [[0, 0], [0, 0]]
