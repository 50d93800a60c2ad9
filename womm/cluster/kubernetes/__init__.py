"""Workers in a real Kubernetes. Nothing here is imported before a command needs it.

manifests   the objects of a task, as data
client      one API server: requests, lists, watches, execs
channel     an exec as an asyncio transport
pods        what a watch of pods means: pure
driver      KubernetesCluster, which carries it out
advice      from the cluster's words to what to do about them
"""
