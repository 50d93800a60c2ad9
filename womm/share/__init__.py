"""Shares: how the folder gets into pods. Here is the user's side of the lazy one.

Nothing is copied ahead: the file server in the pod asks for what its NFS clients touch, over one SSH
connection that the user's machine opens (`lazy`), on which it is the server of two subsystems (`ssh`): a
control channel, and SFTP on the folder (`exporter`, `sftp_server`, wire format in `sftp`). `fence` is the
only module that touches files, `ignore` hides what `.wommignore` names, and `watch` says what has changed
here since it was last asked.

Rejected: asyncssh's SFTPServer (its `chroot` is no fence: it maps paths by name and then follows links; and
it answers each request with a packet of its own), sshfs in the pod (needs privileges, caches stale listings),
watchfiles (debounces, cannot be asked "what has changed up to now?").
"""
