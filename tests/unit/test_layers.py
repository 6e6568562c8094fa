"""Every import that the house forbids, planted in a copy of it, is reported by import-linter."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import tomllib
from itertools import pairwise, permutations, product
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("wink_tasks", "workers", "beat")
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
DRIVERS = CONTRACTS["drivers"]["forbidden_modules"]
# Lowest first; the names in one row are blind to each other.
LAYERS = [
    [f"wink_tasks.{name.strip(' ()')}" for name in row.split("|")] for row in reversed(CONTRACTS["layers"]["layers"])
]
FORBIDDEN = {
    "layers": [
        *(wall for lower, upper in pairwise(LAYERS) for wall in product(lower, upper)),
        *(wall for row in LAYERS for wall in permutations(row, 2)),
    ],
    "deployables": [*product(["wink_tasks.cli", "wink_tasks.core"], ["workers", "beat"]), *permutations(PACKAGES[1:])],
    "adapters": list(permutations([f"wink_tasks.adapters.{name}" for name in ("celery", "providers", "redis")], 2)),
    "core": list(product(["wink_tasks.core"], CONTRACTS["core"]["forbidden_modules"])),
    "drivers": [
        *product(["wink_tasks.core", "wink_tasks.ports", "wink_tasks.runtime", "wink_tasks.testing"], DRIVERS),
        *product(
            ["wink_tasks.wiring", "wink_tasks.app", "wink_tasks.cli", "workers", "beat"],
            sorted({*DRIVERS} - {"celery"}),
        ),
    ],
}


def plant(house: Path, importer: str, imported: str) -> str:
    """Write the import, and make what is not built yet; the module that now holds it."""
    for module in (importer, imported):
        path = house.joinpath(*module.split("."))
        if module.startswith(PACKAGES) and not path.with_suffix(".py").exists():
            path.mkdir(exist_ok=True)
            (path / "__init__.py").touch()
    path = house.joinpath(*importer.split("."))
    module, file = (
        (f"{importer}.planted", path / "planted.py") if path.is_dir() else (importer, path.with_suffix(".py"))
    )
    with file.open("a") as source:
        source.write(f"\nimport {imported}\n")
    return module


def lint(house: Path, contract: str) -> tuple[int, str]:
    """Exit code and report of import-linter on this copy alone."""
    command = [
        str(Path(sysconfig.get_path("scripts"), "lint-imports")),
        "--no-cache",
        "--no-logo",
        "--contract",
        contract,
    ]
    done = subprocess.run(
        command,
        cwd=house,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(house), "COLUMNS": "400"},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of everything that is linted."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_each_contract_has_its_plants() -> None:
    assert FORBIDDEN.keys() == CONTRACTS.keys()


@pytest.mark.parametrize("contract", FORBIDDEN)
def test_a_forbidden_import_breaks_its_contract(house: Path, contract: str) -> None:
    planted = [(plant(house, importer, imported), imported) for importer, imported in FORBIDDEN[contract]]

    code, report = lint(house, contract)

    assert code == 1, report
    unseen = [f"{module} -> {imported}" for module, imported in planted if f"{module} -> {imported} (l." not in report]
    assert unseen == [], report


def test_a_module_without_a_layer_breaks_the_contract(house: Path) -> None:
    (house / "wink_tasks" / "helpers.py").touch()

    code, report = lint(house, "layers")

    assert code == 1
    assert "wink_tasks.helpers" in report
