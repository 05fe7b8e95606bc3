"""Loading an app: paths, tables, isolation from the standard library, and every mistake with its file and line."""

from __future__ import annotations

import sys

import pytest

from concave.functions.load_report import LoadError
from concave.functions.loader import load_app

QUERY = "from concave import query\n@query\nasync def {}(ctx):\n    return {!r}\n"


def problems(write_app, files):
    with pytest.raises(LoadError) as raised:
        load_app(write_app(files))
    return [str(problem) for problem in raised.value.problems]


def paths(app):
    return [spec.path for spec in app.registry]


def test_paths_follow_directories_with_and_without_init_files(write_app):
    app = load_app(
        write_app(
            {
                "__init__.py": "from concave import define_app\napp = define_app(require_index=True)\n",
                "top.py": QUERY.format("list_", 1),
                "a/b/deep.py": QUERY.format("default", 2),
                "pkg/__init__.py": QUERY.format("inPackage", 3),
                "_private.py": "VALUE = 1\n",
                "__pycache__/junk.py": "raise ValueError\n",
                ".hidden/junk.py": "raise ValueError\n",
            }
        )
    )
    assert paths(app) == ["a/b/deep:default", "pkg:inPackage", "top:list"]
    assert app.options.require_index
    assert not app.warnings


def test_an_explicit_name_is_the_name(write_app):
    source = "from concave import query\n@query(name='list')\nasync def every(ctx): ...\n"
    assert paths(load_app(write_app({"m.py": source}))) == ["m:list"]


def test_references_know_their_paths(write_app):
    app = load_app(write_app({"deep/m.py": QUERY.format("list_", 1)}))
    assert app.modules["deep/m"].list_.path == "deep/m:list"


async def test_relative_imports_and_names_of_the_standard_library(write_app):
    app = load_app(
        write_app(
            {
                "http.py": "import http.client\nfrom .json import DATA\nassert http.client.OK == 200\n",
                "json.py": "import json\nDATA = json.dumps([1])\n",
                "logging.py": "import logging\nlogger = logging.getLogger(__name__)\n",
                "deep/user.py": "from concave import query\nfrom ..http import DATA\nfrom .. import json as own\n"
                "assert own.DATA == DATA == '[1]'\n"
                "@query\nasync def get(ctx):\n    from ..json import DATA\n    return DATA\n",
            }
        )
    )
    import json

    assert "dumps" in vars(json)
    assert "app" not in sys.modules
    assert await app.modules["deep/user"].get(None) == "[1]"


def test_the_apps_own_absolute_name_leads_to_itself(write_app):
    app = load_app(
        write_app(
            {
                "__init__.py": "",
                "one.py": "VALUE = []\n",
                "two.py": "import app.one\nimport app.one as uno\nfrom app.one import VALUE\nfrom app import one\n"
                "assert app.one is uno is one\n",
            }
        )
    )
    assert app.modules["two"].VALUE is app.modules["one"].VALUE


def test_each_load_is_a_fresh_version_and_leaves_the_old_one_alone(write_app):
    directory = write_app({"m.py": "from concave import query\nVALUE = 1\n" + QUERY.format("get", 1)})
    first = load_app(directory)
    write_app({"m.py": "from concave import query\nVALUE = 2\n" + QUERY.format("get", 1)})  # same size, same second
    second = load_app(directory)
    assert (first.modules["m"].VALUE, second.modules["m"].VALUE) == (1, 2)
    assert second.version > first.version
    assert first.modules["m"].__name__ != second.modules["m"].__name__


def test_tables_are_those_of_the_modules_that_define_them(write_app):
    app = load_app(
        write_app(
            {
                "_tables.py": "from concave import define_table, v\nusers = define_table(name=v.string())\n",
                "a.py": "from concave import define_table, v\nfrom ._tables import users\n"
                "notes = define_table(owner=v.id('users'))\n",
                "b.py": "from .a import notes, users as people\n",
            }
        )
    )
    assert sorted(app.schema.tables) == ["notes", "users"]


def test_imported_functions_belong_to_their_own_module(write_app):
    app = load_app(
        write_app(
            {"a.py": "from .b import get\n", "b.py": QUERY.format("get", 1), "z.py": "from .b import get as got\n"}
        )
    )
    assert paths(app) == ["b:get"]


def test_functions_made_by_a_factory_belong_to_the_module_that_holds_them(write_app):
    factory = "from concave import query\ndef make():\n    @query\n    async def get(ctx): ...\n    return get\n"
    app = load_app(write_app({"_factory.py": factory, "a.py": "from ._factory import make\nread = make()\n"}))
    assert paths(app) == ["a:read"]


def test_functions_of_private_modules_are_reported(write_app):
    app = load_app(write_app({"_m.py": QUERY.format("get", 1)}))
    assert paths(app) == []
    assert str(app.warnings[0]).startswith("app/_m.py:2: warning: `get` is no function of the app")


