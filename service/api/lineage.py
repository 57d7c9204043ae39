"""`GET /v1/lineage/{id}`: where a version comes from, what became of a message or of feedback; for reviewers."""

from typing import Annotated

from litestar import get
from litestar.params import Parameter

from feedback.database import Database
from feedback.keys import Caller
from feedback.lineage_nodes import Tree
from feedback.lineage_tree import MOST_FEEDBACK, trace
from service.auth import may


@get("/v1/lineage/{reference:str}", guards=[may("review")], sync_to_thread=True)
def get_lineage(
    reference: str,
    caller: Caller,
    database: Database,
    after: Annotated[str | None, Parameter(max_length=40)] = None,
    limit: Annotated[int, Parameter(ge=1, le=MOST_FEEDBACK)] = 50,
) -> Tree:
    """`reference` as `burnish lineage` takes it; a dataset as `support:v3`."""
    with database.read() as session:
        return trace(session, reference, assistant_ids=caller.assistant_ids, after=after, limit=limit)
