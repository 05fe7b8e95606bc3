"""From a directory to an app: import its modules, find its tables and functions, judge them all, report everything.

Loading either gives a whole `LoadedApp` or raises one `LoadError` with every problem that could be found. Nothing is
changed by a load that fails: the version before keeps its modules and goes on serving.
"""

from __future__ import annotations

import ast
import linecache
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from concave.functions.auth_config import AuthConfig, InvalidAuthConfig, parse_auth_config
from concave.functions.decorators import FunctionReference
from concave.functions.http_routes import HttpRouter
from concave.functions.load_report import LoadError, LoadProblem, LoadWarning, Places
from concave.functions.modules import AppPackage, ModuleSource, find_sources
from concave.functions.registry import Registry
from concave.functions.specs import FunctionSpec, InvalidFunction, build_spec
from concave.schema.definition import AppOptions, TableDefinition
from concave.schema.rules import ID_TABLES_OF_SYSTEM, near
from concave.schema.schema import Schema, SchemaDefinitionError
from concave.schema.validator_rules import validator_problems, walk
from concave.schema.validators import DocValidator, IdValidator
from concave.values.errors import ConcaveError

CLOCK_AND_CHANCE: Final = frozenset(("time", "datetime", "random", "secrets", "uuid"))
AUTH_MODULE: Final = "auth_config"
HTTP_MODULE: Final = "http"
NETWORK: Final = frozenset(
    ("socket", "ssl", "http", "urllib", "requests", "httpx", "aiohttp", "urllib3", "websockets", "smtplib", "ftplib")
)


@dataclass(slots=True, frozen=True)
class LoadedApp:
    """One version of an app. `version` grows with each load in this process; `modules` are by place, `auth/users`."""

    directory: Path
    version: int
    schema: Schema
    registry: Registry
    options: AppOptions
    modules: Mapping[str, ModuleType]
    warnings: tuple[LoadWarning, ...]
    package: AppPackage
    auth: AuthConfig = field(default_factory=AuthConfig)
    http: HttpRouter | None = None
    """The routes of its HTTP actions; None for an app without `http.py`, or with one that has no router."""


@dataclass(slots=True)
class _Findings:
    """What the modules hold, by module, as it is found."""

    modules: dict[str, ModuleType] = field(default_factory=dict)
    references: dict[FunctionReference[..., Any], list[tuple[ModuleSource, str]]] = field(default_factory=dict)
    tables: dict[TableDefinition, list[tuple[ModuleSource, str]]] = field(default_factory=dict)
    problems: list[LoadProblem] = field(default_factory=list)
    warnings: list[LoadWarning] = field(default_factory=list)


def load_app(directory: str | Path) -> LoadedApp:
    """Import the directory as a package and make an app of what it defines. Blocks meanwhile. Raises `LoadError`."""
    root = Path(directory).resolve()
    places = Places(root)
    if not root.is_dir():
        raise LoadError(root, [LoadProblem(str(root), 0, "there is no such directory; name the app's with --app")])
    linecache.checkcache()  # tracebacks of this version show this version's lines
    package = AppPackage(root)
    # What functions log is part of their result, so it is never dropped for want of a level (see `logs.py`).
    logging.getLogger(package.name).setLevel(logging.DEBUG)
    try:
        return _load(package, places)
    except BaseException:
        package.discard()
        raise


def _load(package: AppPackage, places: Places) -> LoadedApp:
    root = package.directory
    sources = find_sources(root)
    found = _Findings()
    for source in sources:
        _import(package, source, places, found)
    for source in sources:
        if (module := found.modules.get(source.path)) is not None:
            _collect(module, source, found)
    options = _options(found, places, root)
    auth = _auth_config(package, sources, found, places)
    http = _http_router(sources, found, places)
    functions = _functions(found, places)
    tables = _tables(found, places)
    _warn_of_imports(package, sources, functions, places, found)
    schema: Schema | None = None
    try:
        schema = Schema(tables, schema_validation=options.schema_validation)
    except SchemaDefinitionError as error:
        for problem in error.problems:
            message = f"{problem.subject}: {problem.message}. {problem.mend}"
            found.problems.append(places.problem(problem.location.file, problem.location.line, message))
    if schema is not None:
        _check_validators([spec for spec, _ in functions], schema, places, found)
    if found.problems or schema is None:
        raise LoadError(root, found.problems)
    for spec, reference in functions:
        reference.bind(spec.path)
    return LoadedApp(
        directory=root,
        version=package.version,
        schema=schema,
        registry=Registry(spec for spec, _ in functions),
        options=options,
        modules=found.modules,
        warnings=tuple(sorted(found.warnings)),
        package=package,
        auth=auth,
        http=http,
    )


