"""Faults on order: rules that say which requests are answered wrongly, late, in part, or not at all.

rules.py is what a rule is, partitions.py what a request and its answer say of topics, faults.py what becomes of a
request that a rule fires at. Nothing here is imported before somebody orders a fault.
"""
