"""Attaching a record's attestations to the images that they are about, in an OCI registry.

Each attestation becomes an artifact whose `subject` is the image's manifest. A registry with the referrers API lists it
by itself, and says so (`OCI-Subject`); for one without, the index under the fallback tag is kept as the specification
says. Source: OCI distribution specification 1.1, "Pushing Manifests with Subject", and image specification 1.1.
Invariants: what is pushed is addressed by the digest of its bytes, so pushing twice changes nothing; an image that the
registry does not have gets nothing; credentials go to the registry, and to the place that it names for tokens, alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx

from cutover.errors import CouldNotMeasure, Refused, WrongInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
_IMAGES: Final = (
    MANIFEST,
    INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_REPOSITORY: Final = re.compile(
    r"([a-zA-Z0-9.-]+(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?)/([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
)
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')
_TIMEOUT_S: Final = 20.0
_NOTHING: Final = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One attestation, as a registry keeps it."""

    name: str
    content: bytes = field(repr=False)
    media_type: str
    """Of the content, and of the artifact: a DSSE envelope or a Sigstore bundle."""
    predicate_type: str

    def manifest(self, subject: Mapping[str, Any]) -> bytes:
        """Return the manifest that attaches it to an image; the same for the same content."""
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": self.media_type,
            "config": _descriptor(_NOTHING, EMPTY),
            "layers": [_descriptor(self.content, self.media_type)],
            "subject": dict(subject),
            "annotations": {
                "in-toto.io/predicate-type": self.predicate_type,
                "org.opencontainers.image.title": self.name,
            },
        }
        return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What came of one attestation at one image."""

    name: str
    image: str
    """The image's digest."""
    digest: str
    """Of the attestation's manifest."""
    listed_by: str
    """`referrers API`, or the fallback tag."""


