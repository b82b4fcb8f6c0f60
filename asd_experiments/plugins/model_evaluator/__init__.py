"""MLflow's model evaluator `asd`: `mlflow.models.evaluate(..., evaluators="asd")`.

MLflow imports this module in every program that evaluates a model: all that takes time is imported
when a table is judged.
"""

from collections.abc import Mapping
from importlib import import_module
from traceback import walk_stack
from typing import Any


class ClinicalEvaluator:
    """What MLflow calls; by its shape a `ModelEvaluator` of `mlflow.models.evaluation`."""

    @classmethod
    def can_evaluate(
        cls, *, model_type: str | None, evaluator_config: Mapping[str, Any] | None, **_: Any
    ) -> bool:
        """Whether this evaluator is meant.

        Without `evaluators=`, MLflow takes all that say so here: this one, if a group is named.
        Of one that was called by its name it asks again, and what is wrong then is better said by
        `evaluate` than by a no.
        """
        return _is_called() or (model_type == "classifier" and "group" in (evaluator_config or {}))

    def evaluate(
        self,
        *,
        model_type: str | None,
        dataset: Any,
        run_id: str,
        evaluator_config: Mapping[str, Any] | None,
        model: Any = None,
        **_: Any,
    ) -> Any:
        """Judge a prediction table; see `asd_experiments.plugins.model_evaluator.judge`.

        Args:
            model_type: `classifier`.
            dataset: MLflow's data set with labels, probabilities and groups.
            run_id: Run that the results are logged to.
            evaluator_config: See `EvaluatorConfig`.
            model: None; the predictions are in the data set.

        Returns:
            MLflow's `EvaluationResult`.

        Raises:
            MlflowException: If configuration or table are wrong; the message lists all problems.
        """
        judge = import_module("asd_experiments.plugins.model_evaluator.judge")
        return judge.judge_dataset(
            dataset,
            evaluator_config or {},
            run_id,
            model_type=model_type,
            has_model=model is not None,
        )


def _is_called() -> bool:
    """Whether MLflow has chosen its evaluators, and is about to call them."""
    return any(
        frame.f_code.co_name == "_evaluate"
        and frame.f_globals.get("__name__") == "mlflow.models.evaluation.base"
        for frame, _ in walk_stack(None)
    )
