"""What the models' keys mean, from the texts that stand below them in the source.

pydantic can do this too (``use_attribute_docstrings``), but then reads the source of every model at import: most of what
importing the models costs in a process that has Airflow loaded. Only errors, the schema and the reference page need it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from pydantic import BaseModel


@lru_cache(maxsize=256)
def described(model: type[BaseModel]) -> dict[str, str]:
    """The description of each described key of a model and of its bases, each on one line.

    Empty where no source is at hand.
    """
    found: dict[str, str] = {}
    bases = [base for base in model.__mro__ if issubclass(base, BaseModel) and base is not BaseModel]
    for base in reversed(bases):
        found.update(_below_annotations(base.__module__).get(base.__name__, {}))
    return {name: text for name, text in found.items() if name in model.model_fields}


@lru_cache(maxsize=16)
def _below_annotations(module: str) -> dict[str, dict[str, str]]:
    import ast
    import inspect
    import sys

    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):  # built in, or shipped without source
        return {}

    def texts(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
        for statement, following in pairwise(body):
            match statement, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    yield name, " ".join(text.split())

    return {node.name: dict(texts(node.body)) for node in tree.body if isinstance(node, ast.ClassDef)}
