"""The page in a real Chromium: its keys, sticks and buttons, and whole episodes recorded with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from teleop_page import CHROMIUM, Operator, chromium, session, until

from envs.toy import Toy
from s2robot.data.store import DemoStore
from s2robot.teleop.browser import BrowserDevice
from s2robot.teleop.device import Event, Phase, Status
from s2robot.teleop.server import serve

if TYPE_CHECKING:
    from envs.cube_pick import CubePick

pytest.importorskip("playwright", reason="needs the extra dev")
pytest.importorskip("starlette", reason="needs the extra teleop")
if CHROMIUM is None:
    pytest.skip("needs a Chromium: apt-get install chromium", allow_module_level=True)

ABOUT = {
    "task": "pick",
    "cameras": ["front"],
    "proprio": ["x [m]"],
    "policy": True,
    "axes": {"front": [[0, 1, 0], [-0.26, 0, 0.97]]},
}
HALF = 0.5  # of full speed, as the page begins


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def device() -> Iterator[BrowserDevice]:
    """A page's device without a session behind it."""
    device = serve(ABOUT, "127.0.0.1", 0)
    yield device
    device.close()


@pytest.fixture
def page(browser: Any, device: BrowserDevice) -> Iterator[Any]:
    """The page, while a take is recorded."""
    device.show(Status(phase=Phase.RECORDING, rate=10.0), {"front": np.zeros((32, 32, 3), np.uint8)})
    page = browser.new_page()
    errors: list[Any] = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(device.invitation.split()[1].rstrip(";"))
    page.wait_for_selector("body[data-phase=recording][data-steers=true]")  # the page before is gone
    device.command()
    device.events()
    yield page
    assert errors == []
    page.close()


def moves(page: Any, device: BrowserDevice, *motion: float) -> None:
    """Waits until this is the motion that the page asks for."""
    until(page, lambda: bool(np.allclose(device.command().motion, motion, atol=1e-3)))


def hears(page: Any, device: BrowserDevice, *events: Event) -> None:
    heard: list[Event] = []
    until(page, lambda: (heard.extend(device.events()), heard == list(events))[1])


# Input


def test_held_keys_add_up_and_end_when_released(page: Any, device: BrowserDevice) -> None:
    page.keyboard.down("KeyW")
    moves(page, device, -HALF, 0, 0)
    page.keyboard.down("KeyD")
    page.keyboard.down("KeyE")
    moves(page, device, -HALF, HALF, HALF)
    page.keyboard.down("Shift")
    moves(page, device, -HALF / 4, HALF / 4, HALF / 4)
    for key in ("Shift", "KeyD", "KeyE", "KeyW"):
        page.keyboard.up(key)
    moves(page, device, 0, 0, 0)


def test_arrows_go_where_the_picture_shows_and_the_view_can_be_the_robots(
    page: Any, device: BrowserDevice
) -> None:
    page.keyboard.down("ArrowRight")
    moves(page, device, 0, HALF, 0)
    page.keyboard.up("ArrowRight")
    page.keyboard.press("?")
    page.check("#robot-view")
    page.keyboard.press("Escape")
    page.keyboard.down("ArrowRight")
    moves(page, device, 0, -HALF, 0)
    page.keyboard.up("ArrowRight")
    page.evaluate("localStorage.clear()")


def test_in_a_plane_it_goes_where_the_held_mouse_points(browser: Any) -> None:
    device = serve({**ABOUT, "pointer": True}, "127.0.0.1", 0)
    device.show(Status(phase=Phase.RECORDING, rate=10.0), {"front": np.zeros((20, 40, 3), np.uint8)})
    page = browser.new_page()
    page.goto(device.invitation.split()[1].rstrip(";"))
    page.wait_for_selector("body[data-phase=recording][data-steers=true]")
    page.wait_for_function("document.querySelector('canvas[data-camera=front]').width === 40")
    box = page.locator("canvas[data-camera=front]").bounding_box()
    scale = min(box["width"] / 40, box["height"] / 20)

    def points(across: float, down: float) -> None:
        def is_there() -> bool:
            pointer = device.command().pointer
            return pointer is not None and bool(np.allclose(pointer, (across, down), atol=0.02))

        until(page, is_there)

    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.wait_for_timeout(100)
    assert device.command().pointer is None, "the button is not held"
    page.mouse.down()
    points(0.5, 0.5)
    page.mouse.move(middle[0] + 10 * scale, middle[1] - 5 * scale)
    points(0.75, 0.25)
    page.mouse.up()
    until(page, lambda: device.command().pointer is None)
    page.close()
    device.close()


