"""Each page that teaches testing, run with the tools of its language, the way the page says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from compat_tests import drivers
from compat_tests.harness import ROOT
from compat_tests.recipes.pages import command, files

DOCS = ROOT / "docs"
PYTHON = (DOCS / "testing.md", ROOT / "README.md")
DEADLINE_S = 300


def laid_out(page: Path, folder: Path) -> list[str]:
    """Writes the page's files; their names."""
    texts = files(page)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return list(texts)


def run(folder: Path, *words: str | Path, env: Mapping[str, str] | None = None) -> str:
    """What the command printed; it must succeed."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}"
    return done.stdout


def under_ottla(page: str, runner: str) -> list[str]:
    """The page's command up to its test runner, with this Python."""
    words = command(DOCS / page)
    at = words.index("--")
    assert words[0] == "python"
    assert " ".join(words[at + 1 :]).startswith(runner)
    return [sys.executable, *words[1 : at + 1]]


@pytest.mark.parametrize(
    ("page", "name"), [pytest.param(page, name, id=name) for page in PYTHON for name in files(page)]
)
def test_python(tmp_path: Path, page: Path, name: str) -> None:
    laid_out(page, tmp_path)
    said = run(tmp_path, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name)
    assert " passed" in said
    assert "skipped" not in said


@pytest.mark.compat
def test_go(tmp_path: Path) -> None:
    laid_out(DOCS / "testing-go.md", tmp_path)
    client = ROOT / "compat_tests" / "franz_go"
    module = (client / "go.mod").read_text().replace("ottla.compat/driver\n", "orders\n", 1)
    module = "\n".join(line for line in module.splitlines() if "ottla.compat/driving" not in line)
    (tmp_path / "go.mod").write_text(module)
    (tmp_path / "go.sum").write_text((client / "go.sum").read_text())
    assert run(tmp_path, "gofmt", "-l", ".") == ""
    run(tmp_path, "go", "vet", "./...")
    said = run(tmp_path, *under_ottla("testing-go.md", "go test"), "go", "test", "-count=1", "-v", "./...")
    assert said.count("--- PASS") >= 9
    assert "SKIP" not in said


@pytest.mark.compat
def test_javascript(tmp_path: Path) -> None:
    laid_out(DOCS / "testing-javascript.md", tmp_path)
    (tmp_path / "node_modules").symlink_to(drivers.built("kafkajs") / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}\n')
    said = run(tmp_path, *under_ottla("testing-javascript.md", "node --test"), "node", "--test", "--test-reporter=tap")
    assert "# fail 0" in said
    assert "# skipped 0" in said
    assert "# pass 0" not in said


@pytest.mark.compat
def test_java(tmp_path: Path) -> None:
    names = laid_out(DOCS / "testing-java.md", tmp_path)
    jars = drivers.built("recipes") / "jars"
    classpath = f"{tmp_path / 'classes'}{os.pathsep}{jars}/*"
    (tmp_path / "classes").mkdir()
    run(tmp_path, "javac", "-Xlint:all", "-Werror", "-d", "classes", "-cp", classpath, *names)
    runner = ("java", "-Xmx256M", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off")
    parallel = "junit.jupiter.execution.parallel.enabled=true"
    main = ("-cp", classpath, "org.junit.platform.console.ConsoleLauncher", "execute", "--scan-classpath", "classes")
    said = run(
        tmp_path, *under_ottla("testing-java.md", "mvn test"), *runner, *main, f"--config={parallel}", "--details=tree"
    )
    assert "0 tests failed" in said
    assert "0 tests skipped" in said


def test_a_page_is_its_files(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "text\n```console\n$ python -m it -- run\n```\n```python\nshown()\n```\n"
        "```python a.py\nx = 1\n```\n```js b.js\n```\n"
    )
    assert files(page) == {"a.py": "x = 1\n", "b.js": ""}
    assert command(page) == ["python", "-m", "it", "--", "run"]
    page.write_text("```python a.py\n```\n```python a.py\n```\n")
    with pytest.raises(AssertionError, match=r"two files a\.py"):
        files(page)
