"""A task from its start to its end. Read `session` first: it is the story.

session     open_task: all that a task has, made in order, and removed in the reverse order
clusters    which cluster the settings name; shares: which share; runtime: the folder for sockets
readiness   waiting for workers, and what womm says meanwhile
parallel    `womm parallel`: an open task, an engine, a progress line (bar), signals
shell       `womm shell`: an open task and one job with this terminal (terminal)
doctor      `womm doctor`: a worker, looked at without a task
resume      the results of an interrupted run, for `--resume`
listing     the tasks that there are, for `womm status`; cleanup: the end of those whose coordinator died

A new command that runs jobs is one more caller of open_task. It decides nothing about jobs: that is the
dispatcher's.
"""
