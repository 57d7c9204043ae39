"""Every error that Burnish raises on purpose. A message says what was wrong, where, and what to do.

BurnishError
├── InvalidInput           the caller sent something that can't be used          (HTTP 400)
├── NotFound               no such thing, or not visible to this key             (HTTP 404)
├── Unauthenticated        no key, or an unknown or revoked one                  (HTTP 401)
├── Forbidden              the key's role doesn't allow it                       (HTTP 403)
├── Conflict               the world changed underneath; look again, then retry  (HTTP 400: clients retry 409)
├── TooLarge               a file is larger than may be uploaded                 (HTTP 413)
├── AdapterRefused         an adapter's files are unsafe, broken or don't fit
├── ModelMissing           the base model isn't prepared on this machine
├── EngineUnavailable      the engine is down, restarting or draining            (HTTP 503)
├── QueueFull              more requests than the engine or a key's share takes  (HTTP 429)
├── TimedOut               a reply took longer than a request may                (HTTP 504)
├── LeaseLost              a run's lease was taken over: stop, write nothing
└── RunFailed              a training run ended without a result
    ├── RunFailedForGood   and would again: no retry
    ├── RunKilled          from outside: it goes on from its last checkpoint
    ├── OutOfMemory        it goes on with half as many rows at once
    └── DiskFull           it goes on where it stood, once there is room
"""


class BurnishError(Exception):
    """Base of all; `param` names the request field at fault, `code` is a stable word for programs."""

    code = "error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code


class InvalidInput(BurnishError):
    code = "invalid_value"


class NotFound(BurnishError):
    code = "not_found"


class Unauthenticated(BurnishError):
    code = "invalid_api_key"


class Forbidden(BurnishError):
    code = "insufficient_permissions"


class Conflict(BurnishError):
    code = "conflict"


class TooLarge(BurnishError):
    code = "file_too_large"


class AdapterRefused(BurnishError):
    code = "adapter_refused"


class ModelMissing(BurnishError):
    code = "model_missing"


class EngineUnavailable(BurnishError):
    code = "engine_unavailable"


class QueueFull(BurnishError):
    """`retry_after_seconds`: when there will be room, as far as one can tell."""

    code = "queue_full"

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after_seconds: int = 2
    ) -> None:
        super().__init__(message, param=param, code=code)
        self.retry_after_seconds = retry_after_seconds


class TimedOut(BurnishError):
    code = "request_timeout"


class LeaseLost(BurnishError):
    code = "lease_lost"


class RunFailed(BurnishError):
    code = "run_failed"


class RunFailedForGood(RunFailed):
    code = "run_failed_for_good"


class RunKilled(RunFailed):
    code = "run_killed"


class OutOfMemory(RunFailed):
    code = "out_of_memory"


class DiskFull(RunFailed):
    code = "disk_full"
