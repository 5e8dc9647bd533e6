"""The modules of messages are what the specifications say: `tools/sync_messages.py --check`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "sync_messages.py"


def check(root=ROOT):
    script = root / "tools" / "sync_messages.py"
    return subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)


def test_nothing_differs():
    result = check()
    assert result.returncode == 0, result.stdout + result.stderr


def test_differences_are_named(tmp_path):
    for name in (
        "tools/sync_messages.py",
        "tests/wire/data/schemas.json.gz",
        "wire/apis.py",
        *(
            f"wire/{folder}/{file.name}"
            for folder in ("messages", "state")
            for file in (ROOT / "wire" / folder).glob("*.py")
        ),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    assert check(tmp_path).returncode == 0
    heartbeat = tmp_path / "wire/messages/heartbeat.py"
    heartbeat.write_text(heartbeat.read_text().replace("VALID = (0, 4)", "VALID = (0, 3)"))
    (tmp_path / "wire/messages/fetch.py").unlink()
    (tmp_path / "wire/messages/leader_and_isr.py").write_text("")
    result = check(tmp_path)
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        "wire/messages/fetch.py is missing",
        "wire/messages/heartbeat.py differs from the specification",
        "wire/messages/leader_and_isr.py is in no specification",
    ]
