"""Every setting, of a deployment and of an assistant, is told in a sentence with its unit, and something reads it."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from feedback import config, curation_policies, hyperparameters, policies
from feedback.config import Settings
from feedback.curation_policies import Policy

ROOT = Path(__file__).parents[1]
MODULES = (config, curation_policies, hyperparameters, policies)
THEIR_FILES = {Path(inspect.getfile(module)) for module in MODULES}
HOLDERS = re.compile(r"_?(policy|policies|settings|chosen|question|hyperparameters|knobs|\w*Policy)")
"""What a variable that holds settings is called; or by the section's name."""
UNITS = re.compile(
    r"second|day|hour|token|row|pair|epoch|pass|nat|MiB|character|share|part|tenth|rate|ratio|rank|scal|factor|weight|"
    r"strength|similar|cosine|chance|voice|contributor|people|vote|reliability|feedback|correction|choice|rating|"
    r"repl|text|phrasing|copies|question|resample|port|adapter|trial|temperature|0 to 1|trust|decay|times|rise|gain|"
    r"batch|run|attempt|worker|version|file|megabyte|byte|request|step|device|dropout|zeroes|process|GPU|restart|retr",
    re.IGNORECASE,
)
"""What a number counts or measures."""


def models() -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = [Settings]
    waiting: list[type[Policy]] = [Policy]
    while waiting:
        below = waiting.pop().__subclasses__()
        waiting += below
        found += [model for model in below if model is not policies.Policies]
    return found


FIELDS = [
    pytest.param(model, name, field, id=f"{model.__name__}.{name}")
    for model in models()
    for name, field in model.model_fields.items()
]


def section_of(model: type[BaseModel]) -> set[str]:
    return {name for name, field in policies.Policies.model_fields.items() if field.annotation is model}


def readers() -> dict[str, set[str]]:
    """What is read outside the settings' own modules: attribute → the names of what it is read from."""
    read: dict[str, set[str]] = {}
    for package in ("feedback", "service", "trainer", "migrations"):
        for path in (ROOT / package).rglob("*.py"):
            if path in THEIR_FILES:
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    holder = node.value
                    if isinstance(holder, ast.Call):
                        holder = holder.func
                    name = getattr(holder, "attr", getattr(holder, "id", ""))
                    read.setdefault(node.attr, set()).add(name)
    return read


READ = readers()


@pytest.mark.parametrize(("model", "name", "field"), FIELDS)
def test_a_setting_is_told_in_a_sentence_with_its_unit(model: type[BaseModel], name: str, field: FieldInfo) -> None:
    told = field.description
    assert told, f"{model.__name__}.{name} has no description"
    assert told[0].isupper() or not told[0].isalpha(), told
    assert told.endswith("."), told
    if _is_number(field.annotation):
        assert UNITS.search(f"{name} {told}"), f"{name}: what does the number count or measure? {told}"


@pytest.mark.parametrize(("model", "name", "field"), FIELDS)
def test_something_reads_it(model: type[BaseModel], name: str, field: FieldInfo) -> None:
    """Else it promises what doesn't happen. A property of the settings counts if that is read."""
    names = {name, *_properties_that_read(model, name)}
    sections = section_of(model)
    holders = {holder for one in names for holder in READ.get(one, set())}
    assert any(HOLDERS.fullmatch(holder) or holder in sections for holder in holders), (
        f"nothing outside {', '.join(sorted(path.name for path in THEIR_FILES))} reads {model.__name__}.{name}"
    )


def test_the_rule_finds_a_setting_that_nothing_reads() -> None:
    class Idle(Policy):
        sleeps_all_day: bool = True

    with pytest.raises(AssertionError, match=r"nothing outside .* reads Idle.sleeps_all_day"):
        test_something_reads_it(Idle, "sleeps_all_day", Idle.model_fields["sleeps_all_day"])
    del Idle


def _properties_that_read(model: type[BaseModel], name: str) -> set[str]:
    tree = ast.parse(inspect.getsource(inspect.getmodule(model) or model))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(inner, ast.Attribute) and inner.attr == name for inner in ast.walk(node))
        and not node.name.startswith("_")
    }


def _is_number(annotation: Any) -> bool:
    words = re.findall(r"\w+", str(annotation))
    return annotation in (int, float) or ("Literal" not in words and bool({"int", "float"} & set(words)))
