"""The deployment's settings: read from the environment once, in a `__main__`, then passed down as an argument.

What operators decide per assistant is in policies.py. `burnish doctor --settings` and the README's table are
generated from the descriptions below.
"""

import secrets
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from feedback.database import Database
from feedback.files import write_bytes

BUNDLED_MODEL = "smollm2-135m-instruct"


class Settings(BaseSettings):
    """One field a setting; the variable is its name in capitals behind `BURNISH_`."""

    model_config = SettingsConfigDict(env_prefix="BURNISH_", frozen=True)

    data_folder: Path = Field(Path(".burnish"), description="Where database, adapters, runs and the secret live.")
    models_folder: Path | None = Field(
        None, description="Where prepared base models live; `models/` in the data folder if unset."
    )
    database_url: str = Field(
        "", description="`postgresql://user@host/name`; an SQLite file in the data folder if empty."
    )
    secret: str = Field(
        "", description="Key of the contributors' HMAC; made once in the data folder if empty.", repr=False
    )
    host: str = Field("127.0.0.1", description="Address the service listens on.")
    port: int = Field(8400, ge=1, le=65535, description="Port the service listens on.")
    engine: Literal["local", "echo"] = Field("local", description="What writes replies; `echo` needs no model.")
    base_model: str = Field(BUNDLED_MODEL, description="Bundled name, folder or hub id of the base model.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where models run; auto: CUDA if there is one.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Number format for serving; auto: bfloat16 where the hardware has it."
    )
    max_batch: int = Field(
        32,
        ge=1,
        le=256,
        description="Most replies written at once; an eighth more for keys that have none among them.",
    )
    max_queue: int = Field(
        64, ge=0, description="Replies that may wait for their turn; more requests are refused with 429."
    )
    kv_cache_mib: int = Field(
        2048,
        ge=64,
        description="Memory for keys and values of the replies being written, in MiB; what doesn't fit waits.",
    )
    prefix_cache_mib: int = Field(
        512, ge=0, description="Memory for prompts read before, so that they aren't read again, in MiB; 0 keeps none."
    )
    max_adapters: int = Field(6, ge=2, description="Adapter versions kept loaded; idle ones beyond it are unloaded.")
    default_max_tokens: int = Field(512, ge=1, description="Tokens a reply may have when the request doesn't say.")
    default_temperature: float = Field(
        0.5, ge=0, le=2, description="Sampling temperature when the request doesn't say; 0 is greedy."
    )
    release_poll_seconds: float = Field(
        0.5, gt=0, le=2, description="Seconds between two looks at the database for a new release."
    )
    request_seconds: float = Field(
        600, gt=0, description="Seconds a reply may take, waiting included; then it ends with an error."
    )
    shutdown_seconds: int = Field(45, ge=1, description="Seconds running replies get to finish at shutdown.")
    max_file_mib: int = Field(
        200, ge=1, description="Largest file that may be uploaded for fine-tuning, in MiB; larger ones get 413."
    )
    lease_seconds: float = Field(
        30, gt=0, description="Seconds without a heartbeat after which another worker takes a run over."
    )
    trainer_processes: int = Field(
        1, ge=1, le=64, description="Processes that train together on this machine, one a GPU; they share each batch."
    )
    checkpoint_seconds: float = Field(
        60, ge=0, description="Least seconds between two checkpoints of one epoch; each epoch's end has its own."
    )
    queue_poll_seconds: float = Field(1, gt=0, description="Seconds between two looks at the run queue.")
    report_to: Literal["", "wandb", "mlflow", "wandb,mlflow"] = Field(
        "", description="Who else hears of every training step: `wandb`, `mlflow` (extras of these names) or both."
    )
    open_to_this_machine: bool = Field(
        True, description="Whether a browser on this machine may chat on the pages without signing in."
    )
    identity_header: str = Field(
        "",
        description="Header in which a proxy in front names who is signed in to it, such as `X-Forwarded-Email`; then "
        "everybody else signs in with a key.",
    )
    trusted_proxies: str = Field(
        "127.0.0.1/32,::1/128", description="Networks, with commas, whose identity header is believed."
    )
    widget_origins: str = Field(
        "*",
        description="Sites whose pages may call `/v1/feedback` from a browser, such as `https://shop.example`, with "
        "commas; `*`: all, empty: none. No cookie counts there, only the key that the page sends.",
    )
    webhooks_to_private: bool = Field(
        False, description="Whether webhooks may go to private, local and link-local addresses."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @property
    def models(self) -> Path:
        return self.models_folder or self.data_folder / "models"

    @property
    def runs(self) -> Path:
        return self.data_folder / "runs"

    @property
    def files(self) -> Path:
        return self.data_folder / "files"

    @property
    def adapters(self) -> Path:
        return self.data_folder / "adapters"

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host  # as URLs write IPv6
        return f"http://{host}:{self.port}"

    def as_environment(self) -> dict[str, str]:
        """These settings as the environment of a child process."""
        given = {name: value for name, value in self if value is not None}
        return {f"BURNISH_{name.upper()}": str(value) for name, value in given.items()}

    def open_database(self) -> Database:
        url = self.database_url or f"sqlite:///{self.data_folder.resolve() / 'burnish.sqlite3'}"
        return Database(url, audit_key=self.read_secret)

    def read_secret(self) -> bytes:
        """The HMAC key; without one in the environment, a file made on first use."""
        if self.secret:
            return self.secret.encode()
        path = self.data_folder / "secret"
        if not path.exists():
            write_bytes(path, secrets.token_hex(32).encode(), mode=0o600)
        return path.read_bytes()


def settings_rows() -> list[dict[str, str]]:
    return [
        {
            "variable": f"BURNISH_{name.upper()}",
            "default": "" if field.default is None else str(field.default),
            "description": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]


def settings_table() -> str:
    """The README's table, in Markdown."""
    lines = ["| variable | default | what it does |", "|---|---|---|"]
    for row in settings_rows():
        default = f"`{row['default']}`" if row["default"] else ""
        lines.append(f"| `{row['variable']}` | {default} | {row['description']} |")
    return "\n".join(lines)
