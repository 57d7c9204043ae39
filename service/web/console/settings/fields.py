"""A section of the policies ↔ a form: which control a setting gets, what is in it, and what somebody typed into it.

All of it comes from the models' types, defaults and descriptions, so that a new setting has its place at once. Leaves
out whether a value may be (feedback.assistants decides that).
"""

import json
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from feedback.policies import Policies
from service.web.page import Form

TITLES = {
    "collect": "Asking for feedback",
    "public": "What everybody may see",
    "training": "When and on what to train",
    "age": "How long words hold",
    "trust": "Whom to believe",
    "privacy": "Personal data",
    "quality": "What is fit to teach",
    "conflicts": "Contradictions",
    "duplicates": "Saying the same",
    "balance": "How much of what",
    "augment": "More phrasings",
    "hyperparameters": "How a run trains",
    "verdict": "What counts as better",
    "release": "How it goes live",
    "review": "How people review",
}
"""The sections that have a form; retention has a tab of its own."""
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
_SIGNS = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), Lt: ("<", "lt")}


@dataclass(frozen=True)
class Setting:
    name: str
    kind: Literal["tick", "choice", "choices", "number", "words", "lines", "numbers", "json"]
    nullable: bool
    options: tuple[str, ...]
    bounds: str
    """Such as `≥ 0, ≤ 0.5`."""
    description: str
    default: Any


@dataclass(frozen=True)
class Row:
    """A setting as the form shows it."""

    setting: Setting
    text: str
    chosen: frozenset[str]
    """Of options; of a tick, "on"."""
    present: Any
    wrong: str

    @property
    def changed(self) -> bool:
        """From its default."""
        return bool(self.present != self.setting.default)


@dataclass(frozen=True)
class Typed:
    values: dict[str, Any]
    wrong: dict[str, str]
    """What can't be read, by setting."""


def settings_of(section: str) -> list[Setting]:
    """
    >>> [(one.name, one.kind, one.bounds) for one in settings_of("review")]
    [('second_opinion_fraction', 'number', '≥ 0, ≤ 1'), ('claim_seconds', 'number', '> 0, ≤ 86400')]
    """
    model = Policies.model_fields[section].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return [_setting(name, field) for name, field in model.model_fields.items()]


def about(section: str) -> str:
    """What the section is about, in its model's words."""
    return (getattr(Policies.model_fields[section].annotation, "__doc__", None) or "").partition("\n")[0]


def rows(section: str, present: Mapping[str, Any], wrong: Mapping[str, str] | None = None) -> list[Row]:
    """As things are."""
    made = []
    for setting in settings_of(section):
        value = present[setting.name]
        chosen = {"on"} if value is True else set(value) if setting.kind == "choices" else {str(value)}
        text = _text(setting, value)
        made.append(Row(setting, text, frozenset(chosen), value, (wrong or {}).get(setting.name, "")))
    return made


def typed_rows(section: str, present: Mapping[str, Any], form: Form, wrong: Mapping[str, str]) -> list[Row]:
    """As somebody typed them."""
    return [
        Row(one, form.text(one.name), frozenset(form.all(one.name)), present[one.name], wrong.get(one.name, ""))
        for one in settings_of(section)
    ]


def read(section: str, form: Form) -> Typed:
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for setting in settings_of(section):
        try:
            values[setting.name] = _read(setting, form)
        except ValueError as error:
            wrong[setting.name] = str(error)
    return Typed(values, wrong)


def differing(section: str, seen: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody changed of what they were shown; the order of ticks says nothing.

    >>> seen = {"min_ratings": 16, "methods": ["dpo", "sft"]}
    >>> differing("training", seen, {"min_ratings": 9, "methods": ["sft", "dpo"]})
    {'min_ratings': 9}
    """
    changed = {}
    for setting in settings_of(section):
        if setting.name in seen and setting.name in typed:
            was, value = seen[setting.name], typed[setting.name]
            alike = set(was) == set(value) if setting.kind == "choices" else was == value
            if not alike:
                changed[setting.name] = value
    return changed


def said(value: Any) -> str:
    """A setting's value for people to read.

    >>> [said(value) for value in (None, True, 86400.0, [], ["sft", "dpo"], "manual")]
    ['null', 'true', '86400', '[]', 'sft, dpo', 'manual']
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and not any(isinstance(one, dict | list) for one in value):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False)


def _setting(name: str, field: FieldInfo) -> Setting:
    annotation, nullable = _without_none(field.annotation)
    kind, options = _kind(annotation)
    bounds = ", ".join(
        f"{sign} {getattr(limit, attribute)}"
        for limit in field.metadata
        for kind_of_limit, (sign, attribute) in _SIGNS.items()
        if isinstance(limit, kind_of_limit)
    )
    default = field.get_default(call_default_factory=True)
    return Setting(name, kind, nullable, options, bounds, field.description or "", default)


def _kind(annotation: Any) -> tuple[Any, tuple[str, ...]]:
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return "choice", get_args(annotation)
    if get_origin(annotation) is list:
        kind, options = _kind(get_args(annotation)[0])
        return {"choice": "choices", "number": "numbers", "words": "lines"}.get(kind, "json"), options
    if annotation is bool:
        return "tick", ()
    if annotation in (int, float):
        return "number", ()
    return ("words" if annotation is str else "json"), ()


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    (kept,) = (one for one in get_args(annotation) if one is not type(None))
    return kept, True


def _text(setting: Setting, value: Any) -> str:
    if value is None:
        return ""
    match setting.kind:
        case "lines":
            return "\n".join(value)
        case "numbers":
            return ", ".join(map(str, value))
        case "json":
            return json.dumps(value, ensure_ascii=False, indent=2) if value else ""
        case "number":
            return said(value)
    return str(value)


def _read(setting: Setting, form: Form) -> Any:
    """Raises ValueError in words."""
    text = form.text(setting.name)
    match setting.kind:
        case "tick":
            return form.ticked(setting.name)
        case "choices":
            return [one for one in setting.options if one in form.all(setting.name)]
        case "lines":
            return [line.strip() for line in text.split("\n") if line.strip()]
        case "numbers":
            return [_number(part) for part in re.split(r"[,;\s]+", text) if part]
        case "json":
            return _json(text) if text.strip() else []
    if not text.strip():
        if setting.nullable:
            return None
        if setting.kind == "number":
            raise ValueError("A number is missing.")
    return _number(text.strip()) if setting.kind == "number" else text.strip()


def _number(text: str) -> int | float:
    """
    >>> _number("12"), _number("7e-4")
    (12, 0.0007)
    """
    try:
        return int(text) if _WHOLE.fullmatch(text) else float(text)
    except ValueError:
        raise ValueError(f"'{text[:40]}' is no number.") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"This isn't JSON: {error}.") from None
