"""The pages of docs/ that teach testing, run as their readers would: every block of code is a file."""
