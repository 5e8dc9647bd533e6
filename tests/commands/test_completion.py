"""Completion, by really asking a shell."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ottla.cli import COMMANDS, root_parser, run

ASK = """\
source "$1"; shift
function=$(complete -p ottla | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=(ottla "$@"); COMP_CWORD=$#; COMPREPLY=()
"$function"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with what `ottla completion bash` prints."""
    path = tmp_path_factory.mktemp("completion") / "ottla.bash"
    with path.open("wb") as file:
        subprocess.run([sys.executable, "-m", "ottla", "completion", "bash"], stdout=file, check=True, timeout=180)
    return path


# A system without bash is no failure: the other tests of completion need none.
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["to"], {"topics"}),
        (["topics", "de"], {"describe", "delete"}),
        (["topics", "create", "--rep"], {"--replication"}),
        (["produce", "orders", "--acks", ""], {"0", "1", "all"}),
        (["completion", ""], {"bash", "zsh", "tcsh"}),
        (["configs", "show", "client"], {"client-metrics"}),
        (["serve", "--eph"], {"--ephemeral"}),
        (["log", "du"], {"dump"}),
    ],
)
def test_bash_offers(script: Path, words: list[str], offered: set[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        return
    done = subprocess.run(
        [bash, "--norc", "-c", ASK, "bash", str(script), *words],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert set(done.stdout.split()) == offered
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_each_shell_hears_of_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell], started_ms=0) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


def test_examples_of_all_helps_are_right() -> None:
    """Each line of a help that is an example parses; what a shell would do to it is left out."""
    import shlex

    from ottla.broker.errors import UsageError

    root = root_parser(*COMMANDS)
    parsers = [root, *root.commands.values()]
    seen = 0
    for parser in parsers:
        for line in (parser.epilog or "").splitlines():
            if not line.startswith("  ottla ") or "ottla-data" in line:
                continue
            command = line.strip().partition("   ")[0].split(" > ")[0].split(" < ")[0]
            for part in command.replace("&&", "|").split("|"):
                words = shlex.split(part)[1:]
                if not words or "--help" in words:
                    continue
                asked = root.commands[words[0]]
                if asked.default_verb is not None and (len(words) == 1 or words[1] not in asked.commands):
                    words.insert(1, asked.default_verb)
                try:
                    root.parse_args(words)
                except UsageError as error:
                    pytest.fail(f"{line}: {error}")
                seen += 1
    assert seen > 35
