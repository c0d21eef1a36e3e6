"""mypy plugin: tells the type checker that every `pl.LazyFrame` has `.stream`.

Polars adds namespaces at run time, where no checker sees them. Not here: the words (`frame.py`). Called by
mypy when a project says `plugins = ["dataflare_fast.mypy_plugin"]`.
"""

from collections.abc import Callable

from mypy.nodes import MDEF, MypyFile, SymbolTableNode, TypeInfo, Var
from mypy.plugin import ClassDefContext, Plugin
from mypy.types import Instance

__all__ = ["plugin"]

FRAME = "polars.lazyframe.frame.LazyFrame"
WORDS = "dataflare_fast.frame"


class StreamPlugin(Plugin):
    def get_additional_deps(self, file: MypyFile) -> list[tuple[int, str, int]]:
        return [(10, WORDS, -1)] if file.fullname == FRAME.rpartition(".")[0] else []

    def get_customize_class_mro_hook(self, fullname: str) -> Callable[[ClassDefContext], None] | None:
        return add_stream if fullname == FRAME else None


def add_stream(context: ClassDefContext) -> None:
    """Gives `LazyFrame` the attribute `stream`, as soon as the class of the words is known."""
    words = context.api.lookup_fully_qualified_or_none(f"{WORDS}.StreamWords")
    if words is None or not isinstance(words.node, TypeInfo):
        return
    stream = Var("stream", Instance(words.node, []))
    stream.info = context.cls.info
    context.cls.info.names["stream"] = SymbolTableNode(MDEF, stream, plugin_generated=True)


def plugin(version: str) -> type[Plugin]:
    return StreamPlugin
