"""What an app may import from `concave`, and what importing it must not load."""

from __future__ import annotations

import subprocess
import sys

import concave


def test_the_names_that_users_import():
    assert sorted(concave.__all__) == [
        "ConvexError",
        "Id",
        "Int64",
        "UNSET",
        "action",
        "define_app",
        "define_table",
        "http_action",
        "http_router",
        "internal_action",
        "internal_mutation",
        "internal_query",
        "mutation",
        "new_document_id",
        "pagination_opts_validator",
        "pagination_result_validator",
        "password_provider",
        "query",
        "v",
    ]
    assert all(hasattr(concave, name) for name in concave.__all__)


def test_importing_concave_is_light():
    heavy = "{'pymongo', 'starlette', 'uvicorn', 'pydantic', 'watchfiles', 'rich', 'typer', 'concave.storage.mongo'}"
    program = f"import sys, concave; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
