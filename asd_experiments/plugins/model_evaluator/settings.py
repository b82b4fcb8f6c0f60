"""What `evaluator_config` may say."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from asd_experiments.plugins.given import checked

_OF_MLFLOW = {"col_mapping"}  # other names for the columns of targets= and predictions=
EXAMPLE = '{"group": "patient_id", "positive_class": "ASD"}'


def _as_text(value: object) -> object:
    """A class as a text; in a table it may be a number or a truth value."""
    return value if value is None else str(value)


ClassName = Annotated[str, BeforeValidator(_as_text)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class EvaluatorConfig:
    """How a prediction table is to be read and judged."""

    group: str
    """Column that names what rows have in common, as a rule the patient: groups are drawn for the
    intervals, never rows."""

    positive_class: ClassName | None = None
    """Which of two classes counts as positive."""

    probabilities: dict[ClassName, str] | None = None
    """Column with the probability of every class. None: `predictions=` holds that of the positive
    one of two classes; without it, the columns `probability_<class>`."""

    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """A case of two classes is called positive at this probability of the positive class, or above.
    None: 0.5. Of three or more classes the most probable one is called."""

    metric_prefix: Annotated[str, Field(pattern=r"^[\w.\-]*$", max_length=50)] = ""
    """Begins the names of all metrics, and of the units in all names of tables and figures."""


def read_config(given: Mapping[str, Any]) -> EvaluatorConfig:
    """Check an evaluator's configuration.

    Raises:
        InputError: If anything in it is wrong; the message lists all problems.
    """
    own = {key: value for key, value in given.items() if key not in _OF_MLFLOW}
    example = f", as in evaluator_config={EXAMPLE}"
    return checked(EvaluatorConfig, own, what="evaluator_config", example=example)
