"""One container of a pod: its image, its runs, its probes and hooks, its restarts, its end.

`ContainerRunner.run` returns when the container will not run again. Cancelling it leaves the process as it is: `stop`
ends that, as the pod's termination asks. State changes are told to the pod by `Frame.publish`, never written here.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from rehearsal.node.backoff import Backoff, format_delay
from rehearsal.node.errors import ApiError, ConfigError, HookError, ImageError, MountError
from rehearsal.node.expansion import (
    Lookup,
    command_line,
    data_of,
    decode_secret,
    environment,
    needs_of_container,
    service_variables,
)
from rehearsal.node.logs import ContainerLog, tail_of
from rehearsal.node.probes import ProbeKind, ProbeSettings, ProbeTally, ProbeTarget, get, perform, read_probe
from rehearsal.node.processes import CONTAINER_MARK, STATE_MARK, Launch, Process, execute
from rehearsal.node.pull import ImageStore, default_policy
from rehearsal.node.shapes import Json, describe_pod, metadata, parse_time
from rehearsal.node.status import (
    ContainerView,
    Running,
    State,
    Terminated,
    Waiting,
    ended,
    should_restart,
)
from rehearsal.node.volumes import mounts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import aiohttp

    from rehearsal.node.api import Api
    from rehearsal.node.events import EventRecorder
    from rehearsal.node.images import Image

LEAST_GRACE_S = 2.0
PULL_ERROR_SHOWN_S = 2.0
RETRY_S = 5.0
BACKOFF_EVENT_S = 10.0
LOST_CODE = 255
_log = logging.getLogger(__name__)


class Kind(StrEnum):
    """A container's place in its pod."""

    MAIN = "containers"
    INIT = "initContainers"
    SIDECAR = "sidecar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What every pod of the node shares. `base_env` goes under every container's environment."""

    name: str
    ip: str
    state: Path
    base_env: Mapping[str, str]
    api: Api
    events: EventRecorder
    images: ImageStore
    session: aiohttp.ClientSession
    allocate_ip: Callable[[], str]


@dataclass(slots=True, kw_only=True)
class Frame:
    """What the containers of one pod share: the pod as last seen, its address, its folder, where its volumes are."""

    node: Node
    pod: Json
    folder: Path
    publish: Callable[[], None]
    pod_ip: str = ""
    places: dict[str, Path] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, str]:
        """Return the addresses that the downward API gives."""
        return {
            "status.podIP": self.pod_ip,
            "status.podIPs": self.pod_ip,
            "status.hostIP": self.node.ip,
            "status.hostIPs": self.node.ip,
        }

    @property
    def grace_s(self) -> float:
        """Return the pod's own termination grace."""
        return float(self.pod["spec"].get("terminationGracePeriodSeconds", 30))


