"""Something for the tiny model to learn, said by many people."""

from burnish_server import Deployment
from tiny import WORDS

from feedback import assistants
from feedback.testing import House


def teach(house: Deployment, *, num_train_epochs: int = 8) -> None:
    """Corrections by thirty people, in the tiny model's words, straight into the database."""
    with house.database.write() as session:
        assistant = assistants.get_assistant(session, "support")
        changes = {
            "training": {"min_new_feedback": 10_000, "near_duplicate_similarity": 1.0},
            "hyperparameters": {"num_train_epochs": num_train_epochs, "early_stopping_patience": num_train_epochs},
            "verdict": {"max_suite_items": 10},
        }
        assistants.set_policies(session, assistant, changes, actor="test")
    people = House(house.settings, house.database, "support")
    for number, word in enumerate(WORDS[1:]):
        for person in range(3):
            question = f"where is the {word} key ? {person}"
            people.correct(question, "what ?", f"the {word} key is in box {number} .", user=f"person-{number}-{person}")
