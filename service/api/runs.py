"""For operators: training runs. Request, list, look at, follow, move forward, cancel, retry."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import Response, get, post
from litestar.params import JSONBody, Parameter
from litestar.response import Stream
from litestar.serialization import encode_json
from pydantic import Field
from sqlmodel import Session

from feedback import run_report, runs
from feedback.config import Settings
from feedback.curves import Training
from feedback.database import Database
from feedback.errors import BurnishError, NotFound
from feedback.hyperparameters import MOST_SEARCH_TRIALS
from feedback.keys import Caller
from feedback.models import Assistant, Run
from feedback.run_report import RunDetails, RunReport
from feedback.states import OPEN_RUNS, RunStatus
from service.api.lists import Page
from service.api.strict_body import StrictBody
from service.auth import may, visible
from service.chat import Chat
from service.errors import error_body

SECONDS_BETWEEN_LOOKS = 1.0
PING_SECONDS = 15.0
"""A comment goes out when there was no news for this long, so that proxies keep the stream open."""

Priority = Annotated[int, Field(ge=-runs.MOST_PRIORITY, le=runs.MOST_PRIORITY)]


class RunCreate(StrictBody):
    reason: str = Field("asked for through the API", max_length=500)
    priority: Priority = 0
    search_trials: Annotated[int, Field(ge=0, le=MOST_SEARCH_TRIALS)] | None = Field(
        None, description="Of this run alone; null: as the assistant's hyperparameters say."
    )
    base_model: str | None = Field(
        None,
        min_length=1,
        max_length=300,
        description="To move to, if it is found no worse, as an admin's key may say; null: the assistant's.",
    )


class RunChange(StrictBody):
    priority: Priority


@post("/v1/assistants/{name:str}/runs", guards=[may("operate")], status_code=201, sync_to_thread=True)
def request_run(
    name: str, data: JSONBody[RunCreate], caller: Caller, database: Database, settings: Settings
) -> RunReport:
    if data.base_model is not None:
        caller.require("administer")  # it may be any folder of the machine, or download gigabytes
    with database.write() as session:
        assistant = visible(session, caller, name)
        run = runs.request(
            session,
            assistant,
            data.reason,
            actor=caller.actor,
            priority=data.priority,
            search_trials=data.search_trials,
            base_model=data.base_model,
        )
        return run_report.report(session, run, settings.runs)


@get("/v1/assistants/{name:str}/runs", guards=[may("operate")], sync_to_thread=True)
def list_assistants_runs(name: str, caller: Caller, database: Database, settings: Settings) -> list[RunReport]:
    with database.read() as session:
        found = runs.list_runs(session, visible(session, caller, name))
        return [run_report.report(session, run, settings.runs) for run in found]


@get("/v1/runs", guards=[may("operate")], sync_to_thread=True)
def list_runs(
    caller: Caller,
    database: Database,
    settings: Settings,
    assistant: str | None = None,
    status: RunStatus | None = None,
    after: Annotated[str | None, Parameter(max_length=40)] = None,
    limit: Annotated[int, Parameter(ge=1, le=100)] = 20,
) -> Page[RunReport]:
    """The newest first, of the assistants that the key sees."""
    with database.read() as session:
        found = runs.list_runs(
            session,
            visible(session, caller, assistant) if assistant is not None else None,
            limit + 1,
            assistant_ids=caller.assistant_ids,
            status=status,
            after=visible_run(session, caller, after) if after is not None else None,
        )
        reports = [run_report.report(session, run, settings.runs) for run in found[:limit]]
    return Page[RunReport].of(reports, has_more=len(found) > limit)


@get("/v1/runs/{run_id:str}", guards=[may("operate")], sync_to_thread=True)
def get_run(run_id: str, caller: Caller, database: Database, settings: Settings) -> RunDetails:
    with database.read() as session:
        return run_report.details(session, visible_run(session, caller, run_id), settings.runs)


@get("/v1/runs/{run_id:str}/training", guards=[may("operate")], sync_to_thread=True)
def get_training(run_id: str, caller: Caller, database: Database, settings: Settings) -> Training:
    """The losses of its newest attempt, by method, and what they mean."""
    with database.read() as session:
        run = visible_run(session, caller, run_id)
    return run_report.training_of(run, settings.runs)


@post("/v1/runs/{run_id:str}", guards=[may("operate")], status_code=200, sync_to_thread=True)
def change_run(
    run_id: str, data: JSONBody[RunChange], caller: Caller, database: Database, settings: Settings
) -> RunReport:
    with database.write() as session:
        visible_run(session, caller, run_id)
        run = runs.set_priority(session, run_id, data.priority, actor=caller.actor)
        return run_report.report(session, run, settings.runs)


@post("/v1/runs/{run_id:str}/cancel", guards=[may("operate")], status_code=200, sync_to_thread=True)
def cancel_run(run_id: str, caller: Caller, database: Database, settings: Settings) -> RunReport:
    with database.write() as session:
        visible_run(session, caller, run_id)
        return run_report.report(session, runs.cancel(session, run_id, actor=caller.actor), settings.runs)


@post("/v1/runs/{run_id:str}/retry", guards=[may("operate")], status_code=200, sync_to_thread=True)
def retry_run(run_id: str, caller: Caller, database: Database, settings: Settings) -> RunReport:
    with database.write() as session:
        visible_run(session, caller, run_id)
        return run_report.report(session, runs.retry(session, run_id, actor=caller.actor), settings.runs)


@get("/v1/runs/{run_id:str}/events", guards=[may("operate")], sync_to_thread=True)
def follow_run(run_id: str, caller: Caller, database: Database, settings: Settings, chat: Chat) -> Response[Any]:
    """Server-sent events: the run whenever it has changed, until it has ended; then `[DONE]`."""
    with database.read() as session:
        visible_run(session, caller, run_id)
    return Stream(
        _events(run_id, database, settings, chat),
        media_type="text/event-stream",
        headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
    )


async def _events(run_id: str, database: Database, settings: Settings, chat: Chat) -> AsyncIterator[bytes]:
    """Ends without `[DONE]` when the service stops: follow the run again."""

    def look() -> RunReport:
        with database.read() as session:
            return run_report.report(session, runs.get_run(session, run_id), settings.runs)

    told, told_at = None, time.monotonic()
    try:
        while not chat.draining:
            report = await asyncio.to_thread(look)
            if report.news() != told:
                told, told_at = report.news(), time.monotonic()
                yield b"data: " + encode_json(report.model_dump(mode="json")) + b"\n\n"
            elif time.monotonic() - told_at >= PING_SECONDS:
                told_at = time.monotonic()
                yield b": ping\n\n"
            if report.status not in OPEN_RUNS:
                yield b"data: [DONE]\n\n"
                return
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
    except BurnishError as error:
        yield b"data: " + encode_json(error_body(error)) + b"\n\n"
    except Exception as error:
        yield b"data: " + encode_json(error_body(error)) + b"\n\n"
        raise


def visible_run(session: Session, caller: Caller, run_id: str) -> Run:
    """The run, unless there is none or the key may not see its assistant: nobody can tell which."""
    run = session.get(Run, run_id)
    if run is None or not caller.sees(session.get_one(Assistant, run.assistant_id)):
        raise NotFound(f"No run '{run_id}': `burnish status` lists them.", param="run_id", code="run_not_found")
    return run
