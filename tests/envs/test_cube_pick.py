"""The simulated task: deterministic, exact where it is told where the cube lies, and honest about success."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import refusal

import envs
from demos.cube_pick import ScriptedExpert, Variation
from envs.cube_pick.env import EE_STEP, HOLD_STEPS, LIFT_HEIGHT, CubePick
from s2robot.core.rollout import run_episode
from s2robot.core.spec import Observation
from s2robot.evaluation.fingerprint import Fingerprint
from s2robot.tasks.cube_pick import X_RANGE, Y_RANGE, evaluation_positions

ROOT = Path(envs.__file__).parents[1]
IMPORTS_TESTS = os.environ | {
    "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests/envs")))
}
STRAIGHT = Variation(hover=0.08, hover_offset=np.zeros(2), miss=None)


def fingerprint(env: CubePick, seed: int) -> str:
    """Of every observation of a few random steps."""
    digest = hashlib.sha256()
    observation, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(4):
        for array in (*observation["images"].values(), observation["proprio"]):
            digest.update(array.tobytes())
        observation, *_ = env.step(rng.uniform(-EE_STEP, EE_STEP, 4).astype(np.float32))
    return digest.hexdigest()


def gripper(observation: Observation) -> np.ndarray:
    return observation["proprio"][8:11]


def red_pixels(frame: np.ndarray) -> int:
    red, green, blue = np.moveaxis(frame.astype(int), -1, 0)
    return int(((red > 90) & (red > 2 * green) & (red > 2 * blue)).sum())


# The contract


@pytest.mark.parametrize("action_space", ["ee_delta", "joint"])
def test_it_is_a_gymnasium_environment(action_space: str) -> None:
    env = gymnasium.make("s2robot/CubePick-v0", image_size=16, action_space=action_space, max_steps=3)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_an_observation_is_frames_and_what_the_arm_itself_knows(cube_pick: CubePick) -> None:
    observation, info = cube_pick.reset(seed=0)
    assert observation.keys() == {"images", "proprio"}
    assert {n: (f.dtype, f.shape) for n, f in observation["images"].items()} == {
        "front": (np.uint8, (16, 16, 3)),
        "wrist": (np.uint8, (16, 16, 3)),
    }
    assert observation["proprio"].shape == (cube_pick.robot_spec.proprio_dim,) == (15,)
    assert info == {"success": False, "time": 0.0}
    *_, info = cube_pick.step(np.zeros(4, np.float32))
    assert info.keys() == {"success", "time", "action_applied"}
    assert info["time"] == pytest.approx(0.1)


def test_the_cubes_place_is_in_the_frames_alone(cube_pick: CubePick) -> None:
    near, _ = cube_pick.reset(seed=3, options={"cube": (-0.1, -0.1, 0.0)})
    far, _ = cube_pick.reset(seed=3, options={"cube": (0.1, 0.1, 1.0)})
    assert near["proprio"].tobytes() == far["proprio"].tobytes()
    assert not np.array_equal(near["images"]["front"], far["images"]["front"])


def test_the_front_camera_sees_the_cube_wherever_it_lies() -> None:
    env = CubePick(cameras=["front"], image_size=224)
    corners = [(x, y, 0.0) for x in X_RANGE for y in Y_RANGE]
    for pose in [*corners, *evaluation_positions()]:
        env.reset(seed=0, options={"cube": pose})
        assert 30 < red_pixels(env.render()) < 300  # "a few pixels wide"
    env.close()


@pytest.mark.parametrize("size", [50, 448])
def test_frames_are_rendered_at_the_size_asked_for(size: int) -> None:
    env = CubePick(cameras=["wrist"], image_size=size)
    observation, _ = env.reset(seed=0)
    assert {n: f.shape for n, f in observation["images"].items()} == {"wrist": (size, size, 3)}
    assert env.observation_space.contains(observation)
    assert np.array_equal(env.render(), observation["images"]["wrist"])
    assert observation["images"]["wrist"].std() > 5
    env.close()


def test_render_quality_can_be_chosen() -> None:
    frames = []
    for effect in ({}, {"shadows": True}, {"reflections": True}, {"multisampling": 4}):
        env = CubePick(cameras=["front"], image_size=32, **effect)
        env.reset(seed=0)
        frames.append(env.render().tobytes())
        env.close()
    assert len(set(frames)) == len(frames)


# The same seed


def test_a_seed_is_bit_identical_whatever_came_before(cube_pick: CubePick) -> None:
    first = fingerprint(cube_pick, 7)
    assert fingerprint(cube_pick, 8) != first
    np.random.seed(0)
    assert fingerprint(cube_pick, 7) == first


def whole_rollout(env: CubePick, seed: int) -> list[str | None]:
    """What the fingerprint tells of a pick by the expert: contacts, a closed gripper and a success."""
    fingerprint = Fingerprint(env)
    outcome = run_episode(env, ScriptedExpert(env, STRAIGHT), seed=seed, subscribers=[fingerprint])
    assert outcome.success
    return list(fingerprint.digests().values())


@pytest.mark.slow
def test_a_rollout_is_the_same_first_and_after_ten_others(cube_pick: CubePick) -> None:
    for seed in range(10):
        run_episode(cube_pick, ScriptedExpert(cube_pick, STRAIGHT), seed=seed)
    code = (
        "from envs.cube_pick.env import CubePick; from test_cube_pick import whole_rollout; "
        "print(*whole_rollout(CubePick(image_size=16), 21))"
    )
    there = subprocess.check_output([sys.executable, "-c", code], text=True, env=IMPORTS_TESTS, timeout=300)
    assert there.split() == whole_rollout(cube_pick, 21)


@pytest.fixture(scope="module")
def another_process() -> subprocess.CompletedProcess[str]:
    """Tells a fingerprint, of the first of two environments, and closes them."""
    code = (
        "from envs.cube_pick.env import CubePick; from test_cube_pick import fingerprint; "
        "a = CubePick(image_size=16); b = CubePick(image_size=16); "
        "print(fingerprint(a, 7)); a.close(); b.reset(seed=0); b.close(); b.close()"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=IMPORTS_TESTS, cwd=ROOT, timeout=120)


def test_a_seed_is_bit_identical_in_another_process(
    cube_pick: CubePick, another_process: subprocess.CompletedProcess[str]
) -> None:
    assert another_process.stdout == f"{fingerprint(cube_pick, 7)}\n"


def test_numpys_global_state_is_left_alone(cube_pick: CubePick) -> None:
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    cube_pick.reset(seed=0)
    assert np.random.random() == expected


# Where the cube lies


@settings(max_examples=15)
@given(st.floats(*X_RANGE), st.floats(*Y_RANGE), st.floats(-np.pi, np.pi), st.integers(0, 2**31))
def test_the_cube_is_put_exactly_where_told(
    cube_pick: CubePick, x: float, y: float, yaw: float, seed: int
) -> None:
    cube_pick.reset(seed=seed, options={"cube": (x, y, yaw)})
    there = cube_pick.cube()
    assert there[:2] == (x, y)
    assert np.cos(there[2] - yaw) == pytest.approx(1)
    assert cube_pick.cube_height() == 0


def test_without_a_pose_it_is_anywhere_in_the_rectangle(cube_pick: CubePick) -> None:
    poses = []
    for seed in range(12):
        cube_pick.reset(seed=seed)
        poses.append(cube_pick.cube())
    x, y, yaw = np.array(poses).T
    assert (abs(x) <= X_RANGE[1]).all() and (abs(y) <= Y_RANGE[1]).all()
    assert np.ptp(x) > 0.1 and np.ptp(y) > 0.1 and np.ptp(yaw) > 2


def test_the_cube_rests_where_it_lies(cube_pick: CubePick) -> None:
    cube_pick.reset(seed=0, options={"cube": (0.05, -0.08, 0.7)})
    for _ in range(5):
        cube_pick.step(np.array([0, 0, 0, -1], np.float32))
    np.testing.assert_allclose(cube_pick.cube(), (0.05, -0.08, 0.7), atol=1e-3)
    assert abs(cube_pick.cube_height()) < 1e-3


# Actions


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_ee_delta_moves_the_gripper_along_one_axis(cube_pick: CubePick, axis: int) -> None:
    before, _ = cube_pick.reset(seed=0, options={"cube": (0.1, 0.1, 0.0)})
    action = np.zeros(4, np.float32)
    action[axis] = EE_STEP / 2
    for _ in range(4):
        after, *_ = cube_pick.step(action)
    moved = gripper(after) - gripper(before)
    assert moved[axis] > 0.02
    assert np.abs(np.delete(moved, axis)).max() < 0.01


def test_joint_targets_are_reached(cube_pick_joint: CubePick) -> None:
    observation, _ = cube_pick_joint.reset(seed=0)
    target = observation["proprio"][:7] + np.array([0.1, -0.1, 0.1, 0.1, -0.1, 0.1, 0.2], np.float32)
    for _ in range(10):
        observation, *_ = cube_pick_joint.step(np.append(target, -1))
    np.testing.assert_allclose(observation["proprio"][:7], target, atol=0.03)


def test_the_gripper_opens_and_closes(cube_pick_joint: CubePick) -> None:
    observation, _ = cube_pick_joint.reset(seed=0, options={"cube": (0.1, 0.1, 0.0)})
    still = observation["proprio"][:7]
    openings = []
    for command in (1, -1):
        for _ in range(12):
            observation, *_ = cube_pick_joint.step(np.append(still, command))
        openings.append(observation["proprio"][7])
    assert openings[0] < 0.005 and openings[1] > 0.075


def test_the_gripper_points_down_with_a_quaternion_of_one_sign(cube_pick: CubePick) -> None:
    for seed in range(10):
        observation, _ = cube_pick.reset(seed=seed)
        x, y, z, w = observation["proprio"][11:]
        assert x > 0.6 and y > 0.6
        assert x**2 + y**2 + z**2 + w**2 == pytest.approx(1, abs=1e-5)


def test_what_is_out_of_range_is_clipped_and_told(cube_pick: CubePick) -> None:
    cube_pick.reset(seed=0)
    *_, info = cube_pick.step(np.array([1, -1, 0.01, 7], np.float32))
    np.testing.assert_allclose(info["action_applied"], [EE_STEP, -EE_STEP, 0.01, 1], rtol=1e-6)


# Success


def lift(env: CubePick) -> tuple[ScriptedExpert, Observation]:
    """Until the cube is above the height of success for the first time."""
    expert = ScriptedExpert(env, STRAIGHT)
    observation, _ = env.reset(seed=0, options={"cube": (0.0, 0.05, 0.2)})
    while env.cube_height() <= LIFT_HEIGHT:
        observation, _, terminated, truncated, _ = env.step(expert.act(observation))
        assert not (terminated or truncated)
    return expert, observation


def test_success_is_the_cube_held_up_for_half_a_second(cube_pick: CubePick) -> None:
    expert, observation = lift(cube_pick)
    for _ in range(HOLD_STEPS - 2):
        observation, reward, terminated, _, info = cube_pick.step(expert.act(observation))
        assert (reward, terminated, info["success"]) == (0, False, False)
    _, reward, terminated, _, info = cube_pick.step(expert.act(observation))
    assert (reward, terminated, info["success"]) == (1, True, True)
    assert HOLD_STEPS / cube_pick.robot_spec.rate == 0.5


def test_a_cube_that_is_dropped_does_not_count(cube_pick: CubePick) -> None:
    lift(cube_pick)
    for _ in range(12):
        *_, terminated, _, info = cube_pick.step(np.array([0, 0, -EE_STEP, -1], np.float32))
        assert not (terminated or info["success"])
    assert cube_pick.cube_height() < LIFT_HEIGHT


def test_the_count_of_held_steps_starts_anew_with_an_episode(cube_pick: CubePick) -> None:
    expert, observation = lift(cube_pick)
    for _ in range(HOLD_STEPS - 2):
        observation, *_ = cube_pick.step(expert.act(observation))
    cube_pick.reset(seed=1)
    *_, terminated, _, info = cube_pick.step(np.zeros(4, np.float32))
    assert not (terminated or info["success"])


def test_an_episode_is_truncated_at_its_limit() -> None:
    env = CubePick(cameras=["wrist"], image_size=16, max_steps=2)
    env.reset(seed=0)
    ends = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(2)]
    assert ends == [(False, False), (False, True)]
    env.close()


# Mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cameras": ["frnt"]}, "unknown camera 'frnt': did you mean 'front'? valid: front, wrist"),
        ({"cameras": []}, "no camera given; cube_pick has front, wrist"),
        ({"image_size": 897}, "image_size=897: expected 16 to 896 px"),
        ({"image_size": 0}, "image_size=0: expected 16 to 896 px"),
        ({"action_space": "joints"}, "unknown action space 'joints': did you mean 'joint'?"),
    ],
    ids=str,
)
def test_an_environment_that_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    assert refusal(lambda: CubePick(**options)).startswith(said)


@pytest.mark.parametrize(
    ("pose", "said"),
    [
        ((0.13, 0.0, 0.0), "cube=(0.13, 0.0, 0.0): expected x in (-0.12, 0.12) m"),
        ((0.0, -0.2, 0.0), "cube=(0.0, -0.2, 0.0): expected x in"),
        ((np.nan, 0.0, 0.0), "cube=(nan, 0.0, 0.0): expected x in"),
        ((0.0, 0.0, np.inf), "cube=(0.0, 0.0, inf): expected x in"),
        ((0.0, 0.0), "cube=(0.0, 0.0): expected (x [m], y [m], yaw [rad])"),
        (5, "cube=5: expected (x [m], y [m], yaw [rad])"),
    ],
)
def test_a_cube_outside_the_rectangle_is_refused(cube_pick: CubePick, pose: Any, said: str) -> None:
    assert refusal(lambda: cube_pick.reset(options={"cube": pose})).startswith(said)


def test_an_unknown_reset_option_is_refused(cube_pick: CubePick) -> None:
    said = refusal(lambda: cube_pick.reset(options={"cub": (0.0, 0.0, 0.0)}))
    assert said == "unknown reset option 'cub': did you mean 'cube'? valid: cube"


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (np.zeros(8), "action of shape (8,): ee_delta takes (4,)"),
        (np.array([0, np.nan, 0, 1]), "action is not finite in dy [m]"),
    ],
)
def test_a_bad_action_is_refused(cube_pick: CubePick, action: np.ndarray, said: str) -> None:
    cube_pick.reset(seed=0)
    assert refusal(lambda: cube_pick.step(action)).startswith(said)


@pytest.mark.parametrize("workers", [0, 1])
def test_without_gl_recording_ends_in_one_line(
    tmp_path: Path, no_osmesa: dict[str, str], workers: int
) -> None:
    arguments = ["record", f"out={tmp_path / 'demos'}", f"workers={workers}", "episodes=1"]
    command = [sys.executable, "-m", "s2robot.cli", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | no_osmesa, timeout=120
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("s2robot record: cannot render: ")
    assert not (tmp_path / "demos").exists()


def test_it_closes_without_a_word(another_process: subprocess.CompletedProcess[str]) -> None:
    said = another_process.stdout.splitlines()[1:]
    assert (another_process.returncode, said, another_process.stderr) == (0, [], "")


def test_the_wrist_camera_stands_the_other_way_round(cube_pick: CubePick) -> None:
    """To the right in the front camera's picture is to the left in the wrist's."""
    cube_pick.reset(seed=0)
    axes = cube_pick.camera_axes()
    np.testing.assert_allclose(axes["front"][0], [0, 1, 0], atol=0.1)
    np.testing.assert_allclose(axes["wrist"][0], [0, -1, 0], atol=0.1)
