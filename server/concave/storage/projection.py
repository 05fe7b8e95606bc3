"""What the log keeps of a document's old version: `_id`, `_creationTime` and the indexed fields.

That is all that validation and invalidation need (`design.md` 3.4): the keys of the projection are the keys of the
document. So a path that walks into something that is no object may be left out: either way it reads as undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from concave.values.types import Document, Value

Projection = Callable[[Document], Document]


def compile_projection(paths: Iterable[str]) -> Projection:
    """A function that keeps `_id`, `_creationTime` and the given field paths; the values are shared, not copied."""
    steps_of = {tuple(path.split(".")) for path in (*paths, "_id", "_creationTime")}
    # A path below another one is kept with it.
    outermost = {steps for steps in steps_of if not any(steps[:n] in steps_of for n in range(1, len(steps)))}
    names = tuple(sorted(steps[0] for steps in outermost if len(steps) == 1))
    nested = sorted(steps for steps in outermost if len(steps) > 1)
    if not nested:
        return lambda document: {name: document[name] for name in names if name in document}

    def project(document: Document) -> Document:
        kept: Document = {name: document[name] for name in names if name in document}
        for steps in nested:
            _keep_nested(document, kept, steps)
        return kept

    return project


def _keep_nested(source: Value, kept: Document, steps: tuple[str, ...]) -> None:
    value = source
    for step in steps:
        if not isinstance(value, dict) or step not in value:
            return
        value = value[step]
    for step in steps[:-1]:
        kept = kept.setdefault(step, {})
    kept[steps[-1]] = value
