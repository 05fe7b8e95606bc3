"""Importing an app's directory as a package that nobody else sees.

Each load gets a package of its own in `sys.modules`, named after the directory and numbered: `schema@3`, with modules
`schema@3.messaging.messages`. So

* a reload starts clean, while functions of the version before keep the modules they were made from;
* a user's `http.py` or `logging.py` hides nothing, because nothing of the app is importable by an absolute name,
  except by the app itself: there `import schema.messaging.messages` is compiled as an import of its own package.

Sources are compiled on each load and never taken from `__pycache__`: its files are matched by size and whole seconds,
and two saves within a second are what a hot reload sees.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

_SKIPPED_DIRECTORIES: Final = frozenset(("__pycache__", "node_modules", "_generated"))
_versions = itertools.count(1)


@dataclass(slots=True, frozen=True)
class ModuleSource:
    """One module of the app. `path` is its place in the app, `messaging/messages`; empty for the package itself."""

    path: str
    file: Path

    @property
    def is_private(self) -> bool:
        """Modules at or below a name that starts with `_` hold no functions."""
        return any(segment.startswith("_") for segment in self.path.split("/"))

    @property
    def is_package(self) -> bool:
        return self.file.name == "__init__.py"


def find_sources(directory: Path) -> list[ModuleSource]:
    """All modules below a directory, with or without `__init__.py` files between, in order of path."""
    sources = []
    for file in directory.rglob("*.py"):
        relative = file.relative_to(directory)
        folders = relative.parts[:-1]
        if any(folder in _SKIPPED_DIRECTORIES or folder.startswith(".") for folder in folders):
            continue
        if relative.name == "__main__.py" or relative.name.startswith("."):
            continue
        segments = folders if relative.name == "__init__.py" else (*folders, relative.stem)
        sources.append(ModuleSource("/".join(segments), file))
    return sorted(sources, key=lambda source: (source.path, not source.is_package))


class AppPackage:
    """One load of an app's directory: its modules, importable by their place in the app."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.version = next(_versions)
        self.public_name = directory.name
        self.name = f"{directory.name.replace('.', '_')}@{self.version}"
        self.trees: dict[str, ast.Module] = {}
        """The syntax tree of each module that was compiled, by full module name."""
        _finder.packages[self.name] = self

    def full_name(self, path: str) -> str:
        """The name in `sys.modules` of the module at `path`."""
        return f"{self.name}.{path.replace('/', '.')}" if path else self.name

    def load(self, path: str) -> ModuleType:
        """Import the module at `path`; raises whatever its code raises."""
        return importlib.import_module(self.full_name(path))

    def discard(self) -> None:
        """Forget the package: after a load that failed, or when the last function of this version has ended."""
        _finder.packages.pop(self.name, None)
        for name in [name for name in sys.modules if name == self.name or name.startswith(self.name + ".")]:
            del sys.modules[name]

    def find_spec(self, name: str) -> importlib.machinery.ModuleSpec | None:
        """The spec of one of the package's modules or directories. `users.py` and a directory `users` may stand side by
        side: then the module is `users`, and the directory's modules are found through it."""
        place = self.directory.joinpath(*name.split(".")[1:])
        init, file = place / "__init__.py", place.with_name(place.name + ".py")
        is_root = place == self.directory
        if init.is_file() or ((is_root or not file.is_file()) and place.is_dir()):
            loader = _AppModuleLoader(self, init if init.is_file() else None)
            spec = importlib.machinery.ModuleSpec(name, loader, origin=str(init), is_package=True)
            spec.submodule_search_locations = [str(place)]
        elif not is_root and file.is_file():
            loader = _AppModuleLoader(self, file, beside=place if place.is_dir() else None)
            spec = importlib.machinery.ModuleSpec(name, loader, origin=str(file))
        else:
            return None
        spec.has_location = loader.file is not None
        return spec

    def compile(self, name: str, file: Path) -> CodeType:
        """The code of one module. Raises `SyntaxError`, or `ValueError` for text that cannot be decoded."""
        tree = ast.parse(file.read_bytes(), filename=str(file))
        self.trees[name] = tree
        return compile(_OwnImports(self).visit(tree), str(file), "exec", dont_inherit=True)

    def holds(self, name: str) -> bool:
        """Whether an absolute name means a module of the app: an app called `http` may still import `http.client`."""
        root, dot, rest = name.partition(".")
        if root != self.public_name:
            return False
        return self.find_spec(f"{self.name}.{rest}") is not None if dot else root not in sys.stdlib_module_names


class _OwnImports(ast.NodeTransformer):
    """Leads absolute imports of the app's own modules to the package that this load made."""

    def __init__(self, package: AppPackage) -> None:
        self._package = package

    def visit_Import(self, node: ast.Import) -> ast.Import:
        names: list[ast.alias] = []
        for alias in node.names:
            if not self._package.holds(alias.name):
                names.append(alias)
                continue
            own = self._package.name + alias.name[len(self._package.public_name) :]
            if alias.asname is None:
                # `import schema.users` binds `schema`; the second import only loads the module.
                names.append(ast.alias(self._package.name, self._package.public_name))
                names.append(ast.alias(own, "_concave_imported"))
            else:
                names.append(ast.alias(own, alias.asname))
        return ast.fix_missing_locations(ast.copy_location(ast.Import(names), node))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        if node.level or node.module is None or not self._package.holds(node.module):
            return node
        own = self._package.name + node.module[len(self._package.public_name) :]
        return ast.copy_location(ast.ImportFrom(own, node.names, 0), node)


class _AppModuleLoader(importlib.abc.Loader):
    """Compiles and runs one module of an app; a directory without `__init__.py` is an empty package."""

    def __init__(self, package: AppPackage, file: Path | None, *, beside: Path | None = None) -> None:
        """`beside` is the directory of the module's own name, whose modules are to be found through the module."""
        self.package = package
        self.file = file
        self._beside = beside

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        if self._beside is not None:
            module.__path__ = [str(self._beside)]
        if self.file is not None:
            exec(self.package.compile(module.__name__, self.file), module.__dict__)

    def get_source(self, fullname: str) -> str | None:
        """For `linecache`, which shows source lines in tracebacks."""
        return self.file.read_text() if self.file is not None else None


class _AppFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of loaded apps; knows nothing of any other name."""

    def __init__(self) -> None:
        self.packages: dict[str, AppPackage] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package = self.packages.get(fullname.partition(".")[0])
        return None if package is None else package.find_spec(fullname)


_finder: Final = _AppFinder()
sys.meta_path.insert(0, _finder)
