"""The pool's decisions, in any order of events, against a model."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from womm.cluster.base import Loss
from womm.dispatch.blame import BLACK_HOLE_JOBS, Avoid, Leave, Trust
from womm.dispatch.pool import CRASH_LIMIT, OOM_LIMIT, GiveUp, Lost, Pool, Start

PODS = st.sampled_from(["a", "b", "c", "d"])
NODES = st.sampled_from(["", "n", "m"])


class AnyOrder(RuleBasedStateMachine):
    """Against a model that knows of each job only: queued, running where, or over."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool()
        self.number = 0
        self.instances: dict[str, int] = {}
        self.there: dict[str, int] = {}
        self.paused: set[str] = set()
        self.running: dict[int, str] = {}
        self.waiting: dict[int, str | None] = {}
        self.attempt: dict[int, int] = {}
        self.no_retry_jobs: set[int] = set()
        self.pins: dict[int, str | None] = {}
        self.nodes: dict[str, str] = {}
        self.avoided: set[str] = set()
        self.blamed: dict[str, set[int]] = {}
        """The jobs under which workers of a node have crashed since one finished there."""
        self.crashed: dict[int, list[tuple[str, str]]] = {}
        """Pod and node of each worker that was lost under a job for no known reason."""
        self.last_node: dict[int, str] = {}
        """The node of the last of these, unless it was lost in another way since."""
        self.starved: dict[int, set[str]] = {}
        """Pods that went in another way that may be a job's doing."""

    def usable(self):
        return [p for p in self.there if self.nodes[p] not in self.avoided] or list(self.there)

    def elsewhere(self, node):
        """A worker that may get jobs and is not on this node."""
        return any(self.nodes[pod] != node for pod in self.usable())

    def apply(self, actions):
        for action in actions:
            if isinstance(action, Start):
                pinned = self.waiting.pop(action.job)
                assert pinned in (None, action.pod)
                assert action.pod in self.there
                assert action.pod not in self.paused
                if pinned is None:
                    assert action.pod in self.usable()
                    if node := self.last_node.get(action.job):
                        assert self.nodes[action.pod] != node or not self.elsewhere(node)
                assert action.instance == self.instances[action.pod]
                self.attempt[action.job] = self.attempt.get(action.job, 0) + 1
                assert action.attempt == self.attempt[action.job]
                self.running[action.job] = action.pod
                used = sum(pod == action.pod for pod in self.running.values())
                assert used <= self.there[action.pod]
            elif isinstance(action, Leave):
                assert action.pod not in self.there
            elif isinstance(action, Avoid):
                assert action.node not in self.avoided
                assert len(self.blamed[action.node]) >= BLACK_HOLE_JOBS
                self.avoided.add(action.node)
            elif isinstance(action, Trust):
                self.avoided.remove(action.node)
            else:
                raise AssertionError(action)

    @rule(slots=st.integers(1, 4), pod=PODS, node=NODES)
    def ready(self, pod, slots, node):
        if pod not in self.there:
            self.instances[pod] = self.instances.get(pod, 0) + 1
            self.there[pod] = slots
            node = self.nodes.setdefault(pod, node)  # a worker of that name comes again where it was
            self.apply(self.pool.worker_ready(pod, self.instances[pod], slots, node))

    @rule(pinned=st.none() | PODS)
    def submit(self, pinned):
        self.number += 1
        self.waiting[self.number] = pinned
        self.pins[self.number] = pinned
        self.apply(self.pool.submit(self.number, pinned))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data):
        job = data.draw(st.sampled_from(sorted(self.running)))
        node = self.nodes[self.running.pop(job)]
        self.blamed.pop(node, None)
        self.apply(self.pool.job_ended(job))
        assert node not in self.avoided

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def run_out_of_memory(self, data):
        job = data.draw(st.sampled_from(sorted(self.running)))
        pod = self.running.pop(job)
        self.blamed.pop(self.nodes[pod], None)
        told, *actions = self.pool.job_out_of_memory(job)
        assert isinstance(told, Lost | GiveUp)
        assert (told.job, told.pod, told.loss) == (job, pod, Loss.OOM_KILLED)
        if isinstance(told, Lost):
            self.waiting[job] = self.pins[job]
            self.starved.setdefault(job, set()).add(pod)
            self.last_node.pop(job, None)
        self.apply(actions)
        assert self.nodes[pod] not in self.avoided

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def forbid_retry(self, data):
        job = data.draw(st.sampled_from(sorted(self.running)))
        self.no_retry_jobs.add(job)
        self.pool.forbid_retry(job)

    @rule(pod=PODS)
    def pause(self, pod):
        self.pool.worker_paused(pod)
        if pod in self.there:
            self.paused.add(pod)

    @rule(pod=PODS)
    def resume(self, pod):
        self.paused.discard(pod)
        self.apply(self.pool.worker_resumed(pod))

    @rule(pod=PODS, loss=st.sampled_from(Loss))
    def gone(self, pod, loss):
        known = self.there.pop(pod, None)
        self.paused.discard(pod)
        its = sorted(job for job, where in self.running.items() if where == pod)
        actions = self.pool.worker_gone(pod, loss)
        if known is None:
            assert actions == []
            return
        told = [action for action in actions[: len(its)] if isinstance(action, Lost | GiveUp)]
        assert [action.job for action in told] == its
        for action in told:
            del self.running[action.job]
            assert (action.pod, action.loss) == (pod, loss)
            once = action.job in self.no_retry_jobs
            if isinstance(action, Lost):
                assert not once
                assert action.attempt == self.attempt[action.job]
                self.waiting[action.job] = self.pins[action.job]
                if loss is Loss.CRASHED:
                    self.crashed.setdefault(action.job, []).append((pod, self.nodes[pod]))
                    self.last_node[action.job] = self.nodes[pod]
                elif loss is not Loss.REMOVED:
                    self.starved.setdefault(action.job, set()).add(pod)
                    self.last_node.pop(action.job, None)
            else:
                assert isinstance(action, GiveUp)
                assert once or action.times in (CRASH_LIMIT, OOM_LIMIT)
        if loss is Loss.CRASHED:
            self.blamed.setdefault(self.nodes[pod], set()).update(its)
        self.apply(actions[len(its) :])

    @rule(pod=PODS)
    def left(self, pod):
        if pod in self.there:
            return
        stuck = {job for job, pinned in self.waiting.items() if pinned == pod}
        actions = self.pool.worker_left(pod)
        assert all(isinstance(action, GiveUp) for action in actions)
        assert {action.job for action in actions if isinstance(action, GiveUp)} == stuck
        for job in stuck:
            del self.waiting[job]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data):
        job = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.pool.withdraw(job)
        del self.waiting[job]

    @invariant()
    def agree(self):
        self.pool.check()
        assert sorted(self.pool.running) == sorted(self.running)
        assert self.pool.queued == len(self.waiting)
        assert sorted(self.pool.workers) == sorted(self.there)
        assert sorted(self.pool.usable) == sorted(self.usable())
        assert self.pool.slots == sum(self.there[pod] for pod in self.usable())
        assert all(self.pool.where(job) == pod for job, pod in self.running.items())

    @invariant()
    def no_slot_idles_while_a_job_could_use_it(self):
        for pod, slots in self.there.items():
            if pod not in self.paused and slots > sum(where == pod for where in self.running.values()):
                for job, pinned in self.waiting.items():
                    assert pinned != pod
                    assert pinned is not None or pod not in self.usable() or self.shuns(job, pod)

    def shuns(self, job, pod):
        crashed = {place for places in self.crashed.get(job, []) for place in places} - {""}
        places = crashed | self.starved.get(job, set())
        return len(self.usable()) > 1 and bool(places & {pod, self.nodes[pod]})


TestAnyOrder = AnyOrder.TestCase
