"""How an optimizer's batch is spread over processes and over time.

Promises that the optimizer's batch stays what the hyperparameters say, however many processes share it and however
often memory ran out: a process takes fewer rows at once and adds up their gradients. Only a batch that the processes
can't share evenly grows to the next one that they can; so does, in KTO, a process's odd share to the next even number,
since it takes two rows at least at once.
"""

from feedback.run_folder import Method

FEWEST_AT_ONCE: dict[Method, int] = {"sft": 1, "dpo": 1, "kto": 2}
"""KTO compares a reply with another row's, for its reference point."""


def rows_at_once(batch: int, processes: int = 1, halvings: int = 0, least: int = 1) -> int:
    """Rows of a forward pass in one process, after memory ran out `halvings` times.

    Each time they are the most that divide the process's rows among at most half as many as before, or `least`: as
    long as there are more than those, there are fewer the next time.

    >>> [rows_at_once(8, halvings=times) for times in range(5)]
    [8, 4, 2, 1, 1]
    >>> [rows_at_once(22, halvings=times) for times in range(4)]
    [22, 11, 2, 1]
    >>> rows_at_once(8, processes=2), [rows_at_once(5, halvings=times, least=2) for times in range(3)]
    (4, [6, 3, 2])
    """
    own = rows = rows_of_a_process(batch, processes, least)
    for _ in range(halvings):
        rows = next((fewer for fewer in range(rows // 2, least, -1) if own % fewer == 0), least)
    return rows


def rows_of_a_process(batch: int, processes: int = 1, least: int = 1) -> int:
    """Its share of an optimizer's batch; one that can't be divided into `least` rows grows, before memory runs out.

    >>> rows_of_a_process(8, processes=3), rows_of_a_process(5, least=2), rows_of_a_process(1, least=2)
    (3, 6, 2)
    """
    share = -(-batch // processes)
    return -(-share // least) * least


def whole_batch(batch: int, processes: int = 1, least: int = 1) -> int:
    """Rows of an optimizer's step.

    >>> whole_batch(8), whole_batch(8, processes=3), whole_batch(5, least=2)
    (8, 9, 6)
    """
    return processes * rows_of_a_process(batch, processes, least)


def layout(batch: int, processes: int, halvings: int, *, least: int = 1) -> dict[str, int]:
    """As TrainingArguments spells it.

    >>> layout(8, 2, 1)
    {'per_device_train_batch_size': 2, 'gradient_accumulation_steps': 2}
    >>> [layout(7, 1, times, least=2)["gradient_accumulation_steps"] for times in range(3)]  # 8 rows, whatever happens
    [1, 2, 4]
    """
    at_once = rows_at_once(batch, processes, halvings, least)
    own = rows_of_a_process(batch, processes, least)
    return {"per_device_train_batch_size": at_once, "gradient_accumulation_steps": own // at_once}
