"""A job's files as a dataset: what freezing takes, read from the files, and the stages that it goes through.

    example → lessons → items → identifiers replaced, too long ones and what would leak left out → rows

It is an operator's own word: nobody's consent, trust or age is asked, and neither taste nor balance leaves anything
out. All lessons of nearly the same opening question are on one side, and are one voice to the verdict: a file has one
author, so that its bounds are taken over questions. With a validation file its questions judge or guide, by hash, and
all training examples train; without one the policy's shares of the questions do. Leaves out what a line may be
(examples.py) and the freezing itself (datasets.py).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from sqlmodel import Session

from feedback import assistants, files
from feedback.contributors import side_of
from feedback.curate.balance import Shares
from feedback.curate.compile import methods_for, plan_rows
from feedback.curate.datasheet import About
from feedback.curate.decontaminate import decontaminate
from feedback.curate.evaluations import Evaluations
from feedback.curate.items import IMPORTED, Dropped, Exchange, Item, drop_where, normalise
from feedback.curate.looks import Looks, look_at
from feedback.curate.passage import Passage, Progress
from feedback.curate.pipeline import Curated
from feedback.curate.portrait import origin, portray
from feedback.curate.privacy import privacy
from feedback.curate.similarity import Questions, leaders, signatures
from feedback.curate.split import cluster_names, split
from feedback.curate.topics import ALL
from feedback.curation_policies import QualityPolicy
from feedback.datasets import Material, about_now
from feedback.errors import InvalidInput
from feedback.fine_tuning import files as uploads
from feedback.fine_tuning.examples import Example, Lesson, Method, read
from feedback.fine_tuning.models import FineTuningJob, UploadedFile
from feedback.models import Assistant, Guidelines
from feedback.policies import TrainingPolicy
from feedback.row_hashes import Salts
from feedback.states import FeedbackKind, Side


@dataclass(frozen=True)
class JobData:
    """What a job learns from: read in a transaction, and then without one."""

    method: Method
    training: UploadedFile
    validation: UploadedFile | None
    guidelines: Guidelines
    about: About

    @classmethod
    def of(cls, session: Session, assistant: Assistant, job: FineTuningJob) -> "JobData":
        guidelines = assistants.current_guidelines(session, assistant)
        about = about_now(assistant, guidelines)
        training = _file(session, job.training_file)
        validation = None if job.validation_file is None else _file(session, job.validation_file)
        return cls(cast(Method, job.method), training, validation, guidelines, about)

    def material(self, folder: Path) -> Material:
        """`folder`: where the files lie. Raises InvalidInput where one isn't what was uploaded."""
        policy = self.about.policies.training
        sources = [(self.training, _read(folder, self.training, self.method))]
        if self.validation is not None:
            sources.append((self.validation, _read(folder, self.validation, self.method)))
        openings = [example.lessons[0].history for _, some in sources for example in some]
        voices = iter(_voices([_question(history) for history in openings], policy.near_duplicate_similarity))
        items: list[Item] = []
        salts: list[tuple[int, str]] = []
        conversation = 0
        for file, examples in sources:
            for example in examples:
                conversation, voice = conversation + 1, next(voices)
                side = _side(voice, policy, validates=file is self.validation, validated=self.validation is not None)
                for place, lesson in enumerate(example.lessons):
                    number = len(items) + 1
                    items.append(_item(number, conversation, lesson, file, voice, side))
                    salts.append((number, _salt(file, example.line, place)))
        return Material(items, Salts(salts), self.guidelines, self.about)


def curate_examples(
    material: Material, evaluations: Iterable[str] = (), progress: Progress = lambda stage, left: None
) -> Curated:
    """Reads like pipeline.curate, with what there is left to do."""
    policies, kept = material.about.policies, material.items
    near = policies.training.near_duplicate_similarity
    passage = Passage(progress)
    passed = passage.passed
    kept = passed("received", (kept, []))
    received = Counter(map(origin, kept))
    looks = look_at(kept, near=near, evaluations=Evaluations.of(evaluations), names=policies.privacy.names)
    kept, identifiers = privacy(kept, looks, policies.privacy)
    kept = passed("privacy", (kept, []))
    kept = passed("quality", _fitting(kept, looks, policies.quality))
    before = Shares.count(kept, looks, _everything)
    kept = passed("decontaminate", decontaminate(kept, looks, near))
    kept, follow_ups = _without_taught_follow_ups(kept, looks, near)
    passage.dropped.add(follow_ups)
    kept = passed("split", split(kept, looks, near))
    names = cluster_names(looks, {looks.asked[item.exchange.id].question for item in kept})
    all_of_them = policies.training.model_copy(
        update={
            "max_preference_pairs": len(kept),
            "min_preference_pairs": 1,
            "methods": ["sft", "dpo"],
        }
    )
    rows, _ = plan_rows(kept, all_of_them, lambda exchange: names[looks.asked[exchange.id].question])
    portrait = portray(
        received, received.total(), before, before, rows, looks, _everything, policies.quality.max_toxicity
    )
    return Curated(rows, methods_for(rows, all_of_them), passage.dropped, passage.funnel, identifiers, portrait)


