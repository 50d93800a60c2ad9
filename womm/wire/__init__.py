"""The wire protocol of the lazy share: what the user's machine and the file server in the pod say.

The user's machine dials the file server and is the SSH *server* there (`login`: names, ciphers, keepalives;
`secret`: the files by which both ends know each other). On that connection run two subsystems:

- `sftp`: SFTP version 6. The file server sends requests, the user's machine answers them. `fields` packs and
  reads the fields of a packet, `sftp` has the numbers and the tables of errors, `attributes` those of files,
  `replies` the answers, `extensions` the requests that the draft does not have.
- `womm-control`: lines of JSON in both directions. `control` has every message.

A new field, request or message is added here, once; both ends import it. The package is pure: bytes come in,
values go out. A peer's garbage raises BadMessage and nothing else.

It runs on the user's machine and in the file server's pod, so it imports little, and never asyncssh.
Rejected: one module at each end (the two copies of a table have to agree, and no test can say that they do).
"""
