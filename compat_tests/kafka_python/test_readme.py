"""The README's Python works when it is pasted."""

import re
import subprocess
import sys

from compat_tests.harness import DEADLINE_S, ROOT, Broker


def test_readme_example_works_when_pasted(broker: Broker) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks, "the README has no Python"
    for block in blocks:
        assert "localhost:9092" in block
        pasted = block.replace("localhost:9092", broker.bootstrap)
        done = subprocess.run([sys.executable, "-"], input=pasted, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [f"{n} hello {n}" for n in range(3)]
