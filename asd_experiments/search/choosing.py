"""How configurations are drawn and stopped early: a search space's words as Optuna's objects."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from asd_experiments.search.settings import Pruner, Sampler
from asd_experiments.search.study import key_of


def sampler_of(settings: Sampler) -> BaseSampler:
    """Build a sampler that draws every trial from a stream of its own.

    What a trial draws depends on its key, not on the process that draws, nor on what that drew
    before: a sweep that goes on after a crash draws what it would have drawn. A grid's
    configurations wait complete in the study, so nothing is left to be drawn for it.
    """
    return _OneStreamPerTrial(settings)


class _OneStreamPerTrial(BaseSampler):
    """Optuna's sampler, made anew with a seed of its own for every trial."""

    def __init__(self, settings: Sampler) -> None:
        self._settings = settings
        self._key: str | None = None
        self._sampler: BaseSampler

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._of(trial).before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._of(trial).after_trial(study, trial, state, values)

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if (key := key_of(trial)) != self._key:
            self._key = key
            seeds = np.random.SeedSequence([self._settings.seed, int(key)])
            self._sampler = _optuna_sampler(self._settings, int(seeds.generate_state(1)[0]))
        return self._sampler


def _optuna_sampler(settings: Sampler, seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        match settings.name:
            case "tpe":
                # Trials that run are taken for bad ones, so that workers do not all try the same.
                return optuna.samplers.TPESampler(
                    seed=seed, multivariate=True, group=True, constant_liar=True
                )
            case "qmc":  # all trials take their points from one sequence, in the study's order
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
