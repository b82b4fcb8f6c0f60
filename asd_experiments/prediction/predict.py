"""The command `predict`: what a logged model says of videos, and how good that is."""

import json
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from asd_experiments.config import PredictConfig
from asd_experiments.errors import InputError
from asd_experiments.interruption import Interrupted, stop_signals_raise
from asd_experiments.prediction.external import log_external
from asd_experiments.prediction.kept import KeptClips
from asd_experiments.prediction.known import KnownTrial, find_trial, refuse_known
from asd_experiments.prediction.logged_model import LoggedModel
from asd_experiments.prediction.output import (
    TRAINED_ON,
    answers_of_videos,
    check_out,
    is_complete,
    patients_file,
    write_answers,
)
from asd_experiments.prediction.plan import Plan, Result
from asd_experiments.prediction.record import log_counts, log_start
from asd_experiments.prediction.request import (
    Request,
    check_classes,
    file_sums,
    named_rows,
    read_request,
)
from asd_experiments.progress import progress_bar
from asd_experiments.tracking.answers import RequestedVideo
from asd_experiments.tracking.model_signature import PredictOptions
from asd_experiments.tracking.runs import command_run, use_tracking_store, where_to_see
from asd_experiments.training.fit import device_problem, training_device
from preprocess.workers import in_processes, num_workers

_UNREADABLE = "it cannot be read"


def predict(config: PredictConfig) -> str | None:
    """Classify videos and write the answers; with labels, log how right they are.

    Returns:
        Id of the run; None if everything was there already.

    Raises:
        InputError: If model, videos, labels or the place for the answers cannot be used; before
            anything is computed.
        SystemExit: At the end, if a video could not be classified, with what to do; at once, if
            somebody stops it.
    """
    use_tracking_store()
    job = None
    try:
        with stop_signals_raise():
            job = _prepare(config)
        if job is None:
            print(f"All answers are in {config.out} already.")
            return None
        with command_run(config.run_name, _run_name(job), discreet=True) as run_id:
            failed = _carry_out(run_id, config, job)
    except Interrupted as error:
        kept = f"; what is done is kept in {job.kept.folder}: run it again to go on" if job else ""
        raise SystemExit(f"predict: {error}{kept}") from error
    if failed:
        raise SystemExit(f"predict: {_what_next(failed, job)}")
    return run_id


def _run_name(job: "_Job") -> str:
    what = "predict" if job.request.labels is None else "external validation"
    return f"{what} {job.model.name}"


@dataclass(frozen=True)
class _Job:
    """What is to be done, checked."""

    model: LoggedModel
    options: PredictOptions
    request: Request
    sums: dict[str, str | None]
    """SHA-256 of every file, by its name; None of one that cannot be read."""

    versions: str
    """All that an answer rests on beside the video."""

    kept: KeptClips
    trial: KnownTrial

    def missing(self) -> list[str]:
        """Names of the videos that are to be classified, each content once."""
        first: dict[str, str] = {}
        for name, content in self.sums.items():
            if content is not None and content not in self.kept:
                first.setdefault(content, name)
        return list(first.values())


def _prepare(config: PredictConfig) -> _Job | None:
    """Find everything and refuse what cannot be done; None: it is done already."""
    if problem := device_problem(config.device):
        raise InputError(problem)
    labels = Path(config.labels) if config.labels else None
    request = read_request(Path(config.videos), labels)
    model = LoggedModel.find(config.model)
    options = model.networks.options(
        {
            "fold": config.fold,
            "clip_stride": config.clip_stride or 0,
            "batch_size": config.batch_size,
            "device": training_device(config.device),
        }
    )
    spec, out = model.networks.spec, Path(config.out)
    check_classes(request, spec.classes)
    check_out(out, request)
    sums = file_sums(request)
    patients = {patient for patient in request.patients if patient is not None}
    trial = find_trial(spec, patients, config.pseudonym_key)
    if request.labels is not None:
        refuse_known(request.labels, sums, spec, trial.known)
        if trial.unchecked:
            print(f"The model's patients are recognised by their videos alone: {trial.unchecked}.")
    basis = {
        **model.networks.versions(options),
        "digest": model.digest,
        "clip_stride": options.clip_stride or spec.clip_stride,
        "device": options.device,
    }
    versions = json.dumps(basis)
    if is_complete(out, request, [sums[name] for name in request.names], versions):
        return None
    return _Job(model, options, request, sums, versions, KeptClips(out, versions), trial)


