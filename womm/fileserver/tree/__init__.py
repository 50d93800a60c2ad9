"""The tree of names and files that the file server knows, and how fresh each of them is."""
