"""The file server of a task: the process in its pod that shows one folder to the task's nodes over NFSv4.

`--local DIR`: the folder is a directory of the pod (the eager shares). `--lazy SOCKET`: it is the user's own
folder. The user's side dials in over the socket and is there an SSH *server* that offers two subsystems,
`sftp` and `womm-control`; this process is the client, so the user's machine listens nowhere.

Rejected: an sshfs mount that is exported again (privileges, stale listings, aborts at READDIR with an
offset); caching clients of SFTP (none has single-flight, write-behind with a log, invalidation by message).
"""
