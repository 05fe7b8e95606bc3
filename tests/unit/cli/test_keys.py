"""`concave keys create`."""

from __future__ import annotations

from pathlib import Path

from concave.auth.admin_keys import AdminKeys
from concave.cli.keys import create


def test_both_keys_follow_from_the_deployments(tmp_path: Path) -> None:
    full = create(tmp_path / "app", tmp_path / "data", read_only=False)
    read_only = create(tmp_path / "app", tmp_path / "data", read_only=True)
    assert full.startswith("app|")
    assert (tmp_path / "data" / "admin_key").read_text().strip() == full
    assert not AdminKeys(full).caller(full).is_read_only
    assert AdminKeys(full).caller(read_only).is_read_only
    assert create(tmp_path / "app", tmp_path / "data", read_only=True) == read_only
