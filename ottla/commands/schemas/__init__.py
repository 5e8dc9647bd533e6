"""Messages that kafka-python does not know, in the form in which it reads its own. Read by requests.py."""
