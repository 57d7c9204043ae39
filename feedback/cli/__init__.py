"""The `burnish` command. One file a group of commands; an error is one clear line and a non-zero exit."""

import sys

from feedback.cli import (
    access,
    cases,
    contributors,
    data,
    erasure,
    guidelines,
    history,
    interchange,
    learning,
    lineage,
    programs,
    recipes,
    review,
    suites,
    talk,
    webhooks,
)
from feedback.cli.app import app, visible
from feedback.complaints import complaint_of
from feedback.processes import keep_files_private

programs.register(app)
talk.register(app)
learning.register(app)
data.register(app)
interchange.register(data.feedback_app)
lineage.register(app)
erasure.register(app)
access.register(app)
guidelines.register(access.assistant_app)
review.register(app, data.feedback_app)
cases.register(app)
contributors.register(app)
recipes.register(app)
suites.register(app)
webhooks.register(app)
history.register(app)


def main() -> None:
    keep_files_private()
    try:
        app()
    except Exception as error:
        if (complaint := complaint_of(error)) is None:
            raise
        print(f"burnish: {visible(complaint)}", file=sys.stderr)
        sys.exit(1)
