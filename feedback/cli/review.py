"""`burnish review` and `burnish feedback approve edit reject`: go through what waits for a person, and decide."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from feedback import assistants, review
from feedback.cli.app import ACTOR, AsJson, AssistantName, console, open_all, print_fields, print_json, print_rows
from feedback.review import agreement, claims, entries, queue
from feedback.review.entries import Entry
from feedback.states import FeedbackKind, FeedbackStatus, ReviewDecision

review_app = typer.Typer(help="The review queue: list, take the next, give back, agreement.", no_args_is_help=True)

FeedbackId = Annotated[str, typer.Argument(help="The feedback's id, fb-…")]
Note = Annotated[str | None, typer.Option(help="Shown on the giver's receipt.")]
Comment = Annotated[str | None, typer.Option(help="For other reviewers only.")]
Second = Annotated[bool, typer.Option("--second-opinion", help="Another person must decide too.")]
Final = Annotated[bool, typer.Option("--final", help="Settle it, whatever others said.")]
ShowOption = Annotated[queue.Show | None, typer.Option(help="Which entries; waiting, unless a status is asked for.")]
Status = Annotated[FeedbackStatus | None, typer.Option(help="Only in this state.")]
Kind = Annotated[FeedbackKind | None, typer.Option(help="Only of this kind.")]
Tag = Annotated[str | None, typer.Option(help="Only with this tag.")]
Category = Annotated[str | None, typer.Option(help="Only reports of this category, or whose case has it.")]
ContributorId = Annotated[str | None, typer.Option(help="Only this contributor's, by its id.")]
Search = Annotated[str | None, typer.Option(help="Only with these words in what was asked, answered or said.")]
OrderOption = Annotated[queue.Order, typer.Option(help="Oldest first, or the most telling kinds first.")]
After = Annotated[str | None, typer.Option(help="Go on after this id.")]


def register(app: typer.Typer, feedback_app: typer.Typer) -> None:
    app.add_typer(review_app, name="review")
    for command in (approve, edit, reject):
        feedback_app.command()(command)


@review_app.command("list")
def review_list(
    assistant: AssistantName,
    show: ShowOption = None,
    status: Status = None,
    kind: Kind = None,
    tag: Tag = None,
    category: Category = None,
    contributor: ContributorId = None,
    search: Search = None,
    order: OrderOption = queue.Order.OLDEST,
    after: After = None,
    limit: Annotated[int, typer.Option(min=1, help="Most entries to show.")] = 50,
    as_json: AsJson = False,
) -> None:
    """What waits for a person, with what it is about."""
    wanted = queue.Wanted(show, status, kind, tag, category, contributor, search, order, after)
    _, database = open_all()
    with database.read() as session:
        found = assistants.get_assistant(session, assistant)
        chosen = session.exec(queue.chosen(session, found, wanted, actor=ACTOR, most=limit)).all()
        shown = entries.entries(session, found, chosen, actor=ACTOR)
    if as_json:
        print_json([one.model_dump(mode="json") for one in shown])
        return
    rows = [
        {"id": one.id, "kind": one.kind.value, "why": one.why, "held by": one.claimed_by, "at": one.created_at}
        for one in shown
    ]
    print_rows(rows, False, empty="Nothing waits.")


@review_app.command("next")
def review_next(
    assistant: AssistantName,
    show: ShowOption = None,
    kind: Kind = None,
    tag: Tag = None,
    order: OrderOption = queue.Order.OLDEST,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """Take the next entry, which nobody else gets meanwhile, and show it."""
    wanted = queue.Wanted(show, kind=kind, tag=tag, order=order, after=after)
    _, database = open_all()
    with database.write() as session:
        found = assistants.get_assistant(session, assistant)
        taken = claims.claim_next(session, found, wanted, actor=ACTOR)
        shown = entries.entry(session, taken, actor=ACTOR) if taken else None
    if as_json:
        print_json(shown.model_dump(mode="json") if shown else None)
    elif shown is None:
        console.print("Nothing waits.")
    else:
        print_fields(_fields(shown), as_json=False)


@review_app.command("release")
def review_release(feedback_id: FeedbackId, as_json: AsJson = False) -> None:
    """Give an entry back, so that others get it."""
    _, database = open_all()
    with database.write() as session:
        claims.release(session, queue.get_feedback(session, feedback_id), actor=ACTOR)
    print_fields({"id": feedback_id, "held by": None}, as_json)


@review_app.command("agreement")
def review_agreement(assistant: AssistantName, as_json: AsJson = False) -> None:
    """How far reviewers agree who decided unseen by each other: Cohen's kappa with its 95 % interval."""
    _, database = open_all()
    with database.read() as session:
        overall, pairs = agreement.agreement(session, assistants.get_assistant(session, assistant))
    rows = [{"reviewers": ["all"], **asdict(overall)}]
    rows += [{"reviewers": list(pair.reviewers), **asdict(pair.agreement)} for pair in pairs]
    print_rows(rows if as_json else [_rounded(row) for row in rows], as_json, empty="")


