"""What loading an app has to say: problems, which stop it, and warnings, which do not. Each has a file and a line."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from concave.values.errors import ConcaveError, ConfigurationError


@dataclass(slots=True, frozen=True, order=True)
class LoadProblem:
    """Something that must be mended before the app can be loaded. `file` is relative to the app's parent directory."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(slots=True, frozen=True, order=True)
class LoadWarning:
    """Something that works and probably should not be so."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: warning: {self.message}"


class LoadError(ConfigurationError):
    """An app that cannot be loaded. `problems` holds all that was found, in order of file and line."""

    def __init__(self, directory: Path, problems: Iterable[LoadProblem]) -> None:
        self.problems: Sequence[LoadProblem] = sorted(set(problems))
        count = len(self.problems)
        head = f"the app in {directory} cannot be loaded ({count} problem{'s' if count != 1 else ''}):"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]), code="LoadError")


class Places:
    """Writes places in the app's source as people look for them: `schema/messaging/messages.py`."""

    def __init__(self, directory: Path) -> None:
        self._name = directory.name
        self._parent = directory.parent
        self._inside = f"{directory}/"

    def relative(self, file: str | Path) -> str:
        text = str(file)
        return str(Path(text).relative_to(self._parent)) if text.startswith(self._inside) else text

    def problem(self, file: str | Path, line: int, message: str) -> LoadProblem:
        """Places in the app that the message names are written alike; the problem's own at its head is left out."""
        shown = self.relative(file)
        message = message.replace(self._inside, f"{self._name}/")
        return LoadProblem(shown, line, message.removeprefix(f"{shown}:{line}: "))

    def import_problem(self, error: BaseException, importing: Path) -> LoadProblem:
        """The problem behind an exception that importing a module raised: at the app's own innermost line."""
        if isinstance(error, SyntaxError) and error.filename:
            shown = f"\n    {error.text.rstrip()}" if error.text else ""
            return self.problem(error.filename, error.lineno or 1, f"{type(error).__name__}: {error.msg}{shown}")
        if isinstance(error, ConcaveError):
            text = error.message  # what the engine says of a definition stands for itself
        else:
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if frame.filename.startswith(self._inside):
                source = linecache.getline(frame.filename, frame.lineno or 1).strip()
                shown = f"\n    {source}" if source else ""
                return self.problem(frame.filename, frame.lineno or 1, f"{text}{_advice(error)}{shown}")
        return self.problem(importing, 1, f"{text}{_advice(error)}")


def _advice(error: BaseException) -> str:
    if isinstance(error, ImportError) and "partially initialized module" in str(error):
        return "; move what both modules need into a third one, or import it inside the function"
    return ""
