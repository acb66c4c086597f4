"""Take the pictures of docs/home-assistant.md from a real run: python docs/screenshots.py.

It needs what tests/homeassistant needs (`make home-assistant`), Debian's chromium, and playwright from PyPI
in an environment with nanofleet[dev].
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import skimage
import yaml
from PIL import Image
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.harness import (
    MODEL,
    Listener,
    Mosquitto,
    WorkerProcess,
    nanofleet,
    need,
    user_properties,
)
from tests.homeassistant.core import HomeAssistant
from tests.homeassistant.seed import access_token

DEPLOY = Path(__file__).parents[1] / "deploy" / "home-assistant"
BLUEPRINT = "nanofleet/camera_sees"
#: What is in front of which camera: scikit-image's photos.
SCENES = {"door": "chelsea.png", "garden": "coffee.png"}
#: What a page has for itself, and how much smaller it is in its picture: 1280 by 800.
SIZE, SCALE = (1600, 1000), 0.8
#: What a home has beside the tests' core: the pages, and what device pages show of the past.
_INTERFACE = "frontend:\nlovelace:\nhistory:\nlogbook:\nblueprint:\nscript:\nscene:\n"


def main() -> None:
    """Run a home, look at it, and end it."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as home:
        pages = {
            "camera": (f"/config/devices/device/{device(home, 'cameras/door')}", "Last seen"),
            "worker": (f"/config/devices/device/{device(home, 'workers/hall')}", "Configuration"),
            "dashboard": ("/nanofleet-cameras/cameras", "espresso"),
            "blueprint": ("/config/automation/edit/cat_at_the_door", "For at least"),
        }
        take(home.url, pages)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[HomeAssistant]:
    """A broker, a core, a worker with real weights and two cameras that go on publishing."""
    with contextlib.ExitStack() as ends:
        broker = Mosquitto(folder).start()
        ends.callback(broker.stop)
        home = HomeAssistant(folder / "home-assistant", broker.url)
        prepare(home)
        ends.callback(home.start().stop)
        worker = WorkerProcess(folder, broker.url, "nanofleet", "hall", "--model", MODEL, "--observe")
        ends.callback(worker.stop)
        nanofleet("cameras", "set", "door", "name=Front door", "--broker", broker.url).check_returncode()
        worker.wait_ready()
        ends.enter_context(cameras(broker.url))
        home.wait_state("sensor.nanofleet_door_group", "cat")
        home.wait_state("sensor.nanofleet_garden_label", "espresso")
        furnish(home)
        home.call("persistent_notification", "dismiss_all")
        yield home


def prepare(home: HomeAssistant) -> None:
    """Give the tests' core an interface, with nothing left to be set up."""
    with (home.folder / "configuration.yaml").open("a") as configuration:
        configuration.write(_INTERFACE)
    done = {"done": ["user", "core_config", "analytics", "integration"]}
    onboarded = {"version": 4, "minor_version": 1, "key": "onboarding", "data": done}
    (home.folder / ".storage" / "onboarding").write_text(json.dumps(onboarded))


@contextlib.contextmanager
def cameras(broker_url: str) -> Iterator[None]:
    """Publish each camera's photo twice a second, as long as the block lasts."""
    over = threading.Event()
    client = Listener(broker_url)
    photos = {camera: jpeg(photo) for camera, photo in SCENES.items()}

    def publish() -> None:
        while not over.wait(0.5):
            for camera, photo in photos.items():
                # The same frame again would be no proof of anything.
                frame_id = user_properties(("frame-id", str(time.time_ns())))
                client.publish(f"nanofleet/frames/{camera}", photo, **frame_id)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        client.close()


def jpeg(photo: str) -> bytes:
    """A photo of scikit-image as a camera sends it."""
    content = io.BytesIO()
    Image.open(Path(skimage.__file__).parent / "data" / photo).convert("RGB").save(
        content, "JPEG", quality=90
    )
    return content.getvalue()


def furnish(home: HomeAssistant) -> None:
    """Add the dashboard, the blueprint and an automation, as docs/home-assistant.md says."""
    path = {"url_path": "nanofleet-cameras"}
    shown = {"title": "nanofleet", "icon": "mdi:cctv", "mode": "storage", "show_in_sidebar": True}
    home.ask({"type": "lovelace/dashboards/create", "require_admin": False, **shown, **path})
    config = yaml.safe_load((DEPLOY / "dashboard.yaml").read_text())
    home.ask({"type": "lovelace/config/save", "config": config, **path})
    text = (DEPLOY / "blueprints" / "automation" / f"{BLUEPRINT}.yaml").read_text()
    home.ask({"type": "blueprint/save", "domain": "automation", "path": BLUEPRINT, "yaml": text})
    wanted = {"sensor": "sensor.nanofleet_door_group", "wanted": ["cat"], "held": {"seconds": 5}}
    notice = {"action": "persistent_notification.create", "data": {"message": "A {{ seen }} is at the door"}}
    use = {"path": f"{BLUEPRINT}.yaml", "input": {**wanted, "actions": [notice]}}
    automation = {"alias": "A cat is at the door", "use_blueprint": use}
    home._request("/api/config/automation/config/cat_at_the_door", json.dumps(automation).encode())


def device(home: HomeAssistant, identifier: str) -> str:
    """Home Assistant's id of a device."""
    devices = home.devices()
    return next(
        str(one["id"]) for one in devices if ["mqtt", f"nanofleet/{identifier}"] in one["identifiers"]
    )


def take(url: str, pages: Dict[str, Tuple[str, str]]) -> None:
    """Write a picture of each page, once a text is to be seen on it."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=need("chromium", "Debian: chromium"))
        context = chromium.new_context(
            viewport={"width": SIZE[0], "height": SIZE[1]},
            device_scale_factor=SCALE,
            locale="en-GB",
            timezone_id="UTC",
        )
        context.add_init_script(f"localStorage.setItem('hassTokens', {json.dumps(json.dumps(tokens(url)))})")
        page = context.new_page()
        for name, (path, text) in pages.items():
            page.goto(url + path)
            page.get_by_text(text, exact=False).first.wait_for(timeout=120_000)
            settle(page)
            small(page.screenshot(), Path(__file__).with_name(f"home-assistant-{name}.png"))
        chromium.close()


def tokens(url: str) -> Dict[str, Any]:
    """What the login page keeps of a user who has logged in."""
    expiry = 10 * 365 * 86400
    return {
        **{"access_token": access_token(), "token_type": "Bearer", "refresh_token": ""},
        **{"expires_in": expiry, "expires": int(time.time() + expiry) * 1000},
        **{"hassUrl": url, "clientId": f"{url}/"},
    }


def settle(page: Page) -> None:
    """Wait until a page looks the same twice: it loads parts of itself as it needs them."""
    before = b""
    for _ in range(20):
        page.wait_for_timeout(1000)
        now = page.screenshot()
        if now == before:
            return
        before = now


def small(picture: bytes, path: Path) -> None:
    """Write it with a palette: a quarter of the size, and texts stay sharp."""
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(256).save(path, optimize=True)
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
