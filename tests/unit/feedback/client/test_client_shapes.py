"""The client's models and words are the service's: what it reads is told, what it may say is taken."""

from enum import StrEnum
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel

from feedback import (
    changelog,
    evaluations,
    lineage_nodes,
    policies,
    progress,
    release_report,
    run_report,
    version_report,
)
from feedback import guidelines as domain_guidelines
from feedback.client import assistants, cases, chat, erasures, giving, guidelines, lineage, receipts, review, runs
from feedback.client import comparisons as blind
from feedback.client import evaluations as judged
from feedback.client import feedback as said
from feedback.client import versions as released
from feedback.client.calls import Told
from feedback.collect import comparisons, reports
from feedback.review import case_files, entries, queue
from feedback.states import CaseOutcome, CaseStatus, ReviewDecision
from service.api import assistants as api_assistants
from service.api import cases as api_cases
from service.api import chat_request
from service.api import erasures as api_erasures
from service.api import feedback as api_feedback
from service.api import guidelines as api_guidelines
from service.api import review as api_review

LINEAGE = [
    name for name in dir(lineage) if name != "Tree" and name in dir(lineage_nodes) and name[-4:] in ("Node", "Tree")
]
ALIKE: list[tuple[type[Told], type[BaseModel]]] = [
    (assistants.Assistant, api_assistants.AssistantRead),
    (assistants.Change, changelog.Change),
    (cases.Case, case_files.CaseRead),
    (cases.Report, case_files.ReportShown),
    (erasures.Consequences, api_erasures.ConsequencesRead),
    (erasures.Erased, api_erasures.ErasureDone),
    (erasures.Erasure, api_erasures.ErasureRead),
    (guidelines.Guidelines, api_guidelines.GuidelinesRead),
    (guidelines.GuidelinesDraft, domain_guidelines.Draft),
    (judged.Evaluation, evaluations.Judged),
    (judged.Measure, evaluations.JudgedMeasure),
    (receipts.Accepted, api_feedback.FeedbackAccepted),
    (receipts.Fate, api_feedback.ReceiptRead),
    (receipts.Withdrawal, api_feedback.WithdrawalRead),
    (released.Release, release_report.Moved),
    (released.Trial, release_report.TrialReport),
    (released.Version, version_report.VersionReport),
    (review.Agreement, api_review.AgreementRead),
    (review.Agreements, api_review.AgreementsRead),
    (review.CaseShown, entries.CaseShown),
    (review.Claim, api_review.ClaimRead),
    (review.Entry, entries.Entry),
    (review.GuidelinesShown, entries.GuidelinesShown),
    (review.Next, api_review.NextRead),
    (review.Pair, api_review.PairRead),
    (review.ReviewShown, entries.ReviewShown),
    (runs.Progress, progress.Progress),
    (runs.Run, run_report.RunReport),
    (runs.RunDetails, run_report.RunDetails),
    (said.FeedbackRow, api_feedback.FeedbackRead),
    (said.Form, api_feedback.FormRead),
    (said.Question, policies.SurveyQuestion),
    *((getattr(lineage, name), getattr(lineage_nodes, name)) for name in LINEAGE),
]
BUILT_FROM_CHATS = {chat.Completion, chat.Reply, chat.Usage, blind.Comparison}


@pytest.mark.parametrize(("ours", "theirs"), ALIKE, ids=lambda one: one.__name__)
def test_the_service_tells_what_the_client_reads(ours: type[Told], theirs: type[BaseModel]) -> None:
    assert ours.model_fields.keys() <= theirs.model_fields.keys()


def test_every_model_is_held_against_the_services() -> None:
    waiting, found = [Told], set[type]()
    while waiting:
        below = [one for one in waiting.pop().__subclasses__() if one.__module__.startswith("feedback.client.")]
        waiting += below
        found |= {one for one in below if not one.__name__.startswith("Page")}
    assert found == {ours for ours, _ in ALIKE} | BUILT_FROM_CHATS


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (review.Word, ReviewDecision),
        (cases.Status, CaseStatus),
        (cases.Outcome, CaseOutcome),
        (said.Category, reports.CATEGORIES),
        (blind.Choice, get_args(comparisons.Choice)),
        (get_type_hints(review.Queue)["show"], queue.Show),
        (get_type_hints(review.Queue)["order"], queue.Order),
    ],
)
def test_words_that_may_be_said_are_the_services(ours: Any, theirs: type[StrEnum] | tuple[str, ...]) -> None:
    assert set(get_args(ours)) == set(theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (get_type_hints(chat.ChatOptions).keys() - {"conversation_id"}, chat_request.ChatRequest),
        (get_type_hints(giving.Aside).keys() - {"idempotency_key"}, api_feedback.Aside),
        (get_type_hints(review.Queue).keys(), api_review.QueueWanted),
        (get_type_hints(review.Decision).keys(), api_review.Decided),
        ({"status", "outcome", "answer", "category", "note", "take_over"}, api_cases.CaseChange),
    ],
)
def test_fields_that_may_be_sent_are_the_services(ours: set[str], theirs: type[BaseModel]) -> None:
    assert ours <= theirs.model_fields.keys()
