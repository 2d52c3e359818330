"""The node agent: registers a Node and runs its pods as processes.

A small kubelet. `images` and `catalogue` make and read a local OCI image layout; `status`, `probes`, `backoff`,
`expansion` and `loglines` are pure; `processes`, `mounts`, `volumes` and `logs` touch the machine; `api` and `events`
talk to the API server; `pod` is one pod's life, `agent` the node's, `server` what `kubectl logs` asks.

Invariants: nothing the agent started outlives it; the API server is watched, not polled; a pod's status is computed
from one record by one pure function.
"""
