"""Which version serves an assistant: what is tried beside it, what waits for a word, what was; and the deeds on it."""

from typing import Annotated

from litestar import get, post
from litestar.params import Parameter

from feedback import adapters, assistants, release_deeds, release_report, releases, rollout
from feedback.config import Settings
from feedback.database import Database
from feedback.drift import LARGE, SHIFT, drift
from feedback.errors import InvalidInput
from feedback.version_report import newest_versions
from service.auth import visible
from service.web.console.asked import reason
from service.web.page import AnyResponse, Form, Page, signed_in

AT_ONCE = 20
Id = Annotated[int | None, Parameter(ge=0, lt=2**62)]


@get("/console/a/{name:str}/releases", guards=[signed_in("operate")], sync_to_thread=True)
def show_releases(name: str, page: Page, database: Database, after: Id = None) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        found = release_report.history(session, assistant, AT_ONCE + 1, after=after)
        return page.render(
            "console/releases.html",
            assistant=name,
            live=release_report.current(session, assistant),
            trial=release_report.trial_report(session, assistant),
            proposals=release_report.proposals(session, assistant),
            policy=assistants.policies(assistant).release,
            can_roll_back=release_report.can_roll_back(session, assistant),
            history=found[:AT_ONCE],
            after=found[AT_ONCE - 1].id if len(found) > AT_ONCE else None,
        )


@get("/console/a/{name:str}/releases/versions", guards=[signed_in("operate")], sync_to_thread=True)
def show_versions(name: str, page: Page, database: Database, below: Id = None) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        found = newest_versions(session, assistant, AT_ONCE + 1, below=below)
    shown = found[:AT_ONCE]
    last = int(shown[-1].version.rpartition("@")[2]) if len(found) > AT_ONCE else None
    return page.render("console/versions.html", assistant=name, versions=shown, below=last)


@get("/console/a/{name:str}/releases/drift", guards=[signed_in("operate")], sync_to_thread=True)
def show_drift(name: str, page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        found = drift(session, visible(session, page.caller, name))
    return page.render("console/drift.html", assistant=name, report=found, shift=SHIFT, large=LARGE)


@get("/console/a/{name:str}/releases/promote", guards=[signed_in("operate")], sync_to_thread=True)
def ask_to_promote(
    name: str, page: Page, database: Database, version: Annotated[int, Parameter(ge=0, lt=2**31)]
) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        found = adapters.get_number(session, assistant, version)
        outlook = release_report.promotion_outlook(session, assistant, found, actor=page.caller.actor)
    return page.render("console/promote.html", assistant=name, number=version, found=outlook)


@post("/console/a/{name:str}/releases/promote", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def promote(name: str, page: Page, form: Form, database: Database, settings: Settings) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
    done = release_deeds.promote(
        database,
        settings.adapters,
        assistant.id,
        _version(form),
        actor=page.caller.actor,
        reason=reason(form),
        force=form.ticked("force"),
        at_once=form.ticked("at_once"),
    )
    return page.go(_place(name), "{version} is {state} now.", version=done.version, state=page.words(done.state.value))


@get("/console/a/{name:str}/releases/veto", guards=[signed_in("operate")], sync_to_thread=True)
def ask_to_veto(
    name: str, page: Page, database: Database, version: Annotated[int, Parameter(ge=0, lt=2**31)]
) -> AnyResponse:
    with database.read() as session:
        assistant = visible(session, page.caller, name)
        found, trial = adapters.get_number(session, assistant, version), releases.on_trial(session, assistant)
        on_trial = trial is not None and trial.adapter_version_id == found.id
        live = release_report.current(session, assistant)
    return page.render("console/veto.html", assistant=name, number=version, live=live, on_trial=on_trial)


@post("/console/a/{name:str}/releases/veto", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def veto(name: str, page: Page, form: Form, database: Database) -> AnyResponse:
    with database.write() as session:
        assistant = visible(session, page.caller, name)
        version = adapters.get_number(session, assistant, _version(form))
        releases.veto(session, assistant, version, actor=page.caller.actor, reason=reason(form))
    return page.go(_place(name), "{version} is turned down.", version=f"{name}@{version.number}")


@post("/console/a/{name:str}/releases/share", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def set_share(name: str, page: Page, form: Form, database: Database) -> AnyResponse:
    percent = form.number("percent") or 0
    with database.write() as session:
        assistant = visible(session, page.caller, name)
        rollout.set_share(
            session, assistant, percent, actor=page.caller.actor, reason=reason(form), expected=_version(form)
        )
    return page.go(_place(name), "It serves {percent} % of the conversations now.", percent=percent)


@get("/console/a/{name:str}/releases/rollback", guards=[signed_in("operate")], sync_to_thread=True)
def ask_to_roll_back(name: str, page: Page, database: Database) -> AnyResponse:
    with database.read() as session:
        found = release_report.roll_back_outlook(session, visible(session, page.caller, name))
    return page.render("console/rollback.html", assistant=name, found=found)


@post("/console/a/{name:str}/releases/rollback", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def roll_back(name: str, page: Page, form: Form, database: Database) -> AnyResponse:
    with database.write() as session:
        assistant = visible(session, page.caller, name)
        releases.roll_back(
            session,
            assistant,
            actor=page.caller.actor,
            reason=reason(form),
            expected_live=_version(form),
            accept_tainted=form.ticked("accept_tainted"),
        )
        live = releases.live(session, assistant).version
    return page.go(_place(name), "{version} serves.", version=f"{name}@{live.number}")


@post("/console/a/{name:str}/releases/freeze", guards=[signed_in("operate")], status_code=200, sync_to_thread=True)
def freeze(name: str, page: Page, form: Form, database: Database) -> AnyResponse:
    frozen = form.ticked("frozen")
    with database.write() as session:
        assistant = visible(session, page.caller, name)
        release_deeds.freeze(session, assistant, frozen, actor=page.caller.actor, reason=reason(form))
    return page.go(_place(name), "Releases are frozen." if frozen else "Releases go on.")


def _version(form: Form) -> int:
    """The version that was meant: what is another one's by now is refused."""
    number = form.number("version")
    if number is None or not 0 <= number < 2**31:
        raise InvalidInput("Which version? Open the page again and send it from there.", param="version")
    return number


def _place(name: str) -> str:
    return f"/console/a/{name}/releases"
