"""A run's dataset, for tests of what comes after it was made."""

import secrets

from feedback import runs
from feedback.models import DatasetVersion
from feedback.testing import House


def give_dataset(house: House, run_id: str, rows_erased: int = 0) -> None:
    with house.database.write() as session:
        run = runs.get_run(session, run_id)
        dataset = DatasetVersion(
            assistant_id=run.assistant_id, number=1, sha256=secrets.token_hex(8), rows_erased=rows_erased
        )
        session.add(dataset)
        session.flush()
        run.dataset_version_id = dataset.id
