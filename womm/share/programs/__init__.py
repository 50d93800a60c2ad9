"""The user's side of this machine's programs: what pods see of it, over a connection of its own.

`allowed` says which paths may leave this machine. `view` serves them, and hides what not every user here may
read (`mounts`: what is no disk) or what looks like a secret (`content`). `share` is what a task has of it: it
dials the file server, pins what a worker's agent reads (`pins`), sends what earlier tasks of the project have
read (`learned`), and tells when packages were upgraded (`upgrades`). `jobs` has the jobs wait for that.

What was seen once is believed as long as the task lasts: programs do not change while they run. Nothing is
watched. Rejected: to watch /usr as the project is watched (100,000 files, and root's limits of inotify).
"""
