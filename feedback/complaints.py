"""What a program says, in one line, before it ends because of something an operator can mend."""

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from feedback.errors import BurnishError


def complaint_of(error: Exception) -> str | None:
    """The line for stderr; None for an error that only a traceback explains."""
    match error:
        case BurnishError():
            return error.message
        case ValidationError(title="Settings"):
            first = error.errors()[0]
            return f"Setting BURNISH_{'_'.join(map(str, first['loc'])).upper()}: {first['msg']}."
        case SQLAlchemyError():
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            return f"The database says: {reason}. Check BURNISH_DATABASE_URL; `burnish doctor` tells more."
        case ImportError():
            return f"{error}: install it, or choose a database or engine that does without it."
        case OSError():
            return f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
    return None
