"""README's lists of where the conformance ideas are tested name what there is."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
README = (HERE / "README.md").read_text()
TESTS = {
    name
    for file in (ROOT / "tests").glob("*/**/*.py")
    if "node_modules" not in file.parts
    for name in re.findall(r"def test_(\w+)\(", file.read_text())
}


def test_files_and_tests_exist() -> None:
    rows = re.findall(r"^\| [\d, to]+ \| (.*) \|$", README, re.MULTILINE)
    assert len(rows) == 50
    for row in rows:
        for name in re.findall(r"`([^`]+)`", row):
            if name.startswith("/"):
                continue
            found = (
                (ROOT / name).exists()
                or (HERE / name).exists()
                or (HERE / "scenarios" / name).exists()
                or (ROOT / "tests" / "golden" / "recordings" / f"{name}.wire").exists()
                or name in TESTS
            )
            assert found, f"{name} does not exist: {row}"
