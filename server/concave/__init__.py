"""concave: a reactive document backend. Functions in Python, documents in MongoDB, Convex's wire protocol.

This is what an app imports; nothing here loads the database driver or the web server. An app is a directory of modules
with tables and functions:

    from concave import v, define_table, query, mutation, Id

The layers, from the ground up: `values`, `schema`, `storage`, `database`, `functions`, `reactive`, `sync`, `http`.
"""

from concave.functions.auth_config import password_provider
from concave.functions.decorators import (
    action,
    internal_action,
    internal_mutation,
    internal_query,
    mutation,
    query,
)
from concave.functions.http_routes import http_action, http_router
from concave.schema.definition import define_app, define_table
from concave.schema.validators import pagination_opts_validator, pagination_result_validator, v
from concave.values.errors import ConvexError
from concave.values.ids import Id, new_document_id
from concave.values.types import UNSET, Int64

__all__ = [
    "UNSET",
    "ConvexError",
    "Id",
    "Int64",
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
