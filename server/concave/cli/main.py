"""The `concave` command. Only parsing happens here; each command imports what it needs when it is called, so that
`concave --help` and `concave run` do not load a server.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from concave.values.errors import ConcaveError, Family

app = typer.Typer(
    name="concave",
    help="A reactive document backend: functions in Python, documents in MongoDB, Convex's wire protocol.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
schema = typer.Typer(no_args_is_help=True, help="Compare the app's schema with the database, or bring it there.")
app.add_typer(schema, name="schema")
keys = typer.Typer(no_args_is_help=True, help="Admin keys of the deployment.")
app.add_typer(keys, name="keys")

AppDir = Annotated[Path, typer.Option("--app", help="Directory of the app: its tables and functions.")]
DataDir = Annotated[Path, typer.Option("--data-dir", help="Where the embedded database and the admin key are kept.")]
Db = Annotated[
    str | None, typer.Option("--db", help="URI of a MongoDB replica set or sharded cluster, with a database name.")
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes any free one.")]
SitePort = Annotated[
    int | None,
    typer.Option("--site-port", min=0, max=65535, help="Port of HTTP actions; by default the one after --port."),
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on.")]
WebDir = Annotated[Path | None, typer.Option("--web", help="Directory of a built web app, served at /.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]

DEFAULT_APP = Path("schema")
DEFAULT_DATA = Path(".concave")
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 3210


@app.command()
def dev(
    app_dir: AppDir = DEFAULT_APP,
    port: Port = DEFAULT_PORT,
    site_port: SitePort = None,
    data_dir: DataDir = DEFAULT_DATA,
    db: Db = None,
    web: WebDir = None,
) -> None:
    """Run an app for development: MongoDB included, reloading what changes."""
    from concave.cli.dev import dev as command

    raise typer.Exit(command(app_dir, port=port, site_port=site_port, data_dir=data_dir, db=db, web_dir=web))


@app.command()
def serve(
    db: Annotated[str, typer.Option("--db", envvar="CONCAVE_DB", help="URI of the database, with a database name.")],
    app_dir: AppDir = DEFAULT_APP,
    port: Port = DEFAULT_PORT,
    site_port: SitePort = None,
    host: Host = DEFAULT_HOST,
    data_dir: DataDir = DEFAULT_DATA,
    web: WebDir = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=256, help="Server processes on the port.")] = 1,
    shutdown_timeout: Annotated[
        float, typer.Option("--shutdown-timeout", min=0, help="Seconds that calls under way have to finish.")
    ] = 10.0,
    log_retention: Annotated[
        float, typer.Option("--log-retention", min=1, help="Seconds that commit log entries are kept whole.")
    ] = 3600.0,
    redact_errors: Annotated[
        bool,
        typer.Option(
            "--redact-errors/--no-redact-errors",
            envvar="REDACT_LOGS_TO_CLIENT",
            help="Tell clients of errors only a request id, for `concave logs --request`, and no log lines.",
        ),
    ] = False,
) -> None:
    """Run an app on a database of your own."""
    from concave.cli.serve import ServeOptions
    from concave.cli.serve import serve as command

    options = ServeOptions(
        app_dir,
        host,
        port,
        data_dir,
        db,
        web,
        workers,
        shutdown_timeout_s=shutdown_timeout,
        log_retention_s=log_retention,
        site_port=site_port,
        redact_errors=redact_errors,
    )
    raise typer.Exit(command(options))


@app.command()
def run(
    function: Annotated[str, typer.Argument(help="Path of the function, for instance messages:send.")],
    arguments: Annotated[str | None, typer.Argument(metavar="JSON", help="The arguments, one JSON object.")] = None,
    url: Annotated[str | None, typer.Option("--url", help="The server; without it, the one that runs here.")] = None,
    admin_key: Annotated[str | None, typer.Option("--admin-key", help="The server's admin key.")] = None,
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Call a function of a running server and print its result as JSON; log lines go to stderr."""
    from concave.cli.deployment import find
    from concave.cli.run import parse_arguments, run_function

    args = parse_arguments(arguments)
    raise typer.Exit(0 if run_function(find(data_dir, url, admin_key), function, args) else 1)