def approve(
    feedback_id: FeedbackId,
    note: Note = None,
    comment: Comment = None,
    second_opinion: Second = False,
    final: Final = False,
    as_json: AsJson = False,
) -> None:
    """Let it be learned from."""
    said = {"note": note, "comment": comment, "final": final}
    _decide(feedback_id, ReviewDecision.APPROVED, second_opinion, said, as_json)


def edit(
    feedback_id: FeedbackId,
    content: Annotated[str, typer.Argument(help="The right reply.")],
    key_fact: Annotated[list[str] | None, typer.Option(help="What it must contain; may be repeated.")] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="The day or time from which it doesn't hold; else the giver's, if any.")
    ] = None,
    note: Note = None,
    comment: Comment = None,
    second_opinion: Second = False,
    final: Final = False,
    as_json: AsJson = False,
) -> None:
    """Let a correction be learned from, in your words."""
    edited: dict[str, Any] = {"content": content, "key_facts": key_fact or []}
    if expires_at is not None:
        edited["expires_at"] = expires_at
    said = {"note": note, "comment": comment, "final": final, "edited": edited}
    _decide(feedback_id, ReviewDecision.EDITED, second_opinion, said, as_json)


def reject(
    feedback_id: FeedbackId,
    note: Note = None,
    comment: Comment = None,
    second_opinion: Second = False,
    final: Final = False,
    as_json: AsJson = False,
) -> None:
    """Don't learn from it."""
    said = {"note": note, "comment": comment, "final": final}
    _decide(feedback_id, ReviewDecision.REJECTED, second_opinion, said, as_json)


def _decide(
    feedback_id: str, decision: ReviewDecision, second_opinion: bool, said: dict[str, Any], as_json: bool
) -> None:
    _, database = open_all()
    with database.write() as session:
        feedback = queue.get_feedback(session, feedback_id)
        if second_opinion:
            review.ask_second_opinion(session, feedback, actor=ACTOR)
        review.decide(session, feedback, decision, actor=ACTOR, **said)
        told = review.with_conversation(session, feedback, actor=ACTOR)
    print_fields({name: told[name] for name in ("id", "status", "status_reason", "reviews")}, as_json)


def _fields(shown: Entry) -> dict[str, Any]:
    """For people: what one decides by, in the order one reads it."""
    fields: dict[str, Any] = {
        "id": shown.id,
        "why": shown.why,
        "conversation": [f"{turn['role']}: {turn['content']}" for turn in shown.conversation],
        "reply": shown.reply,
        "kind": shown.kind.value,
        "said": shown.value.get("content") or shown.value.get("text") or shown.value,
        "other reply": shown.other_reply,
        "key facts": shown.value.get("key_facts"),
        "holds until": shown.value.get("expires_at"),
        "comment": shown.comment,
        "tags": shown.tags,
        "guidelines": f"v{shown.guidelines.version}: {shown.guidelines.text}",
        "others": [f"{one.by}: {one.decision} {one.note or one.comment or ''}".rstrip() for one in shown.reviews],
        "yours until": shown.claimed_until,
    }
    return {name: value for name, value in fields.items() if value not in (None, [], "")}


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: f"{value:.2f}" if isinstance(value, float) else value for name, value in row.items()}