def test_a_tapped_key_is_one_step(page: Any, device: BrowserDevice) -> None:
    page.keyboard.press("KeyQ")
    page.wait_for_timeout(200)  # until the release has come too: a key that is held counts for more
    moves(page, device, 0, 0, -HALF)
    assert not device.command().moves


def test_keys_ask_for_what_the_buttons_say(page: Any, device: BrowserDevice) -> None:
    for key in ("Space", "Enter", "Backspace", "KeyR", "KeyZ", "KeyH", "KeyP", "KeyT", "KeyK", "Escape"):
        page.keyboard.press(key)
    hears(
        page,
        device,
        *(Event.GRIPPER, Event.KEEP, Event.DISCARD, Event.REDO, Event.UNDO, Event.HOME, Event.PAUSE),
        *(Event.TAKE_OVER, Event.KEEP, Event.STOP),
    )


def test_buttons_are_there_for_what_has_its_place(page: Any, device: BrowserDevice) -> None:
    assert page.is_disabled("[data-event=home]") and page.is_disabled("[data-event=finish]")
    page.click("[data-event=pause]")
    page.click("[data-event=gripper]")
    page.click("[data-event=stop]")
    hears(page, device, Event.PAUSE, Event.GRIPPER, Event.STOP)
    page.keyboard.press("Space")
    hears(page, device, Event.GRIPPER)  # and not the button that was clicked last


def test_the_session_ends_only_at_the_second_click(page: Any, device: BrowserDevice) -> None:
    device.show(Status(phase=Phase.WAITING), {})
    page.wait_for_selector("body[data-phase=waiting]")
    page.click("[data-event=finish]")
    assert page.inner_text("[data-event=finish]") == "Really finish?"
    page.click("[data-event=finish]")
    hears(page, device, Event.FINISH)


def test_enter_throws_no_take_away(page: Any, device: BrowserDevice) -> None:
    device.show(Status(phase=Phase.REVIEW, success=False, steps=9), {})
    page.wait_for_selector("body[data-phase=review]")
    page.keyboard.press("Enter")
    page.keyboard.press("KeyK")
    hears(page, device, Event.KEEP)


def test_touch_moves_while_it_lasts(page: Any, device: BrowserDevice) -> None:
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 3 * box["width"] / 4, box["y"] + box["height"] / 2)
    moves(page, device, 0, HALF / 2, 0)
    page.mouse.up()
    moves(page, device, 0, 0, 0)
    box = page.locator("#lift").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"])
    page.mouse.down()
    moves(page, device, 0, 0, HALF)
    page.mouse.up()
    moves(page, device, 0, 0, 0)


def test_a_gamepad_steers_and_presses_buttons(page: Any, device: BrowserDevice) -> None:
    page.evaluate(
        """() => {
            window.pad = { connected: true, index: 1, id: "pad", mapping: "standard", axes: [0, -1, 0, 0],
                           buttons: Array.from({ length: 17 }, () => ({ pressed: false, value: 0 })) };
            window.other = { ...structuredClone(window.pad), index: 0, id: "wheel", mapping: "" };
            window.other.axes = [1, 1, 1, 1];
            navigator.getGamepads = () => [window.other, window.pad];
        }"""
    )
    moves(page, device, -HALF, 0, 0)
    page.evaluate("window.pad.axes = [0.1, 0.1, 0, 0.575]")  # in the dead zone; half way
    moves(page, device, 0, 0, -HALF / 4)
    page.evaluate("window.pad.axes = [0, 0, 0, 0]; window.pad.buttons[0].pressed = true")
    hears(page, device, Event.GRIPPER)
    page.wait_for_timeout(200)
    assert device.events() == [], "a held button counts once"
    page.evaluate("window.pad.connected = false; window.other.mapping = 'standard'")
    moves(page, device, 0, 0, 0)
    page.wait_for_timeout(200)
    assert not device.command().moves, "another pad that was there does not go on by itself"
    page.evaluate("window.other.buttons[13].pressed = true")
    hears(page, device, Event.STOP)
    assert page.text_content("#gamepad") == "wheel steers"


@pytest.mark.parametrize("event", ["blur", "pagehide"])
def test_a_page_that_loses_the_focus_lets_go(page: Any, device: BrowserDevice, event: str) -> None:
    """What a browser does when another window is chosen."""
    page.keyboard.down("KeyW")
    moves(page, device, -HALF, 0, 0)
    page.evaluate(f"document.hasFocus = () => false; window.dispatchEvent(new Event('{event}'))")
    until(page, lambda: device.command().absence == "the page has lost the focus")
    page.evaluate("document.hasFocus = () => true; window.dispatchEvent(new Event('focus'))")
    until(page, lambda: device.command().absence is None)
    assert not device.command().moves, "a key held before does not go on"