def test_clocks_and_networks_next_to_queries_are_reported(write_app):
    app = load_app(
        write_app(
            {
                "m.py": "import time\nfrom datetime import datetime\nimport os\n" + QUERY.format("get", 1),
                "n.py": "import httpx\n" + QUERY.replace("query", "action").format("get", 1),
                "o.py": "from . import time\n" + QUERY.format("get", 1) + "    import requests\n",
                "time.py": "import time\n",
            }
        )
    )
    assert [str(warning).split(": ", 2)[0] + ":" + str(warning).split("`")[3] for warning in app.warnings] == [
        "app/m.py:1:time",
        "app/m.py:2:datetime",
        "app/o.py:6:requests",
    ]
    assert "ctx.now" in app.warnings[0].message
    assert "action" in app.warnings[2].message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\ndef broken(:\n", "app/m.py:2: SyntaxError: invalid syntax\n    def broken(:"),
        ("def f():\n    return {}['k']\n\nf()\n", "app/m.py:2: KeyError: 'k'\n    return {}['k']"),
        ("import nonexistent_module\n", "app/m.py:1: ModuleNotFoundError: No module named 'nonexistent_module'"),
        ("raise SystemExit(1)\n", "app/m.py:1: SystemExit: 1"),
        ("from concave import query\n\n@query\ndef get(ctx): ...\n", "app/m.py:3: @query `get` is not async"),
        (
            "from concave import query\n\n@query(args={'a': str})\nasync def get(ctx, a): ...\n",
            "app/m.py:3: @query(args=...), field `a`: <class 'str'> is no validator",
        ),
        (
            "from concave import query\n@query\nasync def get(ctx, when: complex): ...\n",
            "app/m.py:2: @query `get`: parameter `when`: `complex` is no type of a Convex value",
        ),
        (
            "from concave import query, v\n@query(args={'a': v.id('usres')})\nasync def get(ctx, a): ...\n",
            'app/m.py:2: `m:get`, args.a: v.id("usres") names no table.',
        ),
        (
            "from concave import define_table, v\nt = define_table(a=v.string()).index('by_b', ['b'])\n",
            "app/m.py:2: table `t`, index `by_b`:",
        ),
        (QUERY.format("list", 1) + QUERY.format("list_", 1), "app/m.py:6: `m:list` is defined twice"),
    ],
)
def test_every_mistake_has_a_file_and_a_line(write_app, source, expected):
    [problem] = problems(write_app, {"m.py": source})
    assert problem.startswith(expected)


def test_all_problems_are_told_at_once(write_app):
    found = problems(
        write_app,
        {
            "a.py": "1 +\n",
            "b.py": "from concave import query\n@query\ndef get(ctx): ...\n@query\ndef list(ctx): ...\n",
            "c.py": "from .a import x\n",
            "d.py": "from concave import define_table, v\nt = define_table(a=v.string())\n",
            "e.py": "from concave import define_table, v\nt = define_table(a=v.string())\n",
        },
    )
    assert [problem.partition(": ")[0] for problem in found] == ["app/a.py:1", "app/b.py:2", "app/b.py:4", "app/e.py:2"]
    assert "defined twice; the other is at app/d.py:2" in found[3]


def test_a_circular_import_says_what_to_do(write_app):
    found = problems(write_app, {"a.py": "from .b import y\nx = 1\n", "b.py": "from .a import x\ny = 1\n"})
    assert [problem.partition(": ")[0] for problem in found] == ["app/a.py:1", "app/b.py:1"]
    assert all("into a third one" in problem for problem in found)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(LoadError, match="no such directory"):
        load_app(tmp_path / "nowhere")


def test_a_failed_load_leaves_nothing_behind(write_app):
    before = set(sys.modules)
    problems(write_app, {"a.py": "VALUE = 1\n", "b.py": "1/0\n"})
    assert {name for name in set(sys.modules) - before if "@" in name} == set()


def test_module_names_that_are_no_paths_are_refused(write_app):
    [problem] = problems(write_app, {"my-module.py": "x = 1\n"})
    assert "cannot be a module's path" in problem


def test_annotations_may_be_postponed(write_app):
    source = """
from __future__ import annotations
from typing import NotRequired, TypedDict
from concave import Id, define_table, query, v

users = define_table(name=v.string())

class Options(TypedDict):
    limit: float
    cursor: NotRequired[str]

@query
async def get(ctx, id: Id["users"], options: Options, other: Id["users"] | None = None): ...
"""
    [spec] = load_app(write_app({"m.py": source})).registry
    assert repr(spec.args) == (
        'v.object({id: v.id("users"), options: v.object({cursor: v.optional(v.string()), limit: v.float64()}), '
        'other: v.optional(v.union(v.id("users"), v.null()))})'
    )


def test_a_module_and_a_directory_may_share_a_name(write_app):
    app = load_app(
        write_app(
            {
                "users.py": "from .other import VALUE\n" + QUERY.format("get", 1),
                "users/deep.py": "from ..other import VALUE\nfrom ..users import get as get_user\n"
                + QUERY.format("get", 2),
                "other.py": "VALUE = 1\n",
            }
        )
    )
    assert paths(app) == ["users/deep:get", "users:get"]


def test_a_module_and_a_package_may_not(write_app):
    [problem] = problems(write_app, {"users.py": "x = 1\n", "users/__init__.py": "y = 1\n"})
    assert problem.startswith("app/users.py:1: `users` is both this file and the package")
