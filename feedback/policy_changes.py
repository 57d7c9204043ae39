"""`section.name=value`, as people write changes of policies: on the command line, or in a page."""

import json

from feedback.errors import InvalidInput
from feedback.policies import Changes


def parse_changes(assignments: list[str]) -> Changes:
    """["release.promotion=auto"] → {"release": {"promotion": "auto"}}"""
    changes: Changes = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        section, dot, name = path.partition(".")
        if not equals or not dot:
            raise InvalidInput(f"'{assignment}' is no policy: write section.name=value, e.g. release.promotion=auto.")
        try:
            value: object = json.loads(text)
        except ValueError:
            value = text
        changes.setdefault(section, {})[name] = value
    return changes
