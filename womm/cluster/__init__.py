"""Clusters: where pods come from.

base         the protocols that tasks and shares are written against: Cluster, PodObserver, ShareHost
local        pods are agent processes on this machine
kubernetes/  pods are those of a Kubernetes
both         joins two clusters for one task

A new kind of cluster is a module here that implements `base.Cluster`, and `base.ShareHost` if its pods do not
have the user's folder. The contract suite (tests/cluster/cluster_contract.py) holds all of them to the same
behaviour.
"""
