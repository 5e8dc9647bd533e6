"""The project in `shop` is run by test_sample_project.py, as its owner would; it is none of our own tests."""

collect_ignore = ["shop"]
