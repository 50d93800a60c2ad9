"""The operations, by topic, and the table of them. Which rows a minor version has is in the table.

An operation that the table leaves out is answered NFS4ERR_NOTSUPP where the minor version knows it:
other delegations than of files to read, named attributes, pNFS, asynchronous and inter-server COPY, CLONE,
READ_PLUS, WRITE_SAME.
"""

from typing import Final

from womm.nfs.compound import Operation, Row
from womm.nfs.constants import Op
from womm.nfs.operations import attrs, clients, data, delegations, handles, locking, names, opens
from womm.nfs.xdr import pack_u32

_ALL: Final[dict[Op, Operation]] = {
    Op.ACCESS: handles.op_access,
    Op.CLOSE: opens.op_close,
    Op.COMMIT: data.op_commit,
    Op.CREATE: names.op_create,
    Op.GETATTR: attrs.op_getattr,
    Op.GETFH: handles.op_getfh,
    Op.LINK: names.op_link,
    Op.LOCK: locking.op_lock,
    Op.LOCKT: locking.op_lockt,
    Op.LOCKU: locking.op_locku,
    Op.LOOKUP: handles.op_lookup,
    Op.LOOKUPP: handles.op_lookupp,
    Op.NVERIFY: attrs.op_nverify,
    Op.OPEN: opens.op_open,
    Op.OPEN_DOWNGRADE: opens.op_open_downgrade,
    Op.READ: data.op_read,
    Op.READDIR: names.op_readdir,
    Op.READLINK: names.op_readlink,
    Op.REMOVE: names.op_remove,
    Op.RENAME: names.op_rename,
    Op.SAVEFH: handles.op_savefh,
    Op.SECINFO: handles.op_secinfo,
    Op.VERIFY: attrs.op_verify,
    Op.WRITE: data.op_write,
}
_WITHOUT_HANDLE: Final[dict[Op, Operation]] = {
    Op.PUTFH: handles.op_putfh,
    Op.PUTPUBFH: handles.op_putrootfh,
    Op.PUTROOTFH: handles.op_putrootfh,
    Op.RESTOREFH: handles.op_restorefh,
}
_ONLY_4_0: Final[dict[Op, Operation]] = {
    Op.RENEW: clients.op_renew,
    Op.SETCLIENTID: clients.op_setclientid,
    Op.SETCLIENTID_CONFIRM: clients.op_setclientid_confirm,
    Op.RELEASE_LOCKOWNER: locking.op_release_lockowner,
}
_SINCE_4_1: Final[dict[Op, Operation]] = {
    Op.BIND_CONN_TO_SESSION: clients.op_bind_conn_to_session,
    Op.EXCHANGE_ID: clients.op_exchange_id,
    Op.CREATE_SESSION: clients.op_create_session,
    Op.DESTROY_SESSION: clients.op_destroy_session,
    Op.DESTROY_CLIENTID: clients.op_destroy_clientid,
    Op.FREE_STATEID: locking.op_free_stateid,
    Op.TEST_STATEID: locking.op_test_stateid,
    Op.RECLAIM_COMPLETE: clients.op_reclaim_complete,
}
_SINCE_4_2: Final[dict[Op, Operation]] = {
    Op.ALLOCATE: data.op_allocate,
    Op.COPY: data.op_copy,
    Op.DEALLOCATE: data.op_deallocate,
    Op.IO_ADVISE: data.op_io_advise,
    Op.SEEK: data.op_seek,
    Op.GETXATTR: attrs.op_getxattr,
    Op.SETXATTR: attrs.op_setxattr,
    Op.LISTXATTRS: attrs.op_listxattrs,
    Op.REMOVEXATTR: attrs.op_removexattr,
}

_MODIFIES: Final = {
    Op.ALLOCATE,
    Op.CLOSE,
    Op.COPY,
    Op.CREATE,
    Op.CREATE_SESSION,
    Op.DEALLOCATE,
    Op.DELEGRETURN,
    Op.DESTROY_CLIENTID,
    Op.DESTROY_SESSION,
    Op.EXCHANGE_ID,
    Op.FREE_STATEID,
    Op.LINK,
    Op.LOCK,
    Op.LOCKU,
    Op.OPEN,
    Op.OPEN_CONFIRM,
    Op.OPEN_DOWNGRADE,
    Op.RECLAIM_COMPLETE,
    Op.REMOVE,
    Op.REMOVEXATTR,
    Op.RENAME,
    Op.SETATTR,
    Op.SETCLIENTID,
    Op.SETCLIENTID_CONFIRM,
    Op.SETXATTR,
    Op.WRITE,
}
"""What is done only if its result has room in the reply, and what 4.0's reply cache keeps answers of."""

TABLE: Final[dict[Op, Row]] = {
    **{op: Row(op, run) for op, run in _ALL.items()},
    **{op: Row(op, run, needs_handle=False) for op, run in _WITHOUT_HANDLE.items()},
    **{op: Row(op, run, last_minor=0, needs_handle=False) for op, run in _ONLY_4_0.items()},
    **{op: Row(op, run, first_minor=1, needs_handle=False) for op, run in _SINCE_4_1.items()},
    **{op: Row(op, run, first_minor=2) for op, run in _SINCE_4_2.items()},
    Op.DELEGRETURN: Row(Op.DELEGRETURN, delegations.op_delegreturn, first_minor=1),
    Op.OPEN_CONFIRM: Row(Op.OPEN_CONFIRM, opens.op_open_confirm, last_minor=0),
    Op.SECINFO_NO_NAME: Row(Op.SECINFO_NO_NAME, handles.op_secinfo_no_name, first_minor=1),
    # A failed SETATTR says which attributes it has set: none.
    Op.SETATTR: Row(Op.SETATTR, attrs.op_setattr, error_body=pack_u32(0)),
}
for _op in _MODIFIES:
    TABLE[_op].modifies = True
