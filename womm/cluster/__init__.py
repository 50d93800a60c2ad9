"""Clusters: where pods come from.

`base` is the protocol that a task is written against; `local` makes pods of agent processes on this
machine; `both` joins two clusters for one task. Every implementation is held by the same contract
suite (tests/contracts).
"""