class Registry:
    """One repository of a registry."""

    def __init__(self, place: str, *, username: str = "", password: str = "", plain_http: bool = False) -> None:
        """Take `HOST[:PORT]/REPOSITORY`. Raises WrongInput: it is none."""
        found = _REPOSITORY.fullmatch(place)
        if found is None:
            raise WrongInput(
                f"{place} names no repository of a registry",
                code="registry-name",
                do="give HOST[:PORT]/REPOSITORY, as in registry.example.org/stellaops/web",
            )
        self.host, self.repository = found.groups()
        self._basic = (username, password) if username else None
        self._token = ""
        scheme = "http" if plain_http else "https"
        self._client = httpx.Client(base_url=f"{scheme}://{self.host}", timeout=_TIMEOUT_S)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def attach(self, artifacts: Sequence[Artifact], image: str) -> list[Pushed]:
        """Attach attestations to an image, by its digest.

        Raises Refused: the repository does not have the image, or takes nothing from us. CouldNotMeasure: the registry
        is not reached, or answers what no registry answers.
        """
        subject = self._image(image)
        self._blob(_NOTHING)
        pushed = []
        for artifact in artifacts:
            self._blob(artifact.content)
            content = artifact.manifest(subject)
            digest = digest_of(content)
            answer = self._ask("PUT", f"manifests/{digest}", content=content, headers={"Content-Type": MANIFEST})
            _expect(answer, 201)
            listed_by = "referrers API"
            if answer.headers.get("OCI-Subject") != image:
                listed_by = self._list(image, artifact, content)
            pushed.append(Pushed(name=artifact.name, image=image, digest=digest, listed_by=listed_by))
        return pushed

    def referrers(self, image: str) -> list[dict[str, Any]]:
        """Return what is attached to an image, by the API or else the fallback tag; raises as `attach` does."""
        answer = self._ask("GET", f"referrers/{image}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            answer = self._ask("GET", f"manifests/{fallback_tag(image)}", headers={"Accept": INDEX})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        _expect(answer, 200)
        return list(_object(answer).get("manifests", ()))

    # -- the parts -----------------------------------------------------------------------------------------------------

    def _image(self, digest: str) -> dict[str, Any]:
        """Return an image's descriptor, computed from the bytes that the registry gives."""
        answer = self._ask("GET", f"manifests/{digest}", headers={"Accept": ", ".join(_IMAGES)})
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise Refused(
                f"{self.host}/{self.repository} does not have the image {digest}",
                code="image-absent",
                seen="the registry answers 404",
                do="push the image there first, or name the repository that has it",
                state="nothing was attached to it",
            )
        _expect(answer, 200)
        if digest_of(answer.content) != digest:
            raise CouldNotMeasure(
                f"{self.host} gives other bytes than the digest says",
                code="registry-digest",
                seen=f"{digest_of(answer.content)} (asked for {digest})",
                do="use another registry: nothing from this one can be relied on",
            )
        media_type = answer.headers.get("Content-Type", MANIFEST).partition(";")[0]
        return {"mediaType": media_type, "digest": digest, "size": len(answer.content)}

    def _blob(self, content: bytes) -> None:
        """Upload a blob, unless it is there. Source: "Pushing a blob monolithically", POST then PUT."""
        digest = digest_of(content)
        if self._ask("HEAD", f"blobs/{digest}").status_code == httpx.codes.OK:
            return
        begun = self._ask("POST", "blobs/uploads/", headers={"Content-Length": "0"})
        _expect(begun, 202)
        place = httpx.URL(str(begun.request.url)).join(begun.headers["Location"]).copy_merge_params({"digest": digest})
        _expect(
            self._send("PUT", str(place), content=content, headers={"Content-Type": "application/octet-stream"}), 201
        )

    def _list(self, image: str, artifact: Artifact, content: bytes) -> str:
        """Add an artifact to the index under the fallback tag, once; return the tag."""
        tag = fallback_tag(image)
        answer = self._ask("GET", f"manifests/{tag}", headers={"Accept": INDEX})
        held: list[dict[str, Any]] = []
        if answer.status_code != httpx.codes.NOT_FOUND:
            _expect(answer, 200)
            held = list(_object(answer).get("manifests", ()))
        mine = {
            **_descriptor(content, MANIFEST),
            "artifactType": artifact.media_type,
            "annotations": json.loads(content)["annotations"],
        }
        if mine not in held:
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*held, mine]}
            body = json.dumps(index, separators=(",", ":"), sort_keys=True).encode()
            _expect(self._ask("PUT", f"manifests/{tag}", content=body, headers={"Content-Type": INDEX}), 201)
        return f"tag {tag}"

    # -- asking --------------------------------------------------------------------------------------------------------

    def _ask(
        self, method: str, path: str, *, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return self._send(method, f"/v2/{self.repository}/{path}", content=content, headers=headers)

    def _send(
        self, method: str, url: str, *, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Ask, with a token where the registry wants one. Raises CouldNotMeasure, Refused: it does not know us."""
        try:
            answer = self._client.request(method, url, content=content, headers=self._headed(url, headers))
            if answer.status_code == httpx.codes.UNAUTHORIZED and self._is_ours(url):
                self._token = self._new_token(answer.headers.get("WWW-Authenticate", ""))
                answer = self._client.request(method, url, content=content, headers=self._headed(url, headers))
        except httpx.HTTPError as problem:
            raise CouldNotMeasure(
                f"the registry {self.host} is not reached",
                code="registry-unreachable",
                seen=f"{type(problem).__name__}: {problem}",
                do="look whether the name is right; --plain-http for one without TLS",
            ) from problem
        if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise Refused(
                f"the registry {self.host} does not let us write to {self.repository}",
                code="registry-forbidden",
                seen=f"{method} {answer.request.url.path}: {answer.status_code}",
                do="give --username and --password-env of an account that may push there",
                state="what was pushed before stays",
            )
        return answer

    def _is_ours(self, url: str) -> bool:
        return not url.startswith(("http://", "https://")) or httpx.URL(url).netloc.decode() == self.host

    def _headed(self, url: str, headers: Mapping[str, str] | None) -> dict[str, str]:
        """Return headers, with the token where the request goes to the registry itself: uploads may go elsewhere."""
        return {**(headers or {}), **({"Authorization": self._token} if self._token and self._is_ours(url) else {})}

    def _new_token(self, challenge: str) -> str:
        """Return what the registry wants as proof of who we are. Source: distribution's token authentication."""
        kind, _, rest = challenge.partition(" ")
        asked = dict(_CHALLENGE.findall(rest))
        if kind.lower() == "basic" and self._basic:
            return httpx.BasicAuth(*self._basic)._auth_header  # noqa: SLF001  # the one place that writes it
        if kind.lower() != "bearer" or "realm" not in asked:
            return ""
        wanted = {"scope": asked.get("scope") or f"repository:{self.repository}:pull,push"}
        if "service" in asked:
            wanted["service"] = asked["service"]
        answer = self._client.get(asked["realm"], params=wanted, auth=self._basic)
        given = _object(answer) if answer.status_code == httpx.codes.OK else {}
        token = given.get("token") or given.get("access_token") or ""
        return f"Bearer {token}" if token else ""


def fallback_tag(image: str) -> str:
    """Return the tag under which a registry without the referrers API lists what refers to a digest."""
    return image.replace(":", "-", 1)


def digest_of(content: bytes) -> str:
    """Return `sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _expect(answer: httpx.Response, status: int) -> None:
    if answer.status_code != status:
        raise CouldNotMeasure(
            "the registry does not answer as the distribution specification says",
            code="registry-answer",
            seen=f"{answer.request.method} {answer.request.url.path}: {answer.status_code} (expected {status})",
            do="look into the registry's log",
        )


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError as problem:
        raise CouldNotMeasure("the registry answers no JSON", code="registry-answer", seen=str(problem)) from problem
    return found if isinstance(found, dict) else {}
