"""What clients change, operation by operation; `cached.CachedFilesystem` calls it.

- `changing`: what all changes of names have in common: paths, turns, doubts, and the look after the change.
- `creations`: CREATE, OPEN that creates, LINK.
- `removals`: REMOVE and RENAME.
- `attributes`: SETATTR.
- `opens`: OPEN of a file that is there.
- `data`: SEEK, ALLOCATE, DEALLOCATE, COPY. READ, WRITE and COMMIT are in `contents`.
"""
