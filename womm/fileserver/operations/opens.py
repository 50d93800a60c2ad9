"""OPEN of a file that is there: `Opens`."""

import errno

from womm.fileserver.contents.contents import Contents
from womm.fileserver.contents.fetch import OpenFile
from womm.fileserver.tree.lookup import Lookup
from womm.fileserver.tree.nodes import FileNode
from womm.nfs.constants import SHARE_WRITE, FileType
from womm.nfs.status import NFSError, Status


class Opens:
    """Opens regular files, for clients."""

    def __init__(self, lookup: Lookup, contents: Contents) -> None:
        self._lookup, self._link = lookup, lookup.link
        self._contents = contents

    async def open(self, node: FileNode, access: int) -> OpenFile:
        """Open a file; to write, open it on the user's side, too. Raises NFSError, OSError."""
        if node.kind is not FileType.REGULAR:
            raise NFSError(Status.INVAL)
        if node.gone and not node.use.opens:
            raise NFSError(Status.STALE)
        node.use.opened()
        file = OpenFile(node, access)
        try:
            if access & SHARE_WRITE:
                await self._may_write(node)
                file.known_edits = node.user_edits
            elif node.use.leaving:
                await self._contents.handles.hold(node)
            if node.gone and node.use.held is None and self._link.up:
                raise NFSError(Status.STALE)
        except OSError as exc:
            self._contents.close(file)
            if exc.errno in (errno.ENOENT, errno.ESTALE):
                raise NFSError(Status.STALE) from exc  # its name leads elsewhere by now
            raise
        except BaseException:
            self._contents.close(file)
            raise
        return file

    async def _may_write(self, node: FileNode) -> None:
        """Have a file open for writing on the user's side, which may refuse it."""
        if self._link.up:
            await self._contents.handles.open(node, write=True)
            await self._lookup.fresh(node)  # so that its client sees it as it is now
        elif self._link.connections and not node.use.write_admitted:
            raise NFSError(Status.DELAY)