def test_a_page_that_hangs_stops_all_motion(page: Any, device: BrowserDevice) -> None:
    page.keyboard.down("KeyW")
    moves(page, device, -HALF, 0, 0)
    page.evaluate("const end = performance.now() + 600; while (performance.now() < end);")
    page.keyboard.up("KeyW")
    moves(page, device, 0, 0, 0)


def test_all_cameras_are_drawn_live(page: Any, device: BrowserDevice) -> None:
    for shade in (40, 200):
        frame = np.full((32, 48, 3), shade, np.uint8)
        device.show(Status(phase=Phase.RECORDING), {"front": frame})
        brightness = "document.querySelector('canvas').getContext('2d').getImageData(24, 16, 1, 1).data[0]"
        until(page, lambda: abs(page.evaluate(brightness) - shade) < 4)  # noqa: B023 (called at once)
    assert page.evaluate("document.querySelector('canvas').width") == 48


def test_a_camera_names_the_keys_that_lead_to_its_edges_and_grows_when_it_is_clicked(page: Any) -> None:
    places = {"left": "A", "right": "D", "up": "W", "down": "S"}
    assert {place: page.text_content(f"figure .key.{place}") for place in places} == places
    page.click("figure")
    page.wait_for_selector("figure.large")
    page.click("figure")
    page.wait_for_selector("figure:not(.large)")


