"""The journal of a task: events, appended to a file, folded into a state.

`events` has the kinds of events, `codec` makes lines of them, `store` and `output` keep them and the jobs'
output in files, `fold` makes a task's state of them, and `observe` adds what is known of its processes.

A task's coordinator writes; `status`, `logs`, `finish` and a later resume read, at the same time
and after its death. Rejected: SQLite (less than half the rate in WAL mode, 145 commits a second
without it, and no reading with `less`), one file per job (millions of small files for a million
jobs), and a pid file to tell whether the coordinator lives (the number may be another process's by
now). It assumes a local file system with flock(2).
"""
