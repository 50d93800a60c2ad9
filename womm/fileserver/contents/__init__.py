"""What is in the files: blocks that come from the user's side, and writes that go there behind.

- `contents`: `Contents` makes all parts and holds them together from start to stop.
- Reading: `reader` puts unsent writes over the blocks; `fetch` gets blocks, once and ahead; `blocks` caches
  them in memory and on the pod's disk.
- Writing: `writer` takes writes into logs; `backlog` has the logs of all files (`womm.fileserver.writelog`).
- Flushing: `flusher` says when a file is sent, tries again and gives up; `sender` sends a log once;
  `sending` keeps count of what is on its way.
- For the next task: `uses` remembers what clients use; `guesses` counts what was fetched because of that.
- What they share: `handles`, open files of the user's side; `space`, the room on the user's disk;
  `refusals`, what the user's side does not take; `clock`, its time; `rate`, how fast the link is.
- What the user's side hears: `report`, with each flush; `unsent`, all the time.

`flusher` says how long a write may wait; `contents` and `sending` say how many bytes may. After an error,
`sender` decides about the log and `flusher` about the file.
"""
