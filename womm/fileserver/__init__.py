"""The file server of a task: the process in its pod that shows one folder to the task's nodes over NFSv4.

`--local DIR`: the folder is a directory of the pod (the eager shares). `--lazy SOCKET`: it is the user's own
folder. The user's side dials in over the socket (`listener`) and is an SSH *server* there, with two
subsystems: on `connection` run an `sftp` client and the `control` channel. This process is the SSH client, so
the user's machine listens nowhere. What goes over the connection stands in womm.wire.

Rejected: an sshfs mount that is exported again (privileges, stale listings, aborts at READDIR with an
offset); caching clients of SFTP (none has single-flight, write-behind with a log, invalidation by message).
"""
