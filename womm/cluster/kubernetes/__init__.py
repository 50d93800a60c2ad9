"""Workers in a real Kubernetes. Nothing here is imported before a command needs it.

A task:
cluster       KubernetesCluster: makes the objects of a task, and removes them
running_task  the parts of one task; which part hears of an object that has changed
workers       the workers' pods; pods: what their state means (pure); missing: why some are not there
checkup       the doctor's questions to the API server
early         the first exec of a worker, before it is said to run
keeper        the pod whose end takes the task along: the link to it
share_host    the file server of a share, as shares use it; file_server: the pods that it is in
objects       changes to a task's objects while it runs; removal: their end
admission     a dry run before anything is made

What is made, as data:
manifests     the objects of a task; share_manifests: those of its share; paths: where things lie in the pods
rbac          the roles that users need: the files of the top folder `manifests`

The API server:
client        requests, lists, watches, execs; channel: an exec as an asyncio transport
watch         a list and a watch, for ever
execs         commands in pods, as connections of links
kubeconfig    which cluster, with what credentials; contexts: which contexts there are, without the client
lean          the official client, without the half that is not used

Words:
events        from the events of a pod to the reason why it is not there; advice: from reasons to what to do

tasks         the tasks of a namespace, for `womm status`, `logs` and `finish`
"""
