"""A V4L2 camera and one on the network at once, through many files: nothing is lost unsaid, and what comes out plays elsewhere."""

import json
import subprocess

import pytest

from holdfast_hw import bench

# Hours, in minutes: files of the smallest size that can be configured, filled by a camera of 16 Mbit/s.
ROTATIONS = 24
ROTATION_MIB = 16
FPS = 10
DROP_IN = "/etc/holdfast/holdfast.toml.d/50-site.toml"
CREDENTIALS = "/etc/holdfast/cam1.credentials"
USER, PASSWORD = "viewer", "correct-horse"
EXPORTS = "/var/tmp/export"


@pytest.fixture(scope="module")
def network_camera(box, appliance, tmp_path_factory):
    """The box with a second input, given to it as an administrator does: a drop-in and a file of credentials on the data partition."""
    box.wait_up()
    with bench.camera(tmp_path_factory.mktemp("camera"), USER, PASSWORD, fps=FPS) as url:
        box.write(CREDENTIALS, f"{USER}:{PASSWORD}\n", mode="640", group="holdfast")
        box.write(
            DROP_IN,
            f'[recording]\nrotation_minutes = 1\nrotation_mib = {ROTATION_MIB}\n'
            f'[[input]]\nname = "cam1"\nsource = "rtsp"\nurl = "{url}"\ncredentials_file = "{CREDENTIALS}"\n',
        )
        box.run("holdfast config check && systemctl restart holdfast-recorder")
        box.until("both inputs stream", lambda: [one["source_state"] for one in box.status()["inputs"]] == ["streaming"] * 2)
        yield
        box.run(f"rm -f {DROP_IN} {CREDENTIALS}; systemctl restart holdfast-recorder")


@pytest.fixture(scope="module")
def session(box, network_camera):
    """A recording of both, through many rotations; as `holdfast show` tells it."""
    box.holdfast("start --label record-suite", timeout=300)
    box.until(
        f"{ROTATIONS} files of cam1 are closed",
        lambda: len([file for file in files(box.holdfast("show last"), "cam1") if not file["open"]]) >= ROTATIONS,
        timeout=1800,
    )
    box.holdfast("stop", timeout=300)
    return box.holdfast("show last")


def files(shown, name):
    return [file for file in shown["file_list"] if file["input"] == name]


def frames(shown, name):
    """How many the box's ledger has."""
    return sum(file["frames"] for file in files(shown, name))


def gaps(shown, name):
    return [gap for gap in shown["gap_list"] if gap["input"] == name]


def test_the_network_camera_loses_nothing_through_many_files(session, figure):
    told = files(session, "cam1")
    assert [file["sequence"] for file in told] == list(range(1, len(told) + 1))
    assert not gaps(session, "cam1"), session["gap_list"]
    seconds = sum(file["duration_usec"] for file in told) / 1e6
    # Each that the camera gives has come.
    assert abs(frames(session, "cam1") - seconds * FPS) <= len(told), (frames(session, "cam1"), seconds)
    figure("record_files_rtsp", len(told))
    figure("record_frames_rtsp", frames(session, "cam1"))
    figure("record_lost_rtsp", sum(gap["frames_lost"] for gap in gaps(session, "cam1")))


def test_what_the_emulated_encoder_could_not_take_is_told_with_its_cause(session, figure):
    told = gaps(session, "cam0")
    assert frames(session, "cam0") > 0 and all(gap["cause"] for gap in told), told
    assert sum(gap["frames_lost"] for gap in session["gap_list"]) == session["lost_frames"]
    figure("record_frames_v4l2", frames(session, "cam0"))
    figure("record_lost_v4l2", session["lost_frames"])


def test_every_byte_is_as_it_was_recorded(box, session):
    told = box.holdfast("verify last", timeout=1200)
    assert told["ok"] and not told["findings"], told["findings"]
    counted = {one["input"]: one["frames"] for one in told["report"]["inputs"]}
    assert counted == {name: frames(session, name) for name in session["inputs"]}


def test_every_picture_decodes_in_the_box(box, session, figure):
    began = box.uptime_s()
    told = box.holdfast("verify --decode last", timeout=3600)
    assert told["ok"], told["findings"]
    assert len(told["decoded"]) == session["files"]
    for file in told["decoded"]:
        assert file["pictures"] == file["frames"] and not file["undecoded"] and not file["faults"], file
    figure("record_decode_s", box.uptime_s() - began)


@pytest.mark.parametrize("name", ["cam0", "cam1"])
def test_the_export_plays_on_another_machine(box, session, name, tmp_path, figure):
    box.run(f"mkdir -p {EXPORTS}")
    path = f"{EXPORTS}/{name}.mp4"
    box.holdfast(f"export last --input {name} -o {path}", timeout=1200)
    played = bench.fetch(box, path, tmp_path / f"{name}.mp4")
    box.run(f"rm {path}")
    assert pictures(played) == frames(session, name)
    if name == "cam1":
        # Its clock is the camera's: where a picture is missing there is a step of two.
        times = timestamps(played)
        steps = [later - earlier for earlier, later in zip(times, times[1:])]
        assert max(steps) < 1.5 / FPS, [step for step in steps if step >= 1.5 / FPS]
    errors = subprocess.run(["ffmpeg", "-v", "error", "-i", played, "-f", "null", "-"], capture_output=True, text=True, check=True)
    assert not errors.stderr, errors.stderr
    found = subprocess.run(["gst-discoverer-1.0", played], capture_output=True, text=True)
    assert found.returncode == 0 and "video" in found.stdout, found.stdout + found.stderr
    figure(f"record_export_bytes_{name}", played.stat().st_size)


def timestamps(file):
    """When its pictures are shown, in seconds, as another's demuxer reads them."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time", "-of", "json", file]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return sorted(float(packet["pts_time"]) for packet in json.loads(told.stdout)["packets"])


def pictures(file):
    """How many pictures another's decoder gets out of a file."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries", "stream=nb_read_frames", "-of", "json", file]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(json.loads(told.stdout)["streams"][0]["nb_read_frames"])
