"""The control surface: HTTP with JSON, for whoever runs or tests a broker. Imported only where --control asks for it.

http.py speaks HTTP, routes.py says which call a request is, and the rest are those calls, an area a module. None of
them decides anything about the cluster: they ask the same objects that a test in the process would ask.
"""
