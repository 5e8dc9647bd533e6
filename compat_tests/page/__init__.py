"""docs/compatibility.md: made of what the tests said, and nothing else (compat_tests/results.py writes that down).

told.py reads results; facts.py is what this tree promises (APIs, configs, tools, folders with tests); tables.py draws;
checking.py says what is wrong; `python -m compat_tests.page` writes the page or checks it.
"""
