"""The tree of names and files that the file server knows, and how fresh each of them is.

From below to above:

- `use`: how clients use one file now: its opens, its handle on the user's side, its unsent writes.
- `nodes`: `FileNode`, a file, and `Directory`, the names in it. What happens to a file is a method here
  (`seen`, `doubted`, `wrote`, `flushed`, `lost`, ...); no other module assigns a field.
- `changes`, `freshness`: the epoch, and which answers of the user's side are believed.
- `table`: names and file numbers on the pod's disk; `names`: their copy on the user's side.
- `tree`: `Tree`, all nodes: which file a name is. It asks nothing.
- `questions`, `lookup`, `lookahead`: what asks the user's side, and asks ahead.
- `turns`, `doubts`: names that clients are changing; changes whose answer was lost.

A new fact about files begins in `FileNode.seen`; a new question in `lookup`; a rule of what to believe in
`freshness`.

An *epoch* is the time between two connections, or between two times at which changes were missed. The user's
files are on *the user's side*; the server's own state is on *the pod's disk*.
"""
