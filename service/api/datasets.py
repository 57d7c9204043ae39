"""For operators: dataset versions with their datasheets, two compared, one verified, and what would be learned now."""

from typing import Annotated, Any

from litestar import get, post
from litestar.params import JSONBody, Parameter
from pydantic import BaseModel, Field

from feedback import dataset_report, datasets
from feedback.config import Settings
from feedback.database import Database
from feedback.dataset_report import DatasetDetails, DatasetRead, Difference, Verification, number_of
from feedback.keys import Caller
from feedback.run_folder import Row
from service.api.lists import Page
from service.api.strict_body import StrictBody
from service.auth import may, visible
from service.previews import preview

Number = Annotated[int, Parameter(ge=0, lt=2**31)]


class PreviewCreate(StrictBody):
    policies: dict[str, dict[str, Any]] = Field(
        {}, max_length=50, description='Settings to try, such as {"trust": {"min_voices": 1}}; changes nothing.'
    )


class PreviewRead(BaseModel):
    datasheet: dict[str, Any] = Field(description="Under the settings to try, if there are any.")
    samples: list[Row] = Field(description="The rows that the datasheet names.")
    differences: list[Difference] = Field(description="What the settings to try would change.")


class ComparisonRead(BaseModel):
    before: str
    after: str
    differences: list[Difference]


@get("/v1/assistants/{name:str}/datasets", guards=[may("operate")], sync_to_thread=True)
def list_datasets(
    name: str,
    caller: Caller,
    database: Database,
    after: Annotated[str | None, Parameter(max_length=12)] = None,
    limit: Annotated[int, Parameter(ge=1, le=100)] = 20,
) -> Page[DatasetRead]:
    """The newest first."""
    before = number_of(after) if after is not None else None
    with database.read() as session:
        found = datasets.list_datasets(session, visible(session, caller, name), before=before, limit=limit + 1)
        shown = dataset_report.read(session, found[:limit])
    return Page[DatasetRead].of(shown, has_more=len(found) > limit)


@get("/v1/assistants/{name:str}/datasets/{number:str}", guards=[may("operate")], sync_to_thread=True)
def get_dataset(name: str, number: str, caller: Caller, database: Database) -> DatasetDetails:
    """`number`: as in `3` or `v3`."""
    with database.read() as session:
        assistant = visible(session, caller, name)
        return dataset_report.details(session, datasets.get_dataset(session, assistant, number_of(number)))


@get("/v1/assistants/{name:str}/datasets/compare", guards=[may("operate")], sync_to_thread=True)
def compare_datasets(name: str, before: Number, after: Number, caller: Caller, database: Database) -> ComparisonRead:
    """The counts in which two datasheets differ: rows by side and method, drops by reason."""
    with database.read() as session:
        assistant = visible(session, caller, name)
        one, other = (datasets.get_dataset(session, assistant, number) for number in (before, after))
    found = dataset_report.differences(one.datasheet, other.datasheet)
    return ComparisonRead(before=f"v{before}", after=f"v{after}", differences=found)


@post("/v1/assistants/{name:str}/datasets/preview", guards=[may("operate")], status_code=200, sync_to_thread=True)
def preview_dataset(name: str, data: JSONBody[PreviewCreate], caller: Caller, database: Database) -> PreviewRead:
    """What a run that starts now would learn from; a dry run, which may take seconds. One at a time, else a 429."""
    with database.read() as session:
        as_it_is, tried = preview(session, visible(session, caller, name), data.policies)
    shown = tried or as_it_is
    found = dataset_report.differences(as_it_is.sheet, tried.sheet) if tried else []
    return PreviewRead(datasheet=shown.sheet, samples=shown.samples, differences=found)


@post(
    "/v1/assistants/{name:str}/datasets/{number:str}/verify",
    guards=[may("operate")],
    status_code=200,
    sync_to_thread=True,
)
def verify_dataset(name: str, number: str, caller: Caller, database: Database, settings: Settings) -> Verification:
    """Whether its rows are the ones that were frozen, and an erasure took every one that is gone; reads all of them."""
    with database.read() as session:
        dataset = datasets.get_dataset(session, visible(session, caller, name), number_of(number))
        return dataset_report.verify(session, settings.runs, dataset)
