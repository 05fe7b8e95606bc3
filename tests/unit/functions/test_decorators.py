"""Decorators and specs: bare or with arguments, annotations or validators, and what is refused."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from pydantic import BaseModel, Field

from concave import (
    UNSET,
    Id,
    Int64,
    action,
    internal_action,
    internal_mutation,
    internal_query,
    mutation,
    pagination_opts_validator,
    query,
    v,
)
from concave.functions.decorators import FunctionReference
from concave.functions.specs import FunctionSpec, InvalidFunction, build_spec
from concave.schema.catalog import Catalog
from concave.schema.definition import define_table
from concave.schema.plan import compile_plan
from concave.schema.schema import Schema
from concave.values.errors import DeveloperError
from concave.values.types import Unset


class Point(BaseModel):
    x: float
    y: float = 0.0
    label: str | None = Field(default=None, alias="name")


class Options(TypedDict):
    limit: float
    cursor: NotRequired[str]


def spec(reference: FunctionReference[..., Any]) -> FunctionSpec:
    return build_spec(reference, "module:function")


def args_of(reference: FunctionReference[..., Any]) -> Any:
    return spec(reference).args


def test_both_ways_give_the_same_spec():
    @query(
        args={
            "channelId": v.id("channels"),
            "text": v.string(),
            "count": v.number(),
            "size": v.number(),
            "big": v.int64(),
            "flag": v.boolean(),
            "data": v.bytes(),
            "nothing": v.null(),
            "maybe": v.nullable(v.string()),
            "names": v.array(v.string()),
            "scores": v.record(v.string(), v.number()),
            "color": v.union(v.literal("red"), v.literal("blue")),
            "one": v.literal("only"),
            "anything": v.any(),
            "parents": v.array(v.id("channels")),
            "point": v.object(
                {
                    "x": v.number(),
                    "y": v.optional(v.number()),
                    "name": v.optional(v.nullable(v.string())),
                }
            ),
            "options": v.object({"limit": v.number(), "cursor": v.optional(v.string())}),
            "page": pagination_opts_validator,
            "unannotated": v.any(),
            "limit": v.optional(v.number()),
            "after": v.optional(v.nullable(v.string())),
            "before": v.optional(v.string()),
        }
    )
    async def declared(ctx, **args):
        return None

    @query
    async def inferred(
        ctx: Any,
        channelId: Id["channels"],
        text: str,
        count: float,
        size: int,
        big: Int64,
        flag: bool,
        data: bytes,
        nothing: None,
        maybe: str | None,
        names: list[str],
        scores: dict[str, float],
        color: Literal["red", "blue"],
        one: Literal["only"],
        anything: Any,
        parents: Sequence[Id["channels"]],
        point: Point,
        options: Options,
        page: Annotated[dict, pagination_opts_validator],
        unannotated,
        limit: int = 10,
        after: str | None = None,
        before: str | Unset = UNSET,
    ) -> None:
        return None

    lookup = Catalog(compile_plan(Schema({"channels": define_table(name=v.string())})), {"channels": 10_001})
    one, other = spec(declared).to_json(lookup), spec(inferred).to_json(lookup)
    assert one == other
    assert one["identifier"] == "module.js:function"
    assert args_of(declared) == args_of(inferred)


@pytest.mark.parametrize(
    ("decorator", "kind", "visibility"),
    [
        (query, "query", "public"),
        (mutation, "mutation", "public"),
        (action, "action", "public"),
        (internal_query, "query", "internal"),
        (internal_mutation, "mutation", "internal"),
        (internal_action, "action", "internal"),
    ],
)
def test_decorators_are_usable_bare_and_with_arguments(decorator, kind, visibility):
    @decorator
    async def bare(ctx):
        """What it does."""

    @decorator(args={}, returns=v.null(), name="other")
    async def called(ctx): ...

    for reference in (bare, called):
        assert (reference.kind, reference.visibility) == (kind, visibility)
        assert args_of(reference) == v.object({})
    assert called.name == "other"
    assert spec(called).returns == v.null()
    assert bare.__doc__ == "What it does."
    assert bare.line < called.line
    assert bare.file == __file__


async def test_a_decorated_function_stays_callable():
    @query(args={"a": v.number()})
    async def double(ctx, a):
        return a * 2

    assert await double(None, a=2) == 4
    assert await double(None, 3) == 6


async def test_parameters_receive_what_their_annotations_promise():
    seen: list[Any] = []

    @query
    async def take(ctx, point: Point, count: int, limit: int | None = None):
        seen.append((point, count, limit))

    call = spec(take).call
    await call(None, {"point": {"x": 1.0, "name": "p"}, "count": 3.0, "limit": 5.0})
    point, count, limit = seen[0]
    assert isinstance(point, Point)
    assert (point.x, point.label) == (1.0, "p")
    assert (count, limit) == (3, 5)
    assert type(count) is int
    with pytest.raises(DeveloperError, match=r"Path: \.count") as raised:
        call(None, {"point": {"x": 1.0}, "count": 2.5})
    assert raised.value.code == "ArgumentValidationError"


async def test_a_missing_optional_argument_without_a_default_is_unset():
    @query(args={"cursor": v.optional(v.string())})
    async def page(ctx, cursor):
        return cursor

    assert await spec(page).call(None, {}) is UNSET
    assert await spec(page).call(None, {"cursor": "c"}) == "c"


async def test_the_rest_of_the_arguments_may_be_keywords():
    @query(args=v.any())
    async def everything(ctx, /, **args):
        return args

    assert await spec(everything).call(None, {"from": 1.0, "ctx": 2.0}) == {"from": 1.0, "ctx": 2.0}


async def test_with_any_arguments_the_parameters_names_are_checked():
    @query(args=v.any())
    async def some(ctx, a, b=1):
        return a

    with pytest.raises(DeveloperError, match="required field `a`"):
        spec(some).call(None, {})
    with pytest.raises(DeveloperError, match="extra field `c`"):
        spec(some).call(None, {"a": 1, "c": 1})


def test_what_cannot_be_a_function_says_how_to_mend_it():
    def plain(ctx): ...

    async def no_context(): ...

    async def generator(ctx):
        yield 1

    async def extra(ctx, a): ...

    async def a_set(ctx, a: set[str]): ...

    async def positional(ctx, a, /): ...

    async def takes_ctx(ctx, **args): ...

    async def unknown(ctx, a: "Nowhere"): ...

    for reference, message in [
        (query(plain), "is not async: write `async def plain"),
        (mutation(plain), "@mutation `plain` is not async"),
        (query(no_context), "first parameter is `ctx`"),
        (query(generator), "is a generator"),
        (query(args={})(extra), "`a` has no default and args= does not declare it"),
        (query(args={"a": v.any(), "b": v.any()})(extra), "args= declares `b`"),
        (query(args=v.string())(extra), "args= is a dict of validators"),
        (query(a_set), "parameter `a`: `set[str]` is no type of a Convex value"),
        (query(positional), "cannot be positional only"),
        (query(args={"ctx": v.any()})(takes_ctx), "has the name of the context parameter"),
        (query(unknown), "names `Nowhere`"),
    ]:
        with pytest.raises(InvalidFunction) as raised:
            spec(reference)
        assert message in str(raised.value)
    assert not spec(action(plain)).is_async


def test_mistakes_that_cannot_wait_are_raised_at_once():
    async def twice(ctx): ...

    with pytest.raises(DeveloperError, match="decorates a function"):
        query("messages")  # type: ignore[call-overload]
    with pytest.raises(DeveloperError, match="no validator"):
        query(args={"a": str})(twice)  # type: ignore[dict-item]
    with pytest.raises(DeveloperError, match="is a query already"):
        mutation(query(twice))


def test_a_function_outside_of_an_app_has_no_path():
    @query
    async def lonely(ctx): ...

    with pytest.raises(DeveloperError, match="not among the app's functions"):
        _ = lonely.path
