"""What a client asks of a fine-tuning job, in OpenAI's words, checked; and what that makes of a run's settings."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from feedback.errors import InvalidInput
from feedback.fine_tuning.models import FineTuningJob
from feedback.hyperparameters import Hyperparameters

Auto = Literal["auto"]
Key = Annotated[str, Field(max_length=64)]
Value = Annotated[str, Field(max_length=512)]


class JobHyperparameters(BaseModel):
    """ "auto": what the assistant's own hyperparameters say."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, le=100)] = "auto"
    beta: Auto | Annotated[float, Field(gt=0, le=2)] = Field("auto", description="Of dpo alone.")


class MethodSettings(BaseModel):
    hyperparameters: JobHyperparameters | None = None


class JobMethod(BaseModel):
    type: str = Field(max_length=40)
    supervised: MethodSettings | None = None
    dpo: MethodSettings | None = None


class JobCreate(BaseModel):
    """Unknown fields are ignored, as everywhere in OpenAI's part of the API."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(max_length=64, description="An assistant, or `base`: then one is made for the job.")
    training_file: str = Field(max_length=40)
    validation_file: str | None = Field(None, max_length=40)
    method: JobMethod | None = None
    hyperparameters: JobHyperparameters | None = Field(None, description="Deprecated: what `method` has now.")
    suffix: str | None = Field(None, min_length=1, max_length=64)
    seed: int | None = Field(None, ge=0, lt=2**31)
    metadata: dict[Key, Value] | None = Field(None, max_length=16)
    integrations: list[dict[str, Any]] | None = Field(None, max_length=5)

    def chosen(self) -> tuple[str, dict[str, Any]]:
        """The method, and its hyperparameters: numbers or "auto"."""
        if self.integrations:
            raise InvalidInput(
                "`integrations` aren't there: read the job's events and result file.", param="integrations"
            )
        asked = self.method or JobMethod(type="supervised")
        settings = {"supervised": asked.supervised, "dpo": asked.dpo}
        if asked.type not in settings:
            raise InvalidInput(f"`method.type` is {asked.type!r}: there are supervised and dpo.", param="method.type")
        if other := next((name for name, given in settings.items() if given and name != asked.type), None):
            raise InvalidInput(f"`method.{other}` is given, but the type is {asked.type}.", param=f"method.{other}")
        of_method = settings[asked.type]
        own = None if of_method is None else of_method.hyperparameters
        if own is not None and self.hyperparameters is not None:
            raise InvalidInput("`hyperparameters` are given twice: leave those beside `method` out.")
        given = own or self.hyperparameters or JobHyperparameters()
        if asked.type == "dpo":
            return asked.type, given.model_dump()
        if given.beta != "auto":
            raise InvalidInput("`beta` is dpo's: leave it out.", param="hyperparameters.beta")
        return asked.type, given.model_dump(exclude={"beta"})


def applied(job: FineTuningJob, own: Hyperparameters) -> Hyperparameters:
    """The run's hyperparameters: the assistant's own, but for what the job says.

    A job learns its file and nothing else, and no more epochs than it asks for: from the base, without a search.

    >>> job = FineTuningJob(method="supervised", hyperparameters={"n_epochs": 2, "learning_rate_multiplier": 0.5})
    >>> run = applied(job, Hyperparameters(learning_rate=1e-3))
    >>> run.num_train_epochs, run.learning_rate
    (2, 0.0005)
    """
    dpo = job.method == "dpo"
    epochs, rate = ("preference_epochs", "preference_learning_rate") if dpo else ("num_train_epochs", "learning_rate")
    given = {name: value for name, value in job.hyperparameters.items() if value != "auto"}
    changed: dict[str, Any] = {"warm_start": False, "search_trials": 0}
    if "n_epochs" in given:
        changed[epochs] = given["n_epochs"]
    if "batch_size" in given:
        changed["per_device_train_batch_size"] = given["batch_size"]
    if "learning_rate_multiplier" in given:
        changed[rate] = getattr(own, rate) * given["learning_rate_multiplier"]
    if "beta" in given:
        changed["beta"] = given["beta"]
    return Hyperparameters.model_validate(own.model_dump() | changed)
