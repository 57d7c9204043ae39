"""The worker: claim → freeze → launch → watch → judge → register, one run at a time.

Every step can be done twice: whoever takes a run over after a crash goes on where its folder and the database say
it stands. Only this module of the trainer opens the database, and nothing here needs torch.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from feedback import adapters, assistants, audit, datasets, due, evaluations, logs, releases, runs
from feedback.columns import finite
from feedback.config import Settings
from feedback.database import Database
from feedback.errors import BurnishError, Conflict, InvalidInput, LeaseLost, OutOfMemory, RunFailed, RunFailedForGood
from feedback.fine_tuning import jobs
from feedback.fine_tuning.dataset import JobData, curate_examples
from feedback.fine_tuning.events import metrics_of
from feedback.fine_tuning.requests import applied
from feedback.guidelines import system_prompt_of
from feedback.heartbeat import Heartbeat
from feedback.housekeeping import Housekeeping
from feedback.models import AdapterVersion, Assistant, Evaluation, Run
from feedback.processes import TrainerTask
from feedback.run_folder import FrozenGuidelines, RunSpec, attempt_folder
from feedback.runs import Claim
from feedback.states import RunStatus, VerdictWord
from feedback.suites.freezing import added_suites, new_canaries, shortened
from feedback.workers import Presence
from service.engines.adapter_format import read_adapter
from trainer.attempts import hand_over, read_results, take_back, without_words
from trainer.baseline import align_baseline, purpose_against, replace_baseline
from trainer.evaluation.verdict import Verdict, judge
from trainer.failures import BUSY, disk_full, failure_of, goes_on, is_disk_full, oom_kills
from trainer.launchers.local import LocalLauncher
from trainer.own_suites import own_suites
from trainer.progress import RunProgress

_log = structlog.get_logger()

MAX_EVALUATIONS = 5
"""How often a candidate is judged again because the baseline changed while it was judged."""


ABANDONED_SECONDS = 86_400.0
"""Age from which a half-written folder can't be anybody's work under way."""


class Stopped(Exception):
    """The worker was asked to stop; the run goes back to the queue."""


class Worker:
    def __init__(self, settings: Settings, database: Database, launcher: LocalLauncher | None = None) -> None:
        self._settings = settings
        self._database = database
        self._launcher = launcher or LocalLauncher(settings)
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._stopping = False
        self._away = False

    def stop(self) -> None:
        self._stopping = True

    def run_forever(self) -> None:
        self._settings.runs.mkdir(parents=True, exist_ok=True)
        self._sweep()
        _log.info("worker ready", worker=self._name)
        with Housekeeping(self._settings, self._database), Presence(self._database, self._name):
            while not self._stopping:
                try:
                    worked = self.work_once()
                except SQLAlchemyError as error:
                    if not self._away:  # once an outage, however long it lasts
                        _log.error("database away", worker=self._name, **logs.whereabouts(error))
                    self._away, worked = True, False
                if not worked:
                    time.sleep(self._settings.queue_poll_seconds)
        _log.info("worker stopped", worker=self._name)

    def _sweep(self) -> None:
        """Remove what killed processes left half-written long ago."""
        for place in (self._settings.runs, self._settings.adapters):
            for left in place.glob(".*") if place.is_dir() else ():
                if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)

    def work_once(self) -> bool:
        """Request what is due, claim a run and see it through; False when there was none."""
        for run in due.request_what_is_due(self._database):
            _log.info("run requested", run=run.id, reason=run.reason)
        held = runs.claim(self._database, self._name, self._settings.lease_seconds)
        if self._away:
            _log.info("database back", worker=self._name)
            self._away = False
        if held is None:
            return False
        _log.info("run claimed", run=held.run_id, attempt=held.attempt)
        try:
            self._work_on(held)
        except LeaseLost:
            self._tell_loss(held)
        return True

    def _tell_loss(self, held: Claim) -> None:
        """By now no process of this worker trains in the run's folder any more."""
        status = None
        with suppress(SQLAlchemyError), self._database.read() as session:
            status = runs.get_run(session, held.run_id).status
        if status == RunStatus.CANCELLED:
            _log.info("run cancelled, its training process is ended", run=held.run_id)
        else:
            _log.warning("lease lost", run=held.run_id)

    def _work_on(self, held: Claim) -> None:
        """See the run through, or give it back in the state that its failure asks for."""
        try:
            with Heartbeat(self._database, held) as heart:
                self._outlast_outages(held, heart)
        except LeaseLost:
            raise
        except Stopped:
            runs.release_lease(self._database, held)
        except Exception as error:
            self._fail(held, error)

    def _fail(self, held: Claim, error: Exception) -> None:
        """Note a failed attempt; the next one goes on from what it left, if that is of use."""
        folder = self._settings.runs / held.run_id
        attempt = attempt_folder(folder, held.attempt)
        no_room = not isinstance(error, BurnishError) and is_disk_full(error)
        known = disk_full(error, folder) if no_room else error
        if isinstance(known, BurnishError):
            reason, details = known.message, {"reason": known.message}
        else:
            reason, details = f"Unexpected: {type(error).__name__}; see the worker's log.", logs.whereabouts(error)
        final = isinstance(known, InvalidInput | RunFailedForGood)
        if not final and not held.is_last and goes_on(known, attempt):
            with self._fence(held), suppress(OSError):  # without it, the next attempt starts over
                hand_over(folder, held.attempt)
        status = runs.fail_attempt(self._database, held, reason, final=final)
        _log.error("attempt failed", run=held.run_id, attempt=held.attempt, status=status, **details)

    @contextmanager
    def _fence(self, held: Claim) -> Iterator[None]:
        """Nobody takes the run over meanwhile. Raises LeaseLost if somebody has."""
        with self._database.write() as session:
            runs.require_lease(session, held)
            yield

    def _outlast_outages(self, held: Claim, heart: Heartbeat) -> None:
        """Go through the steps again, after an outage, for as long as the run is ours. That is no failed attempt."""
        while True:
            try:
                self._see_through(held, heart)
                return
            except OperationalError:
                heart.check()
                if heart.beat():  # the database is there: what failed is the step
                    raise
                while not heart.beat():
                    self._pause(heart)

    def _see_through(self, held: Claim, heart: Heartbeat) -> None:
        folder = self._settings.runs / held.run_id
        self._freeze(held, folder)
        take_back(folder, held.attempt)
        align_baseline(folder)
        self._process(held, heart, "run", folder)
        for _ in range(MAX_EVALUATIONS):
            spec, evaluation = read_results(folder, held.attempt)
            self._forget_tainted_words(held, folder, spec)
            if evaluation.baseline_version != spec.baseline_version:
                self._process(held, heart, "evaluate", folder)
                continue
            sha256 = self._publish(folder, held.attempt)
            try:
                newer = self._register(held, spec, sha256, judge(evaluation, spec.verdict))
            except Conflict:
                continue  # another release went live at this moment, and nothing was registered: look again
            if newer is None:
                return
            with self._database.read() as session:
                tries = evaluations.judged_against(session, newer) + 1
                of_feedback = jobs.of_run(session, held.run_id) is None
            moves = newer.base_model != spec.base_model
            if moves and spec.baseline_base_model is None:
                raise RunFailedForGood(f"'{spec.assistant}' moved to {newer.base_model} meanwhile: start a new run.")
            purpose = purpose_against(tainted=bool(newer.tainted_at), of_feedback=of_feedback, moves=moves)
            baseline = adapters.folder_of(self._settings.adapters, newer)
            replace_baseline(folder, baseline, tries, purpose, newer.base_model if moves else None)
        raise RunFailed(f"The baseline changed {MAX_EVALUATIONS} times while the candidate was judged.")

    def _freeze(self, held: Claim, folder: Path) -> None:
        """Curate and freeze the dataset into the folder, once a run."""
        with self._database.read() as session:
            run = runs.get_run(session, held.run_id)
            if run.dataset_version_id is not None:
                if not (folder / "run.json").is_file():
                    raise InvalidInput(f"{folder} is gone: start a new run with `burnish train ASSISTANT`.")
                return
            assistant = session.get_one(Assistant, run.assistant_id)
            live = releases.live(session, assistant).version
            suites = own_suites() | added_suites(session, assistant) | new_canaries()
            tries = evaluations.judged_against(session, live) + 1
            job = jobs.of_run(session, run.id)
            if job is None:
                material = datasets.gather_material(session, assistant, base_model=run.base_model)
                curating: datasets.Curating = datasets.curate_material
            else:
                data, curating = JobData.of(session, assistant, job), curate_examples
        if job is not None:
            material = data.material(self._settings.files)
        policies = assistants.policies(assistant)
        own = policies.hyperparameters if job is None else applied(job, policies.hyperparameters)
        base_model = run.base_model or assistant.base_model
        moves = base_model != live.base_model
        if live.tainted_at is not None or moves:  # going on from it would keep what was erased, or doesn't fit
            own = own.model_copy(update={"warm_start": False})
        baseline = adapters.folder_of(self._settings.adapters, live)

        def spec(frozen: datasets.Frozen, hashes: dict[str, str]) -> RunSpec:
            return RunSpec(
                run_id=run.id,
                assistant=assistant.name,
                base_model=base_model,
                baseline_version=live.sha256,
                baseline_base_model=live.base_model if moves else None,
                start_version=live.sha256 if own.warm_start else assistants.BASE_VERSION,
                methods=frozen.curated.methods,
                hyperparameters=runs.with_search(own, run.search_trials),
                verdict=policies.verdict,
                guidelines=guidelines,
                purpose=purpose_against(tainted=bool(live.tainted_at), of_feedback=job is None, moves=moves),
                tries=tries,
                seed=run.seed,
                dataset_sha256=frozen.sha256,
                files=hashes,
            )

        said = material.guidelines
        guidelines = FrozenGuidelines(
            system_prompt=system_prompt_of(said), disclaimer=said.disclaimer, sensitive_topics=said.sensitive_topics
        )
        suites = {name: shortened(name, content, policies.verdict.max_suite_items) for name, content in suites.items()}
        fence = partial(self._fence, held)
        frozen = datasets.freeze(material, folder, suites, baseline, spec, fence, curating=curating)
        del material  # a million items
        # before it is recorded: a worker killed here freezes and tells again
        if job is None:
            datasets.tell_givers(self._database, frozen.curated)
        if not frozen.curated.methods:
            received = frozen.curated.funnel[0][1]
            raise InvalidInput(
                f"Nothing to train on: {received} {'examples' if job else 'pieces of feedback'} came in, none was left "
                f"for the training side; {folder / 'datasheet.md'} says why. Collect more corrections and choices."
            )
        with self._database.write() as session:
            runs.require_lease(session, held)
            run = session.get_one(Run, held.run_id)
            dataset = datasets.record(session, assistant, run, frozen, of_feedback=job is None)
            _log.info("dataset frozen", run=held.run_id, dataset=dataset.number, rows=len(frozen.curated.rows))

    def _process(self, held: Claim, heart: Heartbeat, task: TrainerTask, folder: Path) -> None:
        """Run a training process to its end, or to that of the lease."""
        while True:
            kills = oom_kills()
            process = self._launcher.start(task, folder, held.attempt)
            try:
                status = self._watch(heart, process)
            finally:
                _end(process)
            if status == 0:
                return
            if status != BUSY:
                break
            self._pause(heart)  # an orphan of a worker that died is about to end
        failure = failure_of(status, attempt_folder(folder, held.attempt), memory_ran_out=oom_kills() > kills)
        if isinstance(failure, OutOfMemory):
            RunProgress(attempt_folder(folder, held.attempt) / "metrics.json").ran_out_of_memory()
        raise failure

    def _watch(self, heart: Heartbeat, process: subprocess.Popen[bytes]) -> int:
        while process.poll() is None:
            self._check(heart)
            time.sleep(0.2)
        return process.returncode

    def _pause(self, heart: Heartbeat) -> None:
        self._check(heart)
        time.sleep(1.0)

    def _check(self, heart: Heartbeat) -> None:
        if self._stopping:
            raise Stopped
        heart.check()

    def _publish(self, folder: Path, attempt: int) -> str:
        source = attempt_folder(folder, attempt) / "adapter"
        read_adapter(source)
        return adapters.publish(source, self._settings.adapters)

    def _forget_tainted_words(self, held: Claim, folder: Path, spec: RunSpec) -> None:
        """What versions say that learned from erased words stays in no report, though they serve on."""
        with self._database.read() as session:
            run = runs.get_run(session, held.run_id)
            tainted = adapters.tainted(session, session.get_one(Assistant, run.assistant_id))
        if not tainted.isdisjoint({spec.baseline_version, spec.start_version}):
            without_words(folder, held.attempt)

    def _register(self, held: Claim, spec: RunSpec, sha256: str, verdict: Verdict) -> AdapterVersion | None:
        """Register, finish and release in one transaction; or return the baseline that serves by now instead."""
        with self._database.write() as session:
            runs.require_lease(session, held)
            run = session.get_one(Run, held.run_id)
            assistant = session.get_one(Assistant, run.assistant_id)
            live = releases.live(session, assistant)
            if live.version.sha256 != spec.baseline_version:
                return live.version
            version = adapters.register(
                session,
                assistant,
                sha256,
                run.id,
                adapters.by_sha256(session, assistant, spec.start_version),
                base_model=spec.base_model,
            )
            label = f"{assistant.name}@{version.number}"
            actor = f"worker:{run.id}"
            audit.record(session, actor, "version.register", label, verdict=verdict.verdict)
            evaluation = Evaluation(
                run_id=run.id,
                candidate_id=version.id,
                baseline_id=live.version.id,
                verdict=VerdictWord(verdict.verdict),
                reasons=verdict.reasons,
                statistics=finite(verdict.statistics),
            )
            session.add(evaluation)
            session.flush()
            job = jobs.of_run(session, run.id)
            if job is not None:
                metrics = metrics_of(self._settings.runs, run)
                jobs.conclude(session, self._settings, job, metrics)
            if evaluation.verdict == VerdictWord.PROMOTE and version.tainted_at is None:
                # what a job made goes live by an operator's word alone; two versions are never on trial at once
                policy = assistants.policies(assistant).release
                free = not policy.frozen and releases.on_trial(session, assistant) is None
                stays = version.base_model == assistant.base_model  # else services are to be started anew
                if job is None and policy.promotion == "auto" and free and stays:
                    reason, expected = "judged better than what served", live.release.id
                    releases.promote(
                        session, assistant, version, actor=actor, reason=reason, expected_release_id=expected
                    )
                else:
                    releases.propose(session, assistant, evaluation, actor=actor)
            runs.finish(session, held)
        _log.info("run finished", run=run.id, version=label, verdict=verdict.verdict)
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def main() -> int:
    """`python -m trainer worker`: work until SIGTERM or Ctrl-C."""
    settings = Settings()
    logs.configure(settings.log_level)
    database = settings.open_database()
    database.check()
    worker = Worker(settings, database)
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: worker.stop())
    worker.run_forever()
    database.close()
    return 0
