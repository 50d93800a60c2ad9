"""Jobs on pods: the pool decides which job runs where, the dispatcher carries it out over the links.

`pool` is pure: it takes what happened and returns actions. `dispatcher` performs them. `job` is the state of
one job, `streams` moves its input and output, `spool` keeps its stdin, `results` journals its end.
"""
