"""How an optimizer's batch is spread over processes and over time.

Promises that the optimizer's batch stays what the hyperparameters say, however many processes share it and however
often memory ran out: a process takes fewer rows at once and adds up their gradients. Only a batch that the processes
can't share evenly grows to the next one that they can.
"""


def rows_at_once(batch: int, processes: int = 1, halvings: int = 0, least: int = 1) -> int:
    """Rows of a forward pass in one process, after memory ran out `halvings` times.

    >>> rows_at_once(8), rows_at_once(8, processes=2), rows_at_once(8, halvings=1), rows_at_once(8, halvings=9)
    (8, 4, 4, 1)
    >>> rows_at_once(6, halvings=2), rows_at_once(5, halvings=1), rows_at_once(8, halvings=9, least=2)
    (1, 1, 2)
    """
    own = rows_of_a_process(batch, processes, least)
    return next((rows for rows in range(own >> halvings, least - 1, -1) if own % rows == 0), min(own, least))


def rows_of_a_process(batch: int, processes: int, least: int = 1) -> int:
    return max(least, -(-batch // processes))


def layout(batch: int, processes: int, halvings: int, *, least: int = 1) -> dict[str, int]:
    """As TrainingArguments spells it.

    >>> layout(8, 2, 1)
    {'per_device_train_batch_size': 2, 'gradient_accumulation_steps': 2}
    """
    at_once = rows_at_once(batch, processes, halvings, least)
    own = rows_of_a_process(batch, processes, least)
    return {"per_device_train_batch_size": at_once, "gradient_accumulation_steps": -(-own // at_once)}