@pytest.mark.parametrize("size", [(900, 420), (420, 860), (1920, 1080)])
def test_the_emergency_stop_and_the_pad_are_in_view(page: Any, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    for name in ("[data-event=stop]", "#pad"):
        box = page.locator(name).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= size[1], name


def test_a_second_window_asks_before_it_steers_and_stops_at_any_time(
    browser: Any, page: Any, device: BrowserDevice
) -> None:
    other = browser.new_page()
    other.goto(page.url)
    other.wait_for_selector("#elsewhere >> text=Another window steers")
    other.keyboard.press("KeyP")
    other.click("[data-event=stop]")
    hears(page, device, Event.STOP)
    other.click("#steer-here")
    assert device.command().absence is None, "it asks first"
    other.click("#steer-here >> text=Take over?")
    page.wait_for_selector("#elsewhere >> text=Another window steers")
    page.keyboard.press("KeyP")
    page.keyboard.press("Escape")
    hears(other, device, Event.STOP)
    other.keyboard.press("KeyP")
    hears(other, device, Event.PAUSE)
    other.close()
    page.wait_for_selector("#elsewhere", state="hidden")


def test_a_page_whose_session_is_gone_says_so_and_comes_back(browser: Any) -> None:
    device = serve(ABOUT, "127.0.0.1", 0)
    page = browser.new_page()
    page.goto(device.invitation.split()[1].rstrip(";"))
    page.wait_for_selector("#link:not(.lost)")
    device.close()
    page.wait_for_selector("#veil:not([hidden]) >> text=Connection lost")
    page.close()


# Whole episodes


def test_a_person_records_the_toy_by_pressing_keys(browser: Any, tmp_path: Path) -> None:
    out = tmp_path / "demos"
    page = browser.new_page()
    with session(out, "env=toy", "operator=ada", "notes=by keys") as (process, address):
        operator = Operator(page, address)
        operator.wait_for("waiting")
        operator.press("Enter")
        page.keyboard.down("KeyE")
        operator.rest(3)
        page.keyboard.up("KeyE")
        operator.press("Backspace")
        operator.wait_for("waiting")
        x, y, _ = toy_cube(start=1)
        operator.pick_up((x, y, 0.0), near=0.04, tolerance=0.006, closing=1)
        assert operator.message().startswith("success after")
        operator.press("Enter")
        page.wait_for_selector("#demos >> text=1")
        page.click("[data-event=finish]")
        page.click("[data-event=finish]")
        page.wait_for_selector("#veil >> text=Session over")
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    assert f"{out}: 1 demos" in printed
    check_demo(out, operator_name="ada")
    assert DemoStore.open(out).episode("000000").attributes["notes"] == "by keys"
    page.close()


def toy_cube(start: int) -> tuple[float, float, float]:
    """Where the toy lays the cube at a start of seed 0."""
    env = Toy(image_size=16)
    env.reset(seed=int(np.random.SeedSequence([0, start]).generate_state(1)[0]))
    return env.cube()


def check_demo(out: Path, operator_name: str) -> None:
    """One successful demo, whose actions are within what a policy may output and not all still."""
    store = DemoStore.open(out)
    assert store.ids() == ["000000"]
    demo = store.episode("000000")
    assert demo.attributes["success"] is True
    assert demo.attributes["operator"] == operator_name
    assert demo.attributes["teleop"] == "browser"
    assert np.array_equal(demo.action, demo.action_applied), "nothing was out of range"
    assert np.any(demo.action[0] != [0, 0, 0, -1]), "a take begins with the first motion"
    assert {-1.0, 1.0} == set(demo.action[:, 3])
    assert (np.diff(demo.time) > 0).all()


def test_a_browser_that_goes_away_pauses_the_take_and_another_goes_on(browser: Any, tmp_path: Path) -> None:
    out = tmp_path / "demos"
    with session(out, "env=toy", "env.image_size=16") as (process, address):
        page = browser.new_page()
        first = Operator(page, address)
        first.wait_for("waiting")
        first.press("Enter")
        page.keyboard.down("KeyE")
        first.rest(2)
        page.close()
        page = browser.new_page()
        second = Operator(page, address)
        second.wait_for("paused")
        page.wait_for_selector("#message >> text=Start goes on (paused: ")
        second.press("Enter")
        second.wait_for("recording")
        second.rest(3)
        page.reload()
        page.wait_for_selector("#message >> text=Start goes on (paused: ")
        second.press("Enter")
        second.wait_for("recording")
        second.rest(1)
        second.press("Enter")
        second.wait_for("review")
        second.press("KeyK")
        second.wait_for("waiting")
        process.send_signal(2)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
        page.close()
    demo = DemoStore.open(out).episode("000000")
    assert len(demo.attributes["timing"]["pauses"]) == 2, "one a page that went away, one a reload"
    moving = np.flatnonzero(demo.action[:, 2])
    assert len(moving) >= 2 and not demo.action[moving[-1] + 1 :, :3].any(), (
        "it moved after the page was gone"
    )


@pytest.mark.slow
@pytest.mark.parametrize("action_space", ["ee_delta", "joint"])
def test_a_person_picks_the_cube_up_in_the_simulator(
    browser: Any, tmp_path: Path, cube_pick: CubePick, action_space: str
) -> None:
    from envs.cube_pick.simulation import CUBE_HALF_SIZE

    cube_pick.reset(seed=int(np.random.SeedSequence([0, 0]).generate_state(1)[0]))
    x, y, _ = cube_pick.cube()
    cube = np.array([x, y, CUBE_HALF_SIZE]) - cube_pick.base_position
    out = tmp_path / "demos"
    page = browser.new_page()
    options = (f"env.action_space={action_space}", "env.image_size=64", "limit=6000", "operator=grace")
    with session(out, *options) as (process, address):
        operator = Operator(page, address, position=slice(8, 11))
        operator.wait_for("waiting")
        operator.pick_up(cube.tolist(), near=0.03, tolerance=0.006, closing=14)
        assert operator.message().startswith("success after")
        operator.press("Enter")
        page.wait_for_selector("#demos >> text=1")
        process.send_signal(2)
        process.communicate(timeout=60)
    demo = DemoStore.open(out).episode("000000")
    assert demo.attributes["success"] is True
    assert demo.action.shape[1] == (4 if action_space == "ee_delta" else 8)
    page.close()


@pytest.mark.slow
def test_a_person_takes_over_from_a_policy_and_hands_back(
    browser: Any, tmp_path: Path, toy_checkpoint: Path
) -> None:
    out = tmp_path / "demos"
    page = browser.new_page()
    with session(out, "env=toy", f"checkpoint={toy_checkpoint}") as (process, address):
        operator = Operator(page, address)
        operator.wait_for("waiting")
        operator.press("Enter")
        page.wait_for_selector("#pilot >> text=The policy steers")
        operator.rest(3)
        page.keyboard.down("KeyE")
        page.wait_for_selector("#pilot >> text=You steer")
        operator.rest(3)
        page.keyboard.up("KeyE")
        page.click("[data-event=take_over]")
        page.wait_for_selector("#pilot >> text=The policy steers")
        operator.rest(3)
        operator.press("Enter")
        operator.wait_for("review")
        operator.press("KeyK")
        page.wait_for_selector("#demos >> text=1")
        process.send_signal(2)
        process.communicate(timeout=60)
    attributes = DemoStore.open(out).episode("000000").attributes
    by_person = np.array(attributes["by_person"])
    assert attributes["action_loss_mask"] == attributes["by_person"]
    assert not by_person[0] and not by_person[-1] and by_person.any()
    assert (np.diff(by_person.astype(int)) != 0).sum() == 2, "taken over once, handed back once"
    assert attributes["policy"]["checkpoint"] == str(toy_checkpoint)
    page.close()
