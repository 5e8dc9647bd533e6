"""The protocol on the wire: bytes in, values out, and back. No input or output, no clock, no state of a broker.

`apis` is the table of what there is, `messages` the guide to each, `schema` and `compiler` how they come off the wire,
`frame` what stands around them; `records` and `compression` are what producers send; `state` is what brokers store.
"""