class ContainerRunner:
    """Runs one container. `before` is its status as an earlier agent reported it."""

    def __init__(self, frame: Frame, spec: Json, kind: Kind, before: Json | None) -> None:
        self.spec = spec
        self.kind = kind
        self.name: str = spec["name"]
        self.restart_count = 0
        self.process: Process | None = None
        # Set once the container runs and its startup probe, if any, has succeeded for the first time.
        self.started = asyncio.Event()
        self._frame = frame
        self._state: State = Waiting(reason=self._first_reason())
        self._last_state: Terminated | None = None
        self._container_id = ""
        self._image_id = ""
        self._ready = False
        self._started = False
        self._has_run = False
        self._ended_at_s = 0.0
        self._backoff = Backoff()
        self._home = frame.folder / "homes" / self.name
        self._log_folder = frame.folder / "logs" / self.name
        if before:
            self._take_over(before)

    @property
    def view(self) -> ContainerView:
        """Return what is known of the container now."""
        return ContainerView(
            name=self.name,
            image=self.spec["image"],
            state=self._state,
            last_state=self._last_state,
            image_id=self._image_id,
            container_id=self._container_id,
            restart_count=self.restart_count,
            ready=self._ready,
            started=self._started,
            is_sidecar=self.kind is Kind.SIDECAR,
        )

    @property
    def live_log(self) -> ContainerLog | None:
        """Return the log of the present run, while it is written."""
        return self.process.log if self.process is not None else None

    def log_path(self, *, previous: bool) -> Path | None:
        """Return the log of this run (between runs: of the last one), or of the run before; None if there is none."""
        run = self.restart_count
        if previous:
            if self._last_state is None or not self._last_state.container_id:
                return None
            run -= 0 if isinstance(self._state, Waiting) else 1
        path = self._log_folder / f"{run}.log"
        return path if path.exists() else None

    async def run(self) -> Terminated:
        """Run the container, again and again as its pod's policy says, and return its last end."""
        if self.kind is Kind.MAIN and self._last_state is not None and not self._restarts(self._last_state):
            # An earlier agent saw it end for good.
            end, self._last_state = self._last_state, None
            self._set(end)
            return end
        while True:
            image = await self._obtain_image()
            end = await self._run_once(image)
            if not self._restarts(end):
                return end
            await self._back_off()

    async def stop(self, grace_s: float, message: str) -> None:
        """End the process: preStop hook, SIGTERM, and SIGKILL once `grace_s` is over (at least 2 s after SIGTERM)."""
        process = self.process
        if process is None or not process.is_running:
            return
        self._event("Normal", "Killing", message)
        deadline_s = time.monotonic() + grace_s
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if hook and grace_s > 0:
            try:
                async with asyncio.timeout(grace_s):
                    await self._perform_hook(hook, process, grace_s)
            except (HookError, TimeoutError) as problem:
                _log.info("preStop hook of %s: %s", self.name, problem)
                self._event("Warning", "FailedPreStopHook", "PreStopHook failed")
        process.send(signal.SIGTERM)
        left_s = max(deadline_s - time.monotonic(), LEAST_GRACE_S)
        try:
            code = await asyncio.wait_for(asyncio.shield(process.finished), left_s)
        except TimeoutError:
            process.kill()
            code = await asyncio.shield(process.finished)
        self._finish(process, code)

    def withdraw(self) -> None:
        """Take the container out of service: not ready from now on, whatever its probe would say."""
        if self.kind is not Kind.INIT:
            self._ready = False

    def settle(self, state: State) -> None:
        """Set the state that a terminated pod's container is left in."""
        if state is self._last_state:
            self._last_state = None
        self._state = state
        self._started = False
        self._ready = self.kind is Kind.INIT and isinstance(state, Terminated) and state.exit_code == 0

    @property
    def _is_ready_unasked(self) -> bool:
        """Whether running is enough to be ready; an init container is ready once it has succeeded."""
        return self.kind is not Kind.INIT and read_probe(self.spec, ProbeKind.READINESS) is None

    def _first_reason(self) -> str:
        return "PodInitializing" if self._frame.pod["spec"].get("initContainers") else "ContainerCreating"

    def _take_over(self, before: Json) -> None:
        """Take over what an earlier agent reported; a container that ran then ended with that agent."""
        self.restart_count = int(before.get("restartCount") or 0)
        self._image_id = before.get("imageID") or ""
        state = before.get("state") or {}
        if "running" in state:
            self._last_state = Terminated(
                exit_code=LOST_CODE,
                reason="Unknown",
                started_at=parse_time(state["running"]["startedAt"]),
                finished_at=datetime.now(UTC),
                container_id=before.get("containerID") or "",
            )
        else:
            known = state.get("terminated") or (before.get("lastState") or {}).get("terminated")
            self._last_state = _read_end(known) if known else None
        self._has_run = self._last_state is not None and bool(self._last_state.container_id)
        self._container_id = before.get("containerID") or ""

    def _restarts(self, end: Terminated) -> bool:
        policy = self._frame.pod["spec"].get("restartPolicy", "Always")
        if self.kind is Kind.SIDECAR:
            return True
        if self.kind is Kind.INIT:
            return end.exit_code != 0 and policy != "Never"
        return should_restart(policy, end.exit_code)

    def _set(self, state: State) -> None:
        if isinstance(self._state, Terminated) and not isinstance(state, Terminated):
            self._last_state = self._state
        self._state = state
        self._frame.publish()

    def _event(self, kind: str, reason: str, message: str) -> None:
        field_kind = "containers" if self.kind is Kind.MAIN else "initContainers"
        self._frame.node.events.about_pod(
            self._frame.pod, kind, reason, message, field=f"spec.{field_kind}{{{self.name}}}"
        )

    async def _obtain_image(self) -> Image:
        """Return the image, waiting as long as there is none, as a kubelet shows it."""
        reference: str = self.spec["image"]
        backoff = Backoff()
        while True:
            try:
                return self._find_image(reference)
            except ImageError as problem:
                self._set(Waiting(reason=problem.reason, message=problem.message))
                if problem.reason == "ErrImagePull":
                    self._event("Warning", "Failed", f'Failed to pull image "{reference}": {problem.message}')
                elif problem.reason == "InvalidImageName":
                    self._event("Warning", "InspectFailed", problem.message)
                else:
                    self._event("Warning", problem.reason, problem.message)
                self._event("Warning", "Failed", f"Error: {problem.reason}")
                failed_at_s = time.monotonic()
                backoff.advance(failed_at_s, failed_at_s)
                await asyncio.sleep(PULL_ERROR_SHOWN_S)
                if problem.reason == "ErrImagePull":
                    message = f'Back-off pulling image "{reference}"'
                    self._set(Waiting(reason="ImagePullBackOff", message=f"{message}: ErrImagePull: {problem.message}"))
                while (left_s := backoff.remaining(failed_at_s, time.monotonic())) > 0:
                    if problem.reason == "ErrImagePull":
                        self._event("Normal", "BackOff", f'Back-off pulling image "{reference}"')
                        self._event("Warning", "Failed", "Error: ImagePullBackOff")
                    await asyncio.sleep(min(left_s, BACKOFF_EVENT_S))

    def _find_image(self, reference: str) -> Image:
        images = self._frame.node.images
        policy = self.spec.get("imagePullPolicy") or default_policy(reference)
        held = images.find(reference)
        if policy != "Always" and held is not None:
            message = f'Container image "{reference}" already present on machine and can be accessed by the pod'
            self._event("Normal", "Pulled", message)
            return held
        if policy == "Never":
            message = f'Container image "{reference}" is not present with pull policy of Never'
            raise ImageError(message, reason="ErrImageNeverPull")
        self._event("Normal", "Pulling", f'Pulling image "{reference}"')
        started_s = time.monotonic()
        image = images.pull(reference)
        took = f"{max(1, round((time.monotonic() - started_s) * 1000))}ms"
        message = f'Successfully pulled image "{reference}" in {took} ({took} including waiting). '
        self._event("Normal", "Pulled", f"{message}Image size: {image.size_bytes} bytes.")
        return image

    async def _run_once(self, image: Image) -> Terminated:
        container_id = secrets.token_hex(32)
        launch = await self._prepare(image, container_id)
        if self._has_run:
            self.restart_count += 1
        self._has_run = True
        self._image_id = image.image_id
        self._container_id = f"process://{container_id}"
        self._event("Normal", "Created", "Container created")
        self._log_folder.mkdir(parents=True, exist_ok=True)
        try:
            process = Process(launch, ContainerLog(self._log_folder / f"{self.restart_count}.log"))
        except OSError as problem:
            return self._fail_to_start(str(problem))
        self.process = process
        started_at_s = time.monotonic()
        self._started = read_probe(self.spec, ProbeKind.STARTUP) is None
        self._ready = self._started and self._is_ready_unasked
        if self._started:
            self.started.set()
        self._set(Running(started_at=datetime.now(UTC)))
        self._event("Normal", "Started", "Container started")
        watch = asyncio.create_task(self._attend(process, started_at_s))
        try:
            code = await asyncio.shield(process.finished)
        finally:
            watch.cancel()
            await asyncio.wait({watch})
            if not watch.cancelled() and (fault := watch.exception()) is not None:
                _log.error("probes of %s failed", self.name, exc_info=fault)
        return self._finish(process, code)

    def _fail_to_start(self, problem: str) -> Terminated:
        message = f"failed to start container process: {problem}"
        self._event("Warning", "Failed", f"Error: {message}")
        now = datetime.now(UTC)
        end = Terminated(
            exit_code=128,
            reason="StartError",
            message=message,
            started_at=datetime.fromtimestamp(0, UTC),
            finished_at=now,
            container_id=self._container_id,
        )
        self._ended_at_s = time.monotonic()
        self._set(end)
        return end

    def _finish(self, process: Process, code: int) -> Terminated:
        if isinstance(self._state, Terminated):
            return self._state
        started_at = self._state.started_at if isinstance(self._state, Running) else datetime.now(UTC)
        message = ""
        if code and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = tail_of(process.log.path, lines=80, size_bytes=2048)
        end = ended(
            exit_code=code,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            container_id=self._container_id,
            message=message,
        )
        self.process = None
        self._ended_at_s = time.monotonic()
        self._started = False
        # An init container that has done its work counts as ready.
        self._ready = self.kind is Kind.INIT and end.exit_code == 0
        self._set(end)
        return end

    async def _back_off(self) -> None:
        """Wait as long as kubelet would before the next run."""
        if self._backoff.remaining(self._ended_at_s, time.monotonic()) > 0:
            pod = describe_pod(self._frame.pod)
            delay = format_delay(self._backoff.delay_s)
            message = f"back-off {delay} restarting failed container={self.name} pod={pod}"
            self._set(Waiting(reason="CrashLoopBackOff", message=message))
            while (left_s := self._backoff.remaining(self._ended_at_s, time.monotonic())) > 0:
                event = f"Back-off restarting failed container {self.name} in pod {pod}"
                self._event("Warning", "BackOff", event)
                await asyncio.sleep(min(left_s, BACKOFF_EVENT_S))
        self._backoff.advance(self._ended_at_s, time.monotonic())

    async def _prepare(self, image: Image, container_id: str) -> Launch:
        """Return what to start, waiting as long as something it names does not exist."""
        while True:
            try:
                return await self._make_launch(image, container_id)
            except ConfigError as problem:
                self._set(Waiting(reason="CreateContainerConfigError", message=problem.message))
                self._event("Warning", "Failed", f"Error: {problem.message}")
            except MountError as problem:
                self._set(Waiting(reason="CreateContainerError", message=problem.message))
                self._event("Warning", "Failed", f"Error: {problem.message}")
            except ApiError as problem:
                _log.warning("cannot prepare %s: %s", self.name, problem.message)
            await asyncio.sleep(RETRY_S)

    async def _make_launch(self, image: Image, container_id: str) -> Launch:
        frame = self._frame
        name = metadata(frame.pod)["name"]
        lookup, links = await asyncio.gather(self._look_up(), self._service_links())
        base = {**frame.node.base_env, "HOSTNAME": name, "HOME": str(self._home), **image.env}
        variables = environment(self.spec, frame.pod, lookup, links=links, facts=frame.facts)
        marks = {STATE_MARK: str(frame.node.state), CONTAINER_MARK: container_id}
        self._home.mkdir(parents=True, exist_ok=True)
        scratch = frame.folder / "roots" / self.name
        scratch.mkdir(parents=True, exist_ok=True)
        return Launch(
            argv=command_line(self.spec, image.entrypoint, image.cmd, variables),
            env=base | variables | marks,
            working_dir=self.spec.get("workingDir") or image.working_dir or str(self._home),
            hostname=frame.pod["spec"].get("hostname") or name,
            mounts=mounts_of(self.spec, frame.places, variables),
            scratch=scratch,
        )

    async def _look_up(self) -> Lookup:
        needs = needs_of_container(self.spec)
        config_maps, secret_objects = await asyncio.gather(
            asyncio.gather(*(self._fetch("configmaps", name) for name in sorted(needs.config_maps))),
            asyncio.gather(*(self._fetch("secrets", name) for name in sorted(needs.secrets))),
        )
        return Lookup(
            config_maps={
                name: None if found is None else data_of(found)
                for name, found in zip(sorted(needs.config_maps), config_maps, strict=True)
            },
            secrets={
                name: None if found is None else decode_secret(found)
                for name, found in zip(sorted(needs.secrets), secret_objects, strict=True)
            },
        )

    async def _fetch(self, collection: str, name: str) -> Json | None:
        namespace = metadata(self._frame.pod)["namespace"]
        try:
            return await self._frame.node.api.get(f"/api/v1/namespaces/{namespace}/{collection}/{name}")
        except ApiError as problem:
            if problem.status == 404:
                return None
            raise

    async def _service_links(self) -> dict[str, str]:
        api, namespace = self._frame.node.api, metadata(self._frame.pod)["namespace"]
        services = [await api.get("/api/v1/namespaces/default/services/kubernetes")]
        if self._frame.pod["spec"].get("enableServiceLinks", True):
            services += (await api.get(f"/api/v1/namespaces/{namespace}/services")).get("items") or []
        return service_variables(services)

    async def _attend(self, process: Process, started_at_s: float) -> None:
        """Perform the postStart hook, then the probes, for as long as the container runs."""
        hook = (self.spec.get("lifecycle") or {}).get("postStart")
        if hook:
            try:
                await self._perform_hook(hook, process, None)
            except HookError as problem:
                _log.info("postStart hook of %s: %s", self.name, problem)
                self._event("Warning", "FailedPostStartHook", "PostStartHook failed")
                await self.stop(self._frame.grace_s, "FailedPostStartHook")
                return
        opened_at_s = None
        startup = read_probe(self.spec, ProbeKind.STARTUP)
        if startup is not None:
            if not await self._await_startup(startup, process, started_at_s):
                return
            opened_at_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for kind, watch in ((ProbeKind.READINESS, self._watch_ready), (ProbeKind.LIVENESS, self._watch_alive)):
                settings = read_probe(self.spec, kind)
                if settings is not None:
                    tally = ProbeTally(settings, started_at_s=started_at_s, opened_at_s=opened_at_s)
                    group.create_task(watch(tally, process))

    async def _await_startup(self, settings: ProbeSettings, process: Process, started_at_s: float) -> bool:
        tally = ProbeTally(settings, started_at_s=started_at_s)
        while True:
            if not await self._ask(tally, process):
                continue
            if tally.verdict:
                self._started = True
                self.started.set()
                self._ready = self._is_ready_unasked
                self._frame.publish()
                return True
            await self._kill_for(tally, process)
            return False

    async def _watch_ready(self, tally: ProbeTally, process: Process) -> None:
        while True:
            if await self._ask(tally, process) and tally.verdict is not self._ready:
                self._ready = tally.verdict
                self._frame.publish()

    async def _watch_alive(self, tally: ProbeTally, process: Process) -> None:
        while True:
            if await self._ask(tally, process) and not tally.verdict:
                await self._kill_for(tally, process)
                return

    async def _ask(self, tally: ProbeTally, process: Process) -> bool:
        """Ask when it is time, and return whether the answers now reach a threshold."""
        await asyncio.sleep(max(0.0, tally.due_at_s - time.monotonic()))
        answer, words = await perform(tally.settings, self._target(process))
        if not answer:
            self._event("Warning", "Unhealthy", f"{tally.settings.kind.value} probe failed: {words}")
        return tally.record(answer, at_s=time.monotonic())

    async def _kill_for(self, tally: ProbeTally, process: Process) -> None:
        if not process.is_running:
            return
        kind = tally.settings.kind.value.lower()
        grace_s = tally.settings.grace_s if tally.settings.grace_s is not None else self._frame.grace_s
        await self.stop(grace_s, f"Container {self.name} failed {kind} probe, will be restarted")

    def _target(self, process: Process) -> ProbeTarget:
        async def run(command: tuple[str, ...], timeout_s: float) -> tuple[int | None, str]:
            return await execute(process, command, timeout_s)

        return ProbeTarget(
            pod_ip=self._frame.pod_ip, container=self.spec, execute=run, session=self._frame.node.session
        )

    async def _perform_hook(self, hook: Json, process: Process, timeout_s: float | None) -> None:
        """Perform a lifecycle hook. Raises HookError."""
        limit_s = timeout_s if timeout_s is not None else self._frame.grace_s
        if "exec" in hook:
            code, output = await execute(process, tuple(hook["exec"].get("command") or ()), limit_s)
            if code != 0:
                raise HookError(f"exited with {code}: {output}")
        elif "sleep" in hook:
            await asyncio.sleep(float(hook["sleep"]["seconds"]))
        elif "httpGet" in hook:
            answer, words = await get(hook["httpGet"], self._target(process), limit_s, what="hook")
            if not answer:
                raise HookError(words)


def _read_end(known: Json) -> Terminated:
    return Terminated(
        exit_code=int(known.get("exitCode") or 0),
        reason=known.get("reason") or "",
        started_at=parse_time(known["startedAt"]) if known.get("startedAt") else None,
        finished_at=parse_time(known["finishedAt"]) if known.get("finishedAt") else None,
        message=known.get("message") or "",
        container_id=known.get("containerID") or "",
    )
