"""The `burnish` command. One file a group of commands; an error is one clear line and a non-zero exit."""

import sys

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from feedback.cli import access, data, learning, programs, talk
from feedback.cli.app import app
from feedback.errors import BurnishError

programs.register(app)
talk.register(app)
learning.register(app)
data.register(app)
access.register(app)


def main() -> None:
    try:
        app()
    except BurnishError as error:
        sys.exit(_complain(error.message))
    except ValidationError as error:
        first = error.errors()[0]
        where = "_".join(str(part) for part in first["loc"])
        sys.exit(_complain(f"Setting BURNISH_{where.upper()}: {first['msg']}."))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        sys.exit(_complain(f"The database says: {reason}. Is it there and migrated? `burnish doctor` tells."))
    except ImportError as error:
        sys.exit(_complain(f"{error}: install it, or choose a database or engine that does without it."))
    except OSError as error:
        sys.exit(_complain(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")))


def _complain(message: str) -> int:
    print(f"burnish: {message}", file=sys.stderr)
    return 1
