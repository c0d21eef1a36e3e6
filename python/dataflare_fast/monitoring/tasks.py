"""Which node of the plan each operator of a running job belongs to, and whose rows it reads.

A node is run by no, one or two operators (`rust/engine/src/runtime/blueprint.rs`), which stand in the order
of the nodes. Not here: what they count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dataflare_fast.errors import InternalError

__all__ = ["TaskPlace", "task_places"]

# By the operator of a node: the kinds that run it, in the order of the data. One more may stand in front: it
# puts rows into order.
_KINDS: dict[str, tuple[str, ...]] = {
    "late": (),
    "errors": (),
    "aggregate": ("partial", "final"),
    "session": ("sessionpartial", "sessionfinal"),
}
_ORDERING = ("resequence", "timeorder")
# What gets its rows from other workers.
_EXCHANGED = {
    *_ORDERING,
    *("final", "sessionfinal", "toprows", "join", "joinasof", "running", "over", "head", "sort"),
}


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """Where an operator stands.

    Args:
        node: of the plan.
        inputs: the operators whose rows it reads, by number.
        exchanged: they come from other workers too.
    """

    node: int
    inputs: tuple[int, ...]
    exchanged: bool


def task_places(kinds: Sequence[str], nodes: Sequence[dict[str, Any]]) -> list[TaskPlace]:
    """Places each operator.

    Args:
        kinds: of the operators, as `Job.metrics()` lists them.
        nodes: of the plan.

    Raises:
        InternalError: they do not fit.
    """
    places: list[TaskPlace] = []
    last: list[int] = []  # by node: the operator that its rows leave
    for number, node in enumerate(nodes):
        inputs = tuple(dict.fromkeys(last[one] for one in node["inputs"]))
        expected = _KINDS.get(node["operator"], (node["operator"].replace("_", ""),))
        if expected and len(places) < len(kinds) and kinds[len(places)] in _ORDERING:
            expected = (kinds[len(places)], *expected)
        for kind in expected:
            found = kinds[len(places)] if len(places) < len(kinds) else "none"
            if found != kind:
                raise InternalError(f"operator {len(places)} of the job: expected {kind}, got {found}")
            places.append(TaskPlace(number, inputs, kind in _EXCHANGED))
            inputs = (len(places) - 1,)
        last.append(len(places) - 1 if expected else inputs[0])
    if len(places) != len(kinds):
        raise InternalError(f"the job: expected {len(places)} operators, got {len(kinds)}")
    return places
