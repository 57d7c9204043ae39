"""A datasheet as a page of Markdown, for somebody who has never seen the deployment and has to sign the dataset.

The datasheet itself holds nobody's words; who has the rows at hand gives them along, and the sampled ones are shown.
Leaves out the counting (datasheet.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from feedback.curate.items import IMPORTED
from feedback.curate.sample_rows import SHOWN_CHARACTERS, quoted, shown
from feedback.policies import Policies
from feedback.run_folder import SPLITS, Row
from feedback.states import Consent

_OVER = 2.0
"""From so many times an even share, something is called over-represented."""
_TRAINING = {"sft": "SFT on corrections", "dpo": "DPO on pairs", "kto": "KTO on ratings"}
_NOT_FROZEN = "not frozen"
STAGES = {
    "quarantine": "comes from nobody whom an operator holds back",
    "consent": "may be learned from, by the grants of both sides",
    "age": "still holds, and isn't older than the policy allows",
    "trust": "comes from people who are believed",
    "privacy": "identifiers replaced; drops nothing",
    "quality": "whole, not empty, fit to be taught",
    "conflicts": "not contradicted by somebody more credible",
    "duplicates": "not said before, by whomever",
    "balance": "not too much of one thing",
    "decontaminate": "quotes no evaluation text, and asks no question that is nearly an evaluation's",
    "split": "asks no question that is nearly a held-out one",
    "compile": "made into rows",
}


def as_markdown(sheet: dict[str, Any], rows: Iterable[Row] = (), name: str = "") -> str:
    """`rows`: the sampled ones that are at hand; others may be among them. `name`: the dataset's, such as v3."""
    return "\n".join(
        [
            *_about_it(sheet, name),
            *_cautions(sheet),
            *_about_rows(sheet),
            *_about_samples(sheet, rows),
            *_about_origins(sheet),
            *_about_people(sheet),
            *_about_drops(sheet),
            *_about_shares(sheet),
            *_about_pairs(sheet),
            *_about_rules(sheet),
        ]
    )


def _about_it(sheet: dict[str, Any], name: str) -> list[str]:
    frozen = sheet["sha256"] != _NOT_FROZEN
    content = (
        f"frozen; `burnish dataset verify` holds it against sha256 `{sheet['sha256']}`"
        if frozen
        else "a preview: nothing is written, counts may change"
    )
    facts = {
        "Assistant": f"`{sheet['assistant']}`, with base model `{sheet.get('base_model', 'unknown')}`",
        "Purpose": quoted(sheet["purpose"]) if sheet.get("purpose") else "not stated in the assistant's guidelines",
        "Made": f"{sheet['made_at']}" if "made_at" in sheet else "",
        "Status": content,
        "Training": ", then ".join(_TRAINING[method] for method in sheet["methods"]) or "nothing to train on",
    }
    return [
        f"# Dataset {name} of the assistant `{sheet['assistant']}`".replace("  ", " "),
        "",
        "What people said about replies, curated to train an adapter of the assistant's model and to judge it.",
        "",
        *(f"- {what}: {told}" for what, told in facts.items() if told),
        "",
    ]


def _cautions(sheet: dict[str, Any]) -> list[str]:
    told = [f"- {caution}" for caution in sheet.get("cautions", ())]
    return ["## What to know before using it", "", *told, ""] if told else []


