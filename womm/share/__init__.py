"""Shares: how the folder of the task gets into pods, and what jobs write there gets back.

There are two. The lazy share (`lazy`) copies nothing ahead: a file server in the cluster serves the folder
over NFS and asks the user's machine for what jobs use. The eager share (`eager`) copies the whole folder to
the cluster before the first job and brings back what jobs have written.

`base` says what every share is to a task. Here, too, is what both need of the user's folder: `fence` is the
only module that touches its files, and lets no path or symbolic link lead out of it; `ignore` hides what
`.wommignore` names; `control` knows womm's own files, which pods may not change; `beside` names the copies of
files that both sides have changed.
"""
