"""The eager share, on the user's machine: copied before the first job, brought back after the last.

`task` is the share of a task, with its `hooks` around jobs and `owner` of files; `connection` is one folder
and its store. `push` sends differences (`sender`), `pull` brings back changes (`syncback` decides, `placer`
and `staging` write). Both talk to `womm.store` by a `conversation` in a thread (`stream`). `manifest` and
`state` remember what both sides have in common; `preview`, `progress` and `report` are for the user.
"""