@app.command()
def logs(
    history: Annotated[int, typer.Option("--history", min=0, help="Print so many entries of before first.")] = 0,
    success: Annotated[bool, typer.Option("--success", help="Print a line for calls that succeed, too.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print each entry as JSON, for machines.")] = False,
    request: Annotated[
        str | None, typer.Option("--request", help="Print what is known of the request of this id, and end.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="The server; without it, the one that runs here.")] = None,
    admin_key: Annotated[str | None, typer.Option("--admin-key", help="The server's admin key.")] = None,
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """Follow what the functions of a running server print and how they fail.

    Each server process keeps its own newest 1000 executions in memory.
    """
    from concave.cli.deployment import find
    from concave.cli.logs import LogOptions, follow

    options = LogOptions(history, success, jsonl, request)
    try:
        found = follow(find(data_dir, url, admin_key), options)
    except KeyboardInterrupt:
        found = True
    if not found:
        print(f"nothing is known of a request {request}; only the newest executions are kept", file=sys.stderr)
    raise typer.Exit(0 if found else 1)


@app.command()
def data(
    table: Annotated[str | None, typer.Argument(help="A table; without it, all tables are listed.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many documents.")] = 100,
    order: Annotated[Literal["asc", "desc"], typer.Option("--order", help="By creation time.")] = "desc",
    as_json: AsJson = False,
    app_dir: AppDir = DEFAULT_APP,
    db: Db = None,
    data_dir: DataDir = DEFAULT_DATA,
) -> None:
    """List tables, or print documents of one."""
    from concave.cli.data import print_documents, print_tables

    if table is None:
        print_tables(app_dir, db=db, data_dir=data_dir, as_json=as_json)
    else:
        print_documents(table, app_dir, db=db, data_dir=data_dir, limit=limit, order=order, as_json=as_json)


@app.command()
def doctor(
    app_dir: AppDir = DEFAULT_APP,
    db: Db = None,
    data_dir: DataDir = DEFAULT_DATA,
    documents: Annotated[bool, typer.Option("--documents", help="Check all documents, not only a sample.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong with the database: lost tables and indexes, validators, documents. Exit status 1 if so."""
    from concave.cli.doctor import doctor as command

    raise typer.Exit(command(app_dir, db=db, data_dir=data_dir, all_documents=documents, as_json=as_json))


@schema.command()
def plan(
    app_dir: AppDir = DEFAULT_APP, db: Db = None, data_dir: DataDir = DEFAULT_DATA, as_json: AsJson = False
) -> None:
    """Show what a push would change in the database."""
    from concave.cli.schema_commands import show_plan

    show_plan(app_dir, db=db, data_dir=data_dir, as_json=as_json)


@schema.command()
def push(
    app_dir: AppDir = DEFAULT_APP,
    db: Db = None,
    data_dir: DataDir = DEFAULT_DATA,
    repair: Annotated[
        bool, typer.Option("--repair", help="Also correct index columns that another program let go stale.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create in the database what the schema declares, and what of it was lost. Removes nothing."""
    from concave.cli.schema_commands import push as command

    command(app_dir, db=db, data_dir=data_dir, repair=repair, as_json=as_json)


@schema.command()
def stats(
    app_dir: AppDir = DEFAULT_APP, db: Db = None, data_dir: DataDir = DEFAULT_DATA, as_json: AsJson = False
) -> None:
    """Count documents, bytes and index bytes of each table."""
    from concave.cli.schema_commands import show_stats

    show_stats(app_dir, db=db, data_dir=data_dir, as_json=as_json)


@keys.command("create")
def keys_create(
    app_dir: AppDir = DEFAULT_APP,
    data_dir: DataDir = DEFAULT_DATA,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="A key that may read everything and change nothing.")
    ] = False,
) -> None:
    """Print an admin key of the deployment."""
    from concave.cli.keys import create as command

    print(command(app_dir, data_dir, read_only=read_only))


def main() -> None:
    """Entry point. What is wrong with the set-up is printed plainly, without a traceback; exit status 1."""
    try:
        app()
    except ConcaveError as exc:
        if exc.family is Family.ENGINE:
            raise
        from rich.console import Console

        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print("error:", style="bold red", end=" ")
        console.print(exc.message, markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
