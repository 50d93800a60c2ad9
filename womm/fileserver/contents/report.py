"""What the user's side hears with the next flush: `Report`."""

from womm.fileserver.tree.nodes import FileNode


class Report:
    """Paths that clients have changed, and writes that are lost, since the last report."""

    def __init__(self) -> None:
        self.touched: dict[bytes, None] = {}
        self.failed: dict[bytes, OSError] = {}
        """Writes that the user's side has refused and that are not tried again."""

    def __repr__(self) -> str:
        return f"<Report {len(self.touched)} touched, {len(self.failed)} failed>"

    def touch(self, node: FileNode) -> None:
        """A client has changed a file."""
        if not node.gone:
            self.touched[node.report_by_path()] = None

    def touch_path(self, path: bytes) -> None:
        """A client has changed what this path leads to."""
        self.touched[path] = None

    def lose(self, path: bytes, error: OSError) -> None:
        """Writes to the file that had this path are lost."""
        self.failed[path] = error
