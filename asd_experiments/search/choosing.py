"""How configurations are drawn and stopped early: a search space's words as Optuna's objects."""

import warnings
from dataclasses import dataclass
from math import log

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler

from asd_experiments.search.settings import Pruner, Sampler


def sampler_of(settings: Sampler, *, worker: int = 0) -> BaseSampler:
    """Build a sampler; every worker draws from a stream of its own.

    A grid's configurations wait complete in the study, so nothing is left to be drawn for it.

    Args:
        settings: Which one, and its seed.
        worker: Number of the process that draws.
    """
    seed = settings.seed + 1_000_003 * worker
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        match settings.name:
            case "tpe":
                # Trials that run are taken for bad ones, so that workers do not all try the same.
                return optuna.samplers.TPESampler(
                    seed=seed, multivariate=True, group=True, constant_liar=True
                )
            case "qmc":
                return optuna.samplers.QMCSampler(seed=settings.seed, scramble=True)
            case "nsga2":
                return optuna.samplers.NSGAIISampler(seed=seed)
            case "gp":
                return optuna.samplers.GPSampler(seed=seed)
            case _:
                return optuna.samplers.RandomSampler(seed=seed)


@dataclass(frozen=True)
class Pruning:
    """Checks after which only the best trials go on; steps are epochs, one fold after the other."""

    first: int
    """Epochs before the first check."""

    last: int
    """Epochs of a whole trial."""

    keeps_one_in: int
    """At every check one trial in this many goes on, and the next comes after that many times as
    many epochs."""

    brackets: int
    """1: ASHA; more: Hyperband, whose brackets begin to check later."""


def pruning_of(settings: Pruner, *, epochs: int, folds: int) -> Pruning | None:
    """Read when trials are stopped early; None: never.

    Args:
        settings: What the search space says.
        epochs: Most epochs of a fold: the first check comes after them, unless the settings say
            otherwise.
        folds: Folds of a trial.

    References:
        Li et al. 2020, https://arxiv.org/abs/1810.05934 (ASHA); Li et al. 2018,
        https://arxiv.org/abs/1603.06560 (Hyperband).
    """
    if settings.name == "none":
        return None
    first, last, keeps = settings.min_epochs or epochs, epochs * folds, settings.keeps_one_in
    brackets = 1 + int(log(max(1, last / first), keeps)) if settings.name == "hyperband" else 1
    return Pruning(first, last, keeps, brackets)


def pruner_of(pruning: Pruning | None) -> BasePruner:
    """Build Optuna's pruner."""
    if pruning is None:
        return NopPruner()
    if pruning.brackets == 1:
        return SuccessiveHalvingPruner(
            min_resource=pruning.first, reduction_factor=pruning.keeps_one_in
        )
    return HyperbandPruner(
        min_resource=pruning.first,
        max_resource=pruning.last,
        reduction_factor=pruning.keeps_one_in,
    )
