"""Workers in a real Kubernetes. Nothing here is imported before a command needs it.

manifests   the objects of a task, as data; rbac: the roles that it takes
lean        the official client, without what is not used of it
kubeconfig  which cluster, with what credentials
client      one API server: requests, lists, watches, execs
channel     an exec as an asyncio transport
early       the first exec of a worker, before it is said to run
checkup     what `womm doctor` asks the API server
pods        what a watch of pods means: pure; advice: from the cluster's words to what to do
cluster     KubernetesCluster, which carries it out; removal: the end of it
tasks       the tasks of a namespace, for status and finish
"""