def _about_rows(sheet: dict[str, Any]) -> list[str]:
    total = sum(count for counts in sheet["rows"].values() for count in counts.values())
    lines = [
        "## Rows",
        "",
        "A piece of feedback becomes rows: a correction an SFT row (question and right reply) and a pair (better and "
        "worse reply), a choice a pair, a rating a KTO row (a reply called good or bad). Right, better and good are "
        "somebody's word: no check of truth or safety. A worse or bad reply may hold anything.",
        "",
        "| side | is for | SFT rows | pairs | KTO rows |",
        "|---|---|---|---|---|",
    ]
    stops = "stopping SFT early" if "sft" in sheet["methods"] else "nothing in this training"
    use = {"train": "learning", "dev": f"{stops}; never learned", "gate": "judging the result; never learned"}
    for side, counts in sheet["rows"].items():
        lines.append(f"| {side} | {use[side]} | {counts['sft']} | {counts['dpo']} | {counts['kto']} |")
    lines += [
        "",
        "An identified contributor's side is fixed by a hash of who they are, for all datasets; what names no giver "
        "goes by its question's cluster of near duplicates. A training row is dropped if its question is nearly one of "
        f"dev's or the gate's (similarity of {sheet['policy']['training']['near_duplicate_similarity']:g} or more), or "
        "if it quotes a text that judges.",
    ]
    if (topics := sheet.get("topics_of_gate")) and any(topics.values()):
        lines += [
            "",
            f"Of the gate's rows with key facts, {topics['trained']} ask in other words for a fact that a training row "
            f"teaches; {topics['untrained']} ask for one that none does.",
        ]
    if sheet.get("said"):
        behind = sheet["stood_behind"]
        lines += [
            "",
            f"Given from {sheet['said']['first']} to {sheet['said']['last']} (what an imported file doesn't date, on "
            f"the day of its import). Of {total} rows, "
            f"{behind['rows_of_several_voices']} stand for several pieces of feedback that say the same, and "
            f"{behind['rows_approved_in_review']} were approved by a reviewer.",
        ]
    if sheet["synthetic_rows"]:
        lines += ["", f"{sheet['synthetic_rows']} training rows are synthetic: a template's phrasing of a question."]
    return [*lines, ""]


def _about_samples(sheet: dict[str, Any], rows: Iterable[Row]) -> list[str]:
    by_id = {row.id: row for row in rows}
    lines = ["## Sample rows", ""]
    if not any(sheet["samples"].values()):
        return [*lines, "There are no rows.", ""]
    lines += [
        "The first of each side and kind by id, a hash that tells nothing of the content; of different origins if "
        "there are. "
    ]
    if sheet["sha256"] != _NOT_FROZEN:
        lines[-1] += "All rows are in the run's folder, one per line, under these ids. "
    if by_id:
        lines[-1] += f"Shown as they are, up to {SHOWN_CHARACTERS} characters a text; some may offend."
    for side, sampled in sheet["samples"].items():
        origins = sampled if isinstance(sampled, dict) else dict.fromkeys(sampled)  # of older datasets: ids alone
        for row_id, origin in origins.items():
            told = ", ".join(filter(None, (side, origin and _cell(origin))))
            lines += ["", *(shown(told, by_id[row_id]) if row_id in by_id else [f"`{row_id}` ({told})"])]
    return [*lines, ""]


def _about_origins(sheet: dict[str, Any]) -> list[str]:
    lines = [
        "## Where it comes from",
        "",
        "| origin | pieces received | train rows | dev rows | gate rows | licence |",
        "|---|---|---|---|---|---|",
    ]
    for one in sheet.get("origins", ()):
        counts = " | ".join(str(one["rows"][split]) for split in SPLITS)
        lines.append(f"| {_cell(one['origin'])} | {one['received']} | {counts} | {_cell(_licence(one))} |")
    lines += [
        "",
        f"`{IMPORTED}…` names a file that an operator imported: its prompts and replies were written elsewhere, by "
        "people or models that this deployment doesn't know.",
        "",
    ]
    return lines


def _licence(one: dict[str, Any]) -> str:
    if not one["origin"].startswith(IMPORTED):
        return "the deployment's own terms with its users"
    return one["licence"] or "not stated"


