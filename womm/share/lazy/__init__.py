"""The lazy share, on the user's machine: nothing is copied ahead, the file server asks for what jobs use.

The user's machine dials the file server, and is the SSH server on that connection (`ssh`). The file server
opens two channels there. What goes over them stands in womm.wire; the other end is womm.fileserver.

- SFTP: `sftp_server` answers what the file server asks of the folder. `exported_folder` does it;
  `guard` says what pods may see and change; `versions` keeps the user's version of a file that both sides
  change.
- Control: `control` is what is said over all connections. Before a job starts, `barriers` have the file
  server know what `watch` has seen change here; after it, `flushes` have it write what the job wrote. `names`
  keeps the numbers of files for a file server whose disk is lost, `unsent` what it has not sent yet.

`connection` ties these together for one folder and lasts over cuts. `task` is the share to a task and its
jobs (see womm.share.base); `unsent_report` and `kept_report` tell the user what is missing, or kept twice.

Rejected: asyncssh's SFTPServer (its `chroot` is no fence: it maps paths by name and then follows links; and
it answers each request with a packet of its own), sshfs in the pod (needs privileges, caches stale listings),
watchfiles (debounces, cannot be asked "what has changed up to now?").
"""