def _carry_out(run_id: str, config: PredictConfig, job: _Job) -> list[int]:
    """Classify what is missing, write and log everything; rows that could not be classified."""
    started, missing = time.monotonic(), job.missing()
    log_start(
        run_id, job.model, job.options, job.trial.run, labelled=job.request.labels is not None
    )
    problems = _classify(config, job, missing)
    videos = _requested(job, problems)
    out, networks = Path(config.out), job.model.networks
    answers = networks.answers(videos, job.options)
    sums = [job.sums[name] for name in job.request.names]
    answers = answers.assign(versions=job.versions)
    table = answers_of_videos(answers, job.request, sums, networks.spec.training_videos)
    write_answers(out, table, job.request)
    failed = [
        row
        for row, video in zip(job.request.rows.values(), videos, strict=True)
        if not video.result
    ]
    num_new = len(missing) - len(problems)
    log_counts(run_id, table, num_new=num_new, seconds=time.monotonic() - started)
    print(_summary(config, table, num_new, len(failed)))
    if job.request.labels is not None and len(failed) < len(videos):
        external = log_external(
            run_id, job.model, job.options, job.request.labels, videos, job.trial
        )
        print(f"\n{external}\n")
    print("\n".join(where_to_see(run_id)))
    if not failed:
        job.kept.remove()
    return failed


def _classify(config: PredictConfig, job: _Job, missing: list[str]) -> dict[str, str]:
    """Classify videos and keep what comes out; why those that could not be could not, by SHA-256.

    A failure is shown as it comes, by its row: the name of a file may be that of a patient.
    """
    problems: dict[str, str] = {}
    rows = job.request.rows
    for name in (name for name, content in job.sums.items() if content is None):
        print(f"row {rows[name]} cannot be classified: {_UNREADABLE}")
    if not missing:
        return problems
    with closing(_results(config, job, missing)) as results:
        bar = progress_bar(results, total=len(missing), title="predict", unit="video")
        for result in bar:
            if result.clips is not None:
                job.kept.add(result.clips)
                continue
            bar.write(f"row {rows[result.video]} cannot be classified: {result.problem}")
            problems[str(job.sums[result.video])] = result.problem
    return problems


def _results(config: PredictConfig, job: _Job, names: list[str]) -> Generator[Result]:
    """Have videos classified, here or elsewhere; results come as they finish."""
    networks, model = job.model.networks, job.model
    here = networks.versions(job.options)["here"]
    preprocessing = here["preprocessing"]
    on_gpu = "cuda" in (job.options.device, preprocessing.get("device"))
    device = "cuda" if on_gpu else preprocessing.get("device")
    sums = {name: str(job.sums[name]) for name in names}
    plan = Plan(Path(config.videos), sums, model.folder, asdict(job.options))
    if config.ray_address is not None:
        from asd_experiments.prediction.cluster import on_cluster

        contents = {name: path.read_bytes() for name, path in model.files()}
        libraries = {"torch": here["torch"], **preprocessing}
        yield from on_cluster(
            replace(plan, model=contents),
            names,
            libraries={
                k: v for k, v in libraries.items() if k not in ("asd_experiments", "device")
            },
            device=device,
            address=config.ray_address,
            most_at_a_time=config.workers,
        )
        return
    processes = num_workers(config.workers, len(names), device=device)
    if processes > 1:
        print(f"{processes} processes load the model first (workers= changes how many)")
        yield from in_processes(plan, names, processes=processes, lost=Result.lost)
    else:
        yield from map(plan.worker(), names)


def _requested(job: _Job, problems: dict[str, str]) -> list[RequestedVideo]:
    """All videos in order with what came of them, new or kept."""
    videos = []
    for name, patient in zip(job.request.names, job.request.patients, strict=True):
        content = job.sums[name]
        if content is None:
            videos.append(RequestedVideo(name, patient, problem=_UNREADABLE))
        elif content in problems:
            videos.append(RequestedVideo(name, patient, problem=problems[content]))
        else:
            videos.append(RequestedVideo(name, patient, job.kept[content]))
    return videos


def _summary(config: PredictConfig, table: pd.DataFrame, num_new: int, num_failed: int) -> str:
    num_classified = len(table) - num_failed
    lines = [
        f"{num_classified} of {len(table)} videos are classified ({num_new} just now), "
        f"{num_failed} failed: {config.out}"
    ]
    if "label" in table.columns:
        lines.append(f"Patients: {patients_file(Path(config.out))}")
    if doubtful := int(table["flags"].str.startswith("do not trust").sum()):
        lines.append(f"{doubtful} of the answers are not to be trusted: see the column flags.")
    if known := int(table[TRAINED_ON].sum()):
        lines.append(
            f"{known} of the videos are among those that the model was trained on: what it says "
            "of them shows nothing."
        )
    return "\n".join(lines)


def _what_next(failed: list[int], job: _Job) -> str:
    """Why the exit status is 1 although there are answers, and how to end with 0."""
    return (
        f"{len(failed)} of {len(job.request.names)} videos could not be classified "
        f"({named_rows(failed)}); the column problem says why.\n"
        "The answers are complete without them. To try again, mend the files and run the same "
        f"command: what is done is kept in {job.kept.folder} and not done again. To do without, "
        "take them out of the folder or the labels file and run it again; the exit status is 0 "
        "then."
    )