def _about_people(sheet: dict[str, Any]) -> list[str]:
    consent = sheet["consent"]
    silence = "a yes" if consent["policy"] == Consent.OPT_OUT else "a no"
    lines = [
        "## People",
        "",
        "| side | identified contributors | largest one's rows | ten largest ones' rows | rows that name no giver |",
        "|---|---|---|---|---|",
    ]
    for side, people in sheet.get("people", {}).items():
        total = sum(sheet["rows"][side].values())
        shares = [
            f"{people[part]} ({_share(people[part], total)})"
            for part in ("rows_of_largest", "rows_of_ten_largest", "anonymous_rows")
        ]
        lines.append(f"| {side} | {people['contributors']} | {' | '.join(shares)} |")
    lines += [
        "",
        "Identified means by a keyed hash, nothing else is kept. A row names no giver if that person stayed anonymous "
        "or the imported file has no annotator; such rows can't be told apart by person. A row that several gave "
        "counts for the first of them.",
        "",
        f"Consent: {consent.get('granted', 0)} rows by an express grant of both the person who chatted and the person "
        f"who gave the feedback; {consent.get('declared_by_importer', 0)} by the word of the operator who imported "
        f"them; {consent.get('silent', 0)} by silence, which this assistant takes for {silence}. An identified "
        "contributor, a conversation or a single piece can be erased from this dataset; adapters trained "
        "on it are then marked.",
        "",
        _about_identifiers(sheet),
        "",
    ]
    return lines


def _about_identifiers(sheet: dict[str, Any]) -> str:
    policy = sheet["policy"]["privacy"]
    if not policy["replace_identifiers"]:
        return "Identifiers, such as e-mail addresses, aren't replaced: `privacy.replace_identifiers` is off."
    found = ", ".join(f"{count} × {kind}" for kind, count in sheet["identifiers_replaced"].items()) or "none"
    names = "names are looked for by a model, which misses some" if policy["names"] else "people's names stay"
    return f"Identifiers replaced by placeholders, counted in all that passed `trust`: {found}; {names}."


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")


def _about_drops(sheet: dict[str, Any]) -> list[str]:
    lines = [
        "## What was left after each stage",
        "",
        "In pieces of feedback; every one that left has its reason below.",
        "",
        "| stage | left | who passes |",
        "|---|---|---|",
    ]
    stages = STAGES | {"trust": f"{STAGES['trust']}; {sheet.get('vouched_for', 0)} pieces skip this, vouched for"}
    lines += [
        f"| {entry['stage']} | {entry['items_left']} | {stages.get(entry['stage'], 'everything that may teach')} |"
        for entry in sheet["funnel"]
    ]
    lines += [
        "",
        "## What was dropped, and why",
        "",
        "Reasons that end in “still trains” took a correction's pair and left its SFT row.",
        "",
    ]
    lines += [
        f"- {out['items']} × {out['stage']}: {out['reason']}{' (waits for review)' if out['waits_for_review'] else ''}"
        for out in sheet["dropped"]
    ] or ["- nothing"]
    return [*lines, ""]


def _about_shares(sheet: dict[str, Any]) -> list[str]:
    lines = [
        "## Topics, languages, lengths and labels",
        "",
        "In pieces of feedback: on the training side before and after the stage `balance`, in the training rows of "
        "this dataset, and in the gate's. A topic is a cluster of questions, named by its commonest words; `other` are "
        "those that have none in common, and the cap on topics leaves them alone. Language and length are those of the "
        "reply that is taught; `unknown` is too short to tell.",
        "",
    ]
    for name, groups in sheet["balance"].items():
        columns = [when for when in ("before", "after", "trains", "judges") if groups and when in groups[0]]
        total = {when: sum(group[when] for group in groups) for when in columns}
        heads = {"before": "before balance", "after": "after", "trains": "in train rows", "judges": "in gate rows"}
        lines += [
            f"| {name} | {' | '.join(heads[when] for when in columns)} |",
            "|---" * (len(columns) + 1) + "|",
        ]
        for group in groups:
            cells = " | ".join(f"{group[when]} ({_share(group[when], total[when])})" for when in columns)
            lines.append(f"| {group['group']} | {cells} |")
        lines += ["", *_over_represented(name, groups)]
    return lines


