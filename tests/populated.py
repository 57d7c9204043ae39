"""A deployment in which something stands on every page: people talked and said everything that can be said, reviewers
decided, a run was trained (by pretence) and judged, its version is on trial. What they wrote is the caller's choice."""

from collections.abc import Callable
from dataclasses import dataclass

from burnish_server import Deployment
from pretended_training import Works
from sqlmodel import select

from feedback import assistants, cases, guidelines, keys, own_conversations, releases, review
from feedback.erasure import erase
from feedback.erasure.subjects import Named, resolve
from feedback.models import AdapterVersion, ReportCase
from feedback.states import CaseOutcome, ReviewDecision, Role
from feedback.suites import registry
from feedback.testing import SECRET, House
from feedback.webhooks import hooks

Words = Callable[[str], str]
"""What somebody writes, given what it would be about."""


@dataclass(frozen=True)
class Populated:
    name: str
    run_id: str
    version: str
    feedback_id: str
    case_id: str
    receipt: str
    contributor: str


def populate(made: Deployment, words: Words) -> Populated:
    house = House(made.settings, made.database, "support")
    _decide_what_it_is_for(made, house, words)
    works = Works(house)
    feedback_ids = [_say_everything(house, words, person) for person in range(6)]
    with made.database.write() as session:
        found = review.get_feedback(session, feedback_ids[0][0])
        review.ask_second_opinion(session, found, actor="key:reviewer#9")
        note = words("A note to whoever gave it.")
        review.decide(
            session, found, ReviewDecision.REJECTED, actor="key:reviewer#9", note=note, comment=words("A doubt.")
        )
        case = session.exec(select(ReportCase).order_by(ReportCase.id)).first()
        assert case is not None
        cases.add_note(session, case, words("The team was asked."), actor="key:reviewer#9")
        done = session.exec(select(ReportCase).order_by(ReportCase.id.desc())).first()  # type: ignore[attr-defined]
        assert done is not None
        cases.resolve(session, done, CaseOutcome.UPHELD, answer=words("You are right."), actor="key:reviewer#9")
    version = works.learn()
    _put_on_trial(house, words, version)
    return Populated(
        house.name,
        version.run_id or "",
        f"support@{version.number}",
        feedback_ids[1][0],
        case.public_id,
        feedback_ids[1][1],
        found.contributor_id or "",
    )


def _decide_what_it_is_for(made: Deployment, house: House, words: Words) -> None:
    with made.database.write() as session:
        assistant = assistants.get_assistant(session, house.name)
        said = {
            "purpose": words("Answers questions about lighthouses."),
            "tone": words("Short and warm."),
            "boundaries": [words("Never guesses a number.")],
            "sensitive_topics": [words("Storms: sends people indoors.")],
            "disclaimer": words("Not for navigation."),
        }
        guidelines.revise(session, assistant, guidelines.checked(said), actor="key:operator#1")
        guidelines.revise(session, assistant, guidelines.checked({**said, "tone": words("Warm.")}), actor="cli")
        survey = [
            {"id": "csat", "text": words("How did it go?"), "kind": "csat"},
            {"id": "which", "text": "Which?", "kind": "choice", "options": [words("This")[:100], "That"]},
        ]
        changes = {"collect": {"survey": survey, "survey_after_replies": 2}}
        assistants.set_policies(session, assistant, changes, actor="cli")
        keys.create(session, words("an app"), Role.FEEDBACK, [house.name], actor="cli")
        keys.create(session, words("a person")[:100], Role.REVIEWER, actor="cli")
        hooks.add(session, assistant, "https://hooks.example/burnish", ["release."], actor="cli")
        golden = b'{"id": "1", "messages": [{"role": "user", "content": "How tall is it?"}], "must": ["330 m"]}\n'
        registry.add(session, assistant, "towers", golden, licence=words("CC0")[:100], actor="cli")


def _say_everything(house: House, words: Words, person: int) -> list[str]:
    """A conversation, and feedback of every kind on it; returns one piece's id and receipt."""
    user, asked = f"person {person}", words(f"How tall is lighthouse {person}?")
    first = house.reply(
        asked, [words("It is tall."), words("It is 12 m tall.")], user=user, external_id=f"talk {person}"
    )
    history = [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": words("It is tall.")},
        {"role": "user", "content": words("How old is it?")},
    ]
    house.reply(history, words("It was built in 1870."), user=user, external_id=f"talk {person}")
    house.say(first, "rating", {"stars": 2}, tags=(words("too long")[:50],), comment=words("Hm."))
    house.say(first, "comment", words("I looked it up."))
    house.say(first, "report", "wrong", comment=words("That is another one."))
    house.say(first, "survey", {"csat": 4})
    house.say(first, "preference", {"rejected": {"choice": 1}}, comment=words("Shorter."))
    fact = words("12 m")[:60].strip()
    kept = house.say(
        first, "correction", {"content": f"It is {fact} , no less. {words('Truly.')}", "key_facts": [fact]}
    )
    with house.database.write() as session:
        someone = own_conversations.Person(SECRET, house.caller, user)
        own_conversations.rename(session, someone, f"talk {person}", " ".join(words("Heights").split())[:100])
    return [kept.id, kept.receipt]


def _put_on_trial(house: House, words: Words, version: AdapterVersion) -> None:
    with house.database.write() as session:
        assistant = assistants.get_assistant(session, house.name)
        assistants.set_policies(session, assistant, {"release": {"canary_percents": [20]}}, actor="cli")
        reason = words("It knows the heights now.")[:500]
        releases.promote(session, assistant, version, actor="key:operator#1", reason=reason, force=True)
    with house.database.read() as session:
        subject = resolve(session, SECRET, assistant, Named(conversation="talk 5"))
    erase.erase(house.database, assistant, subject, actor="key:operator#1")
