"""Jobs on pods: the pool decides which job runs in which worker, and the dispatcher carries it out.

`pool` is pure: it takes what happened and returns actions. `dispatcher` takes jobs and their input. `workers`
observes the pods and their links, `attempts` performs the pool's actions, `settling` leads from the end of a
process to the result, and `results` journals it. These share one `state`. `job` is one job, `phase` the table
of its phases; `streams` moves its input and output, and `spool` keeps its stdin for another attempt.
"""