def _over_represented(name: str, groups: list[dict[str, Any]]) -> list[str]:
    """What has more than twice an equal share of what trains."""
    if len(groups) < 2:
        return []
    counts = {group["group"]: group.get("trains", group["after"]) for group in groups}
    even = sum(counts.values()) / len(counts)
    over = [group for group, count in counts.items() if count > _OVER * even]
    return [
        f"Over-represented (more than {_OVER:g} times an even share of what trains): {'; '.join(over) or 'none'}.",
        "",
    ]


def _about_pairs(sheet: dict[str, Any]) -> list[str]:
    looks = {side: look for side, look in sheet.get("pairs", {}).items() if look["pairs"]}
    if not looks:
        return []
    lines = [
        "## What better and worse replies differ in",
        "",
        "Training on pairs teaches whatever tells the two sides apart, length and refusing included. Each cell: among "
        "the better, and among the worse. Tokens are estimated means. Refusals are told by their opening words, "
        "offensive language by a word model for English: neither sees harmful advice in polite words.",
        "",
        "| side | pairs | the longer one | tokens | refusals | offensive |",
        "|---|---|---|---|---|---|",
    ]
    for side, look in looks.items():
        mean = [f"{look[f'tokens_{which}'] / look['pairs']:.0f}" for which in ("better", "worse")]
        longer = look["better_is_longer"], look["worse_is_longer"]
        cells = [", ".join(_share(count, look["pairs"]) for count in longer), ", ".join(mean)]
        cells += [f"{look[f'{what}_better']}, {look[f'{what}_worse']}" for what in ("refusals", "offensive")]
        lines.append(f"| {side} | {look['pairs']} | {' | '.join(cells)} |")
    return [*lines, ""]


def _about_rules(sheet: dict[str, Any]) -> list[str]:
    settings = settings_of(sheet)
    changed = [f"`{one.name}`" for one in settings if one.changed]
    lines = ["## Rules", "", rules(sheet), "", "## Settings", ""]
    lines += [f"Other than by default: {', '.join(changed) or 'none'}.", ""]
    rows = [
        f"| {one.name} | {' | '.join(map(_cell, [one.value, one.default if one.changed else 'same', one.meaning]))} |"
        for one in settings
    ]
    return [*lines, "| setting | value | default | what it does |", "|---|---|---|---|", *rows, ""]


def rules(sheet: dict[str, Any]) -> str:
    from feedback.curate.conflicts import CORRECTION_VALUE  # brings numpy, which a page does without

    policy = sheet["policy"]["conflicts"]
    return (
        "Contradictions: of one person's words on one question the latest counts; a correction counts for "
        f"{CORRECTION_VALUE} times as much as praise of the reply it corrects; between people, the side with "
        f"{policy['margin']:g} times the other's trust is believed, else the side whose last word is "
        f"{policy['recency_days']:g} days newer, else neither, and both are dropped. What anonymous "
        "people say counts once, and little, however many they are. A reviewer's approval, an operator's own word and "
        "what an operator imported outweigh any crowd."
    )


@dataclass(frozen=True)
class Setting:
    name: str
    value: str
    default: str
    meaning: str

    @property
    def changed(self) -> bool:
        return self.value != self.default


def settings_of(sheet: dict[str, Any]) -> list[Setting]:
    """Those that held; one that is no setting any more has its value for a default."""
    found = []
    for section, settings in sheet["policy"].items():
        standard = getattr(Policies(), section)
        fields = type(standard).model_fields
        for name, value in settings.items():
            known = name in fields
            default = getattr(standard, name) if known else value
            meaning = fields[name].description or "" if known else ""
            found.append(Setting(f"{section}.{name}", _value(value), _value(default), meaning))
    return found


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else "–"
