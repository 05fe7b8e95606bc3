"""A cluster broken on purpose for some twenty seconds: a server and the primary killed, a link cut (I1 to I7)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_official_clients_notice_nothing_but_delay_while_processes_and_links_fail() -> None:
    packages = REPOSITORY / "chaos" / "clients" / "node_modules" / "convex"
    assert packages.exists(), "the npm packages of chaos/clients are missing: run `make setup`"
    command = [sys.executable, "-m", "chaos", "--short", "--json", "--clients", "6"]
    completed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=220, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    report = json.loads(completed.stdout)
    assert report["broken"] == []
    assert report["acknowledged"] > 100
    assert {"kill-server", "kill-primary", "cut-database", "cut-clients"} <= report["kinds"].keys()
