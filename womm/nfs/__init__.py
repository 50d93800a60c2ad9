"""An NFSv4.0, 4.1 and 4.2 server in asyncio: a library by itself, unprivileged, on one TCP port.

    server = nfs.Server([nfs.Export("/", LocalFilesystem("/srv/data"))], nfs.ServerOptions(port=2049))
    async with server:
        await server.serve_forever()

Why it is here: a folder is to be mounted by the kernels of machines on which nothing can be installed, from
a process that has no privileges, and whose files may be somewhere else. Rejected: the kernel's own server
(privileges, modules, real filesystems), NFS-Ganesha (capabilities, and no backend of our own without C),
re-exports of sshfs (it aborts when a directory is read at an offset), servers of NFSv3 (portmap, several
ports).

What it assumes
- Clients are kernels: Linux above all, but it is written to the RFCs (7530 and 7531 for 4.0, 8881 and 5662
  for 4.1, 7862 and 7863 for 4.2, 8275, 8276, 5531, 4506), which the docstrings name by section.
- The network is hostile and AUTH_SYS is no authentication: who reaches the port is any uid. So every length
  is bounded, file handles carry a MAC, an export's path can hold a secret, and all files can have one owner.
- A backend may be slow or away: then NFS4ERR_DELAY is the answer, and no connection waits for it.
- Restarts happen: file handles, identity and the right to reclaim survive them (state file, file table).

How it is made (imports point downwards)

    server              backends, listener, the sweep of leases and stalled connections
    connections         requests in, replies out; replies: 4.0's cache; recordmemory: for large records
    operations/         the operations, by topic, and the table of them
    compound            COMPOUND over the table; statuses; sessions' replies
    exports             what is offered where; the tree of names above
    state/              clients, sessions, opens, locks, leases, grace: no I/O, nothing awaits
    options             where a server listens, how long state lives, what clients may take
    attributes          fattr4 by plans; filehandles: keys with a MAC
    backends/           local: a confined directory; memory: a shipped fake
    filesystem          the seam: what a backend does
    rpc, xdr            records, calls, numbers: no I/O
    status, constants

Supported: every operation that Linux sends for ordinary work under 4.0, 4.1 and 4.2, with extended
attributes, SEEK, ALLOCATE, DEALLOCATE and COPY within an export. Answered NFS4ERR_NOTSUPP: delegations, named
attributes, pNFS, COPY between servers or asynchronous, CLONE, READ_PLUS, WRITE_SAME. Not there at all: ACLs,
callbacks, RPCSEC_GSS, UDP, RDMA, NFSv3. docs/nfs.md has the list.
"""

from womm.nfs.exports import Export
from womm.nfs.options import Limits, ServerOptions, StateLimits
from womm.nfs.server import Server

__all__ = ["Export", "Limits", "Server", "ServerOptions", "StateLimits"]