def _import(package: AppPackage, source: ModuleSource, places: Places, found: _Findings) -> None:
    if not all(segment.isidentifier() for segment in source.path.split("/")) and source.path:
        found.problems.append(
            places.problem(source.file, 1, f"`{source.path}` cannot be a module's path: use letters, digits and `_`")
        )
        return
    if source.path in found.modules:
        message = f"`{source.path}` is both this file and the package of that name; keep one of them"
        found.problems.append(places.problem(source.file, 1, message))
        return
    try:
        found.modules[source.path] = package.load(source.path)
    except (Exception, SystemExit) as error:  # whatever a user's module raises is that module's problem
        found.problems.append(places.import_problem(error, source.file))


def _collect(module: ModuleType, source: ModuleSource, found: _Findings) -> None:
    for name, value in vars(module).items():
        if isinstance(value, FunctionReference):
            found.references.setdefault(value, []).append((source, name))
        elif isinstance(value, TableDefinition):
            found.tables.setdefault(value, []).append((source, name))


def _options(found: _Findings, places: Places, root: Path) -> AppOptions:
    module = found.modules.get("")
    given = [value for value in vars(module).values() if isinstance(value, AppOptions)] if module is not None else []
    if len(given) > 1:
        found.problems.append(places.problem(root / "__init__.py", 1, "define_app(...) is called more than once"))
    return given[0] if given else AppOptions()


def _auth_config(package: AppPackage, sources: list[ModuleSource], found: _Findings, places: Places) -> AuthConfig:
    """The providers that `auth_config.py` names; none if there is no such module."""
    module = found.modules.get(AUTH_MODULE)
    source = next((one for one in sources if one.path == AUTH_MODULE), None)
    if module is None or source is None:
        return AuthConfig()
    if not hasattr(module, AUTH_MODULE):
        message = 'AuthConfigMissingExportError: define `auth_config = {"providers": [...]}` in this module'
        found.problems.append(places.problem(source.file, 1, message))
        return AuthConfig()
    try:
        return parse_auth_config(getattr(module, AUTH_MODULE))
    except InvalidAuthConfig as error:
        line = _line_of(AUTH_MODULE, package.trees.get(package.full_name(AUTH_MODULE)))
        found.problems.append(places.problem(source.file, line, str(error)))
        return AuthConfig()


def _http_router(sources: list[ModuleSource], found: _Findings, places: Places) -> HttpRouter | None:
    """The variable `http` of `http.py`. The module may also hold functions only."""
    module = found.modules.get(HTTP_MODULE)
    router = getattr(module, HTTP_MODULE, None)
    if isinstance(router, HttpRouter):
        return router
    source = next((one for one in sources if one.path == HTTP_MODULE), None)
    if module is not None and source is not None:
        named = next((name for name, value in vars(module).items() if isinstance(value, HttpRouter)), None)
        if named is not None:
            message = f"the app's router must be called `http`, not `{named}`: write `http = http_router()`"
            found.problems.append(places.problem(source.file, 1, message))
    return None


def _line_of(variable: str, tree: ast.Module | None) -> int:
    """Where a module's variable is last set."""
    line = 1
    for node in [] if tree is None else tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == variable for target in targets):
            line = node.lineno
    return line


def _functions(found: _Findings, places: Places) -> list[tuple[FunctionSpec, FunctionReference[..., Any]]]:
    """The functions of all modules with their paths; what cannot be one becomes a problem."""
    functions: dict[str, tuple[FunctionSpec, FunctionReference[..., Any]]] = {}
    for reference, appearances in found.references.items():
        home = _home(reference, appearances, found)
        if home is None:
            found.warnings.append(
                LoadWarning(
                    places.relative(reference.file),
                    reference.line,
                    f"`{reference.__name__}` is no function of the app, because the name of its module starts with `_`",
                )
            )
            continue
        source, variable = home
        if not source.path:
            message = f"`{variable}`: functions are defined in modules, not in the app's own __init__.py"
            found.problems.append(places.problem(reference.file, reference.line, message))
            continue
        path = f"{source.path}:{reference.name or _exported(variable)}"
        try:
            spec = build_spec(reference, path)
        except InvalidFunction as error:
            found.problems.append(places.problem(reference.file, reference.line, str(error)))
            continue
        if path in functions:
            first = functions[path][0]
            other = f"{places.relative(first.file)}:{first.line}"
            message = f"`{path}` is defined twice; the other is at {other}: rename one of them"
            found.problems.append(places.problem(reference.file, reference.line, message))
            continue
        functions[path] = (spec, reference)
    return list(functions.values())


