"""What lies here is put into a project's copy by test_contributing.py, and is no test."""

collect_ignore_glob = ["*.py"]
