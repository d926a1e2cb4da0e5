"""Which rows train, validate and test: one fixed rule."""

import hashlib

import numpy as np

from fdl.arguments import Count, checked


@checked
def split_rows(labels: np.ndarray | None, size: Count) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of the train, validation and test parts: three, one and one fifths.

    The same on every machine and library version: number the rows from 0; order them by label (if
    there are labels), those of one label by the SHA-256 digest of their number in decimal ASCII.
    With h a fifth of N, rounded up, the row at place p of that order has slot `h * p mod N` and goes
    to test if the slot is below h, to validation if it is below 2 h, else to train. So test and
    validation have h rows each, and every label its share of each part to within two rows; a label
    with few rows may miss a part.

    Args:
      labels: integers `[N]` to stratify by, or None.
      size: N, at least 3.

    Returns:
      The row numbers of train, validation and test, each in ascending order.

    Raises:
      ValueError: fewer than 3 rows, or another number of labels.

    Example:
      >>> labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
      >>> train, validation, test = fdl.data.split_rows(labels, len(labels))
      >>> labels[train].tolist(), labels[validation].tolist(), labels[test].tolist()
      ([0, 0, 0, 1, 1, 1], [0, 1], [0, 1])
    """
    if size < 3:
        raise ValueError(f"there are {size} rows; expected at least 3, one for each part")
    if labels is not None and np.shape(labels) != (size,):
        raise ValueError(f"labels have shape {list(np.shape(labels))} for {size} rows; expected [{size}]")
    digests = [hashlib.sha256(str(number).encode()).digest() for number in range(size)]
    by = np.zeros(size, int) if labels is None else labels
    order = np.array(sorted(range(size), key=lambda number: (by[number], digests[number])))
    held_out = -(-size // 5)
    part = np.arange(size) * held_out % size // held_out
    return np.sort(order[part >= 2]), np.sort(order[part == 1]), np.sort(order[part == 0])


@checked
def split_groups(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of the train, validation and test parts, all rows of a group in the same part.

    The groups, numbered in the order of their names, are split by `split_rows`; so parts have three, one and
    one fifths of the groups, whatever the sizes of these.

    Args:
      groups: the name of each row's group, texts or integers `[N]`.

    Returns:
      The row numbers of train, validation and test, each in ascending order.

    Raises:
      ValueError: fewer than 3 groups.

    Example:
      >>> patients = np.repeat(["ann", "bob", "cid", "dan", "eve"], 2)
      >>> [patients[rows].tolist() for rows in fdl.data.split_groups(patients)]
      [['ann', 'ann', 'bob', 'bob', 'cid', 'cid'], ['dan', 'dan'], ['eve', 'eve']]
    """
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < 3:
        raise ValueError(f"there are {len(names)} groups; expected at least 3, one for each part")
    train, validation, test = split_rows(None, len(names))
    return _members(group, train), _members(group, validation), _members(group, test)


def _members(group: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.isin(group, chosen))