def _home(
    reference: FunctionReference[..., Any], appearances: list[tuple[ModuleSource, str]], found: _Findings
) -> tuple[ModuleSource, str] | None:
    """The module that a function belongs to, and its variable there: where it was defined, else the first that holds it
    (a function made by a factory elsewhere). Other modules only import it. None if only private modules hold it."""
    public = [(source, name) for source, name in appearances if not source.is_private]
    at_home = [a for a in appearances if found.modules[a[0].path].__name__ == reference.__module__]
    if at_home:
        named = next((a for a in at_home if a[1] == reference.__name__), at_home[0])
        return None if named[0].is_private else named
    return public[0] if public else None


def _exported(variable: str) -> str:
    """`list_` is called `list`."""
    return variable[:-1] if variable.endswith("_") and len(variable) > 1 else variable


def _tables(found: _Findings, places: Places) -> dict[str, TableDefinition]:
    """The tables by name, each once however many modules import it."""
    tables: dict[str, TableDefinition] = {}
    for table, appearances in found.tables.items():
        defined = [name for source, name in appearances if str(source.file) == table.location.file]
        name = defined[0] if defined else appearances[0][1]
        if name in tables:
            other = tables[name].location
            at = f"{places.relative(other.file)}:{other.line}"
            message = f"the table `{name}` is defined twice; the other is at {at}: rename one of the variables"
            found.problems.append(places.problem(table.location.file, table.location.line, message))
            continue
        try:
            for variable in dict.fromkeys(defined or [name]):
                table.bind(variable)
        except ConcaveError as error:
            found.problems.append(places.problem(table.location.file, table.location.line, str(error)))
        tables[name] = table
    return tables


def _check_validators(specs: list[FunctionSpec], schema: Schema, places: Places, found: _Findings) -> None:
    """Argument and return validators must be such as can be pushed, and name tables that there are."""
    for spec in specs:
        for what, validator in (("args", spec.args), ("returns", spec.returns)):
            if validator is None:
                continue
            where = f"`{spec.path}`, {what}"
            for problem in validator_problems(validator):
                place = f"{where}{problem.path}"
                message = f"{place}: {problem.message}. {problem.mend}"
                found.problems.append(places.problem(spec.file, spec.line, message))
            for path, child in walk(validator):
                if not isinstance(child, IdValidator | DocValidator) or child.table in schema.tables:
                    continue
                if child.table in ID_TABLES_OF_SYSTEM and isinstance(child, IdValidator):
                    continue
                message = (
                    f"{where}{path}: {child.describe()} names no table. {near(child.table, sorted(schema.tables))}"
                )
                found.problems.append(places.problem(spec.file, spec.line, message.rstrip()))


def _warn_of_imports(
    package: AppPackage,
    sources: list[ModuleSource],
    functions: list[tuple[FunctionSpec, FunctionReference[..., Any]]],
    places: Places,
    found: _Findings,
) -> None:
    """Report imports of clocks, chance and the network next to queries and mutations, which must be deterministic."""
    deterministic = {spec.module for spec, _ in functions if spec.kind != "action"}
    for source in sources:
        tree = package.trees.get(package.full_name(source.path))
        if source.path not in deterministic or tree is None:
            continue
        for name, line in _imported(tree):
            root = name.partition(".")[0]
            if root in CLOCK_AND_CHANCE:
                advice = "use ctx.now and ctx.random, which are fixed for each execution"
            elif root in NETWORK:
                advice = "reach the network from an action, in a module of its own"
            else:
                continue
            message = f"`{source.path}` defines queries or mutations and imports `{name}`: {advice}"
            found.warnings.append(LoadWarning(places.relative(source.file), line, message))


def _imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Absolute imports anywhere in a module, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.module, node.lineno
