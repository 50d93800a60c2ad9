"""A task from start to end. Read `task` first: it is the story.

`pool` decides which job runs where and what a lost worker means (pure: no I/O, returns actions);
`dispatch` carries the decisions out over links; `shims` is where GNU parallel's jobs come in.
"""
