"""An agent's captures on their way: stored once each whatever is killed, and never in clear.

Real: the agent's spool, redaction's mosaic, client and uploader; the intake service, versitygw.
Played: detectors, the stream, kills (an exception right after the store has answered).
"""

from __future__ import annotations

from pathlib import Path

import obstore
import pytest

from modelyard.api.monitoring import Redaction, ServerCapture
from modelyard.contract.capture import Captured, CaptureFile, CaptureReason, unpack
from modelyard.store.presigning import origin
from modelyard.workloads.agent.capture.uploading import IntakeClient, UploadError

from ...unit.agent.capture.played import MIDNIGHT, NONE, WITHOUT, Site, jpeg
from ...unit.agent.capture.test_redaction import FACE, clear_images, encoded
from .conftest import AGENT, Place

HOUR = 3600


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def site(place: Place, tmp_path: Path) -> Site:
    """A server whose captures go the real way."""
    pod = place.pod()
    server = place.server(pod)
    token = tmp_path / "token"
    token.write_text(place.token(AGENT, pod))
    made = Site(tmp_path / "cache")
    made.intake = IntakeClient(  # type: ignore[assignment]
        place.url, origin(place.store.location("shop")), server, token
    )
    made.restart()
    made.name = server  # type: ignore[attr-defined]
    return made


def stored(place: Place, server: str) -> list[Captured]:
    bucket = place.store.bucket("shop", place.store.key("shop", "writer"))
    listed = obstore.list(bucket, f"captures/shelf/{server}")
    found = []
    for path in [one["path"] for page in listed for one in page]:
        captures = list(unpack(bytes(obstore.get(bucket, path).bytes())))
        name = CaptureFile.parse(Path(path).name)
        assert name is not None
        assert name.total == len(captures)
        found += captures
    return found


async def test_after_kills_between_put_and_record_the_store_has_each_capture_once(
    place: Place, site: Site
) -> None:
    site.settings = ServerCapture(random=24, uncertain=0, drifting=24, redact=WITHOUT)
    intake, kills = site.intake, 0

    class Deadly:
        reachable = intake.reachable

        async def store(self, path: Path) -> None:
            nonlocal kills
            await intake.store(path)
            kills += 1
            if kills % 2:
                raise Killed

    site.intake = Deadly()  # type: ignore[assignment]
    site.restart()
    for hour in range(8):
        await site.sample(MIDNIGHT + HOUR * hour, drifting=True, image=jpeg(hour))
        try:
            await site.capturer.tend()
        except Killed:
            site.restart()
    for _ in range(4):
        try:
            await site.pass_to(MIDNIGHT + 3 * 86_400)
        except Killed:
            site.restart()
    assert kills > 8
    found = stored(place, site.name)  # type: ignore[attr-defined]
    assert len({one.record.id for one in found}) == len(found) == 16
    for reason in (CaptureReason.RANDOM, CaptureReason.DRIFTING):
        own = [one.record for one in found if one.record.reason is reason]
        starts = {one.inclusion.stratum_start for one in own if one.inclusion}
        assert len(own) == len(starts) == 8
    assert site.spooled() == []


async def test_no_image_in_clear_is_on_any_disk(place: Place, site: Site, tmp_path: Path) -> None:
    """The agent's disk and the store's, while captures wait and after they are stored."""
    site.settings = ServerCapture(
        random=24, uncertain=24, drifting=24, redact=Redaction(faces=True), on_demand="2/a"
    )
    site.faces.boxes = FACE
    seen: list[str] = []
    for hour in range(4):
        for ending in ("jpg", "png", "webp"):
            site.network.answers = [NONE]
            empty = {"boxes": NONE.boxes, "scores": NONE.scores, "classes": NONE.classes}
            await site.sample(MIDNIGHT + HOUR * hour, drifting=True, image=encoded(ending), **empty)
            seen += clear_images(tmp_path)
        await site.capturer.tend()
    await site.pass_to(MIDNIGHT + 3 * 86_400)
    found = stored(place, site.name)  # type: ignore[attr-defined]
    assert len(found) >= 7
    assert seen == []
    assert clear_images(place.store.folder) == []


async def test_an_intake_that_leads_elsewhere_gets_no_image(place: Place, site: Site) -> None:
    site.intake._origin = "https://store.example.com"  # type: ignore[attr-defined]
    site.settings = ServerCapture(
        random=0, uncertain=0, drifting=0, redact=WITHOUT, on_demand="1/a"
    )
    await site.sample()
    await site.capturer.tend()
    assert "not to this server's store" in (site.uploader.failure or "")
    assert site.spool.waiting == 1


async def test_a_refusal_is_shown_and_captures_wait(place: Place, site: Site) -> None:
    site.intake._server = "another"  # type: ignore[attr-defined]
    site.settings = ServerCapture(
        random=0, uncertain=0, drifting=0, redact=WITHOUT, on_demand="1/a"
    )
    await site.sample()
    await site.capturer.tend()
    status = site.capturer.status
    assert status is not None
    assert (status.failure or "").startswith("IntakeRefused: the intake service answered 403")
    assert status.waiting == 1
    with pytest.raises(UploadError):
        await site.intake.store(site.spool.uploads()[0])