def _everything(item: Item) -> str:
    """No topics: their names would be words of the files, and outlive them in the datasheet."""
    return ALL


def _fitting(items: list[Item], looks: Looks, policy: QualityPolicy) -> tuple[list[Item], list[Dropped]]:
    def why(item: Item) -> str | None:
        too_long = looks.taught(item).tokens > policy.max_tokens
        return f"longer than {policy.max_tokens} tokens" if too_long else None

    return drop_where(items, "quality", why)


def _without_taught_follow_ups(items: list[Item], looks: Looks, near: float) -> tuple[list[Item], list[Dropped]]:
    """What is asked in the middle of a conversation ("Sure?") is asked in others, too: it judges where training doesn't
    have it, and takes nothing from training."""
    later = [item for item in items if item.side != Side.TRAIN and _is_follow_up(item)]
    taught = {row for item in items if item.side == Side.TRAIN for row in looks.questions_of(item)}
    close = looks.questions.near_any({row for item in later for row in looks.questions_of(item)}, taught, near)

    def why(item: Item) -> str | None:
        known = item.side != Side.TRAIN and _is_follow_up(item) and not close.isdisjoint(looks.questions_of(item))
        return "a later turn that is nearly asked in training, too, so it can't judge" if known else None

    return drop_where(items, "split", why)


def _is_follow_up(item: Item) -> bool:
    return any(role == "assistant" for role, _ in item.exchange.history)


def _item(number: int, conversation: int, lesson: Lesson, file: UploadedFile, voice: str, side: Side) -> Item:
    exchange = partial(Exchange, conversation=conversation, history=lesson.history, store=True)
    item = Item(
        id=number,
        kind=FeedbackKind.CORRECTION,
        exchange=exchange(number, reply=""),
        created_at=file.created_at.timestamp(),
        contributor=voice,
        side=side,
        training=True,
        source=f"{IMPORTED}{file.public_id}, sha256 {file.sha256}",
    )
    if lesson.rejected is None:
        item.correction = lesson.reply
    else:
        item.kind = FeedbackKind.PREFERENCE
        item.exchange, item.rejected = exchange(number, reply=lesson.reply), exchange(-number, reply=lesson.rejected)
    return item


def _voices(questions: list[str], near: float) -> list[str]:
    """One name for all questions that are nearly the same.

    >>> one, other, same = _voices(["How big is the tank?", "Do you ship?", "how big is the tank!"], 0.8)
    >>> one == same, one == other
    (True, False)
    """
    distinct = list(dict.fromkeys(questions))
    pairs = Questions(distinct, signatures(distinct)).near_pairs(near)
    names = {
        question: "example-" + hashlib.sha256(normalise(distinct[leader]).encode()).hexdigest()[:16]
        for question, leader in zip(distinct, leaders(pairs, len(distinct)).tolist(), strict=True)
    }
    return [names[question] for question in questions]


def _side(voice: str, policy: TrainingPolicy, *, validates: bool, validated: bool) -> Side:
    """`validated`: there is a validation file, and so nothing of the training file is held out."""
    shares = {"gate_fraction": policy.gate_fraction, "dev_fraction": policy.dev_fraction, "sealed_fraction": 0.0}
    if validated and not validates:
        return Side.TRAIN
    if validates:  # what guides, and so is chosen by, can't judge: it judges and guides in the policy's proportion
        whole = policy.gate_fraction + policy.dev_fraction
        shares |= {"gate_fraction": policy.gate_fraction / whole, "dev_fraction": policy.dev_fraction / whole}
    side = side_of(voice, policy.model_copy(update=shares))
    return Side.GATE if validates and side == Side.TRAIN else side  # shares that add up to a hair less than 1


def _question(history: Iterable[tuple[str, str]]) -> str:
    return "\n".join(content for role, content in history if role != "system")


def _salt(file: UploadedFile, line: int, place: int) -> str:
    """The same for the same file, so that it gives the same dataset again; gone with the file."""
    return hashlib.sha256(f"{file.salt}:{line}:{place}".encode()).hexdigest()[:32]


def _read(folder: Path, file: UploadedFile, method: Method) -> list[Example]:
    path = folder / file.public_id
    if not path.is_file():
        raise InvalidInput(f"{path} isn't here: service and worker need one data folder.")
    if files.file_sha256(path) != file.sha256:
        raise InvalidInput(f"{path} isn't what was uploaded: its sha256 is another one. Upload the file again.")
    return list(_good(read(path, method), file))


def _good(found: Iterable[object], file: UploadedFile) -> Iterator[Example]:
    for one in found:
        if not isinstance(one, Example):
            raise InvalidInput(f"{file.public_id} has a line that can't be learned from.")
        yield one


def _file(session: Session, file_id: str) -> UploadedFile:
    file = uploads.find(session, file_id)
    if file is None:
        raise InvalidInput(f"{file_id} was deleted.")
    return file
