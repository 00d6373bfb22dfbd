"""Facts of pathemo.faces.landmarks: tables read or refused, normalised shapes, measures and
functionals.
"""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from pathemo import corpora, faces, synthetic

code = import_module("pathemo.faces.landmarks")  # a function of the package has its name

NAMES = ("inner brow", "outer brow", "lids", "nose", "smile", "jaw")
COLUMNS = [f"{axis}_{number}" for axis in "xy" for number in range(68)]


def shape(**moves):
    """Landmarks (68, 2) [pixels] of a drawn face that moves so far."""
    moves = [moves.get(name.replace(" ", "_"), 0) for name in NAMES]
    return 100 * synthetic.landmarks(*moves) + (300, 200)


def measure(points, name):
    """One measure of each frame (n_frames,)."""
    return faces.measures(np.asarray(points))[:, faces.MEASURES.index(name)]


def functional(points, name, seconds=1.0):
    """One functional of a track that lasts so long."""
    row = faces.functionals_of(np.linspace(0, seconds, len(points)), np.asarray(points))
    return row[faces.FUNCTIONALS.index(name)]


def table(points, **columns):
    """Landmark table of points (n_frames, 68, 2), after the columns given."""
    landmarks = pd.DataFrame(np.swapaxes(points, 1, 2).reshape(len(points), 136), columns=COLUMNS)
    return pd.concat([pd.DataFrame(columns), landmarks], axis=1)


def index_of(*paths):
    clips = [f"clip{number}" for number in range(len(paths))]
    return pd.DataFrame(
        {"clip": clips, "landmarks": [path and str(path) for path in paths]}, dtype="string"
    )


def turned(points, degrees):
    """Points turned clockwise on the screen around the origin."""
    plane = (points[..., 0] + 1j * points[..., 1]) * np.exp(1j * np.radians(degrees))
    return np.stack([plane.real, plane.imag], axis=-1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def points():
    """Landmarks (10, 68, 2) of a face that opens its mouth."""
    return np.array([shape(jaw=jaw) for jaw in np.linspace(0, 1, 10)])


# --- track


def test_a_trimmed_table_comes_back(tmp_path, points):
    """Frame, timestamp, x and y, gzipped or not."""
    seconds = np.arange(10) / 29.97
    for name in ("a.csv", "a.csv.gz"):
        table(points, frame=range(1, 11), timestamp=seconds).to_csv(tmp_path / name, index=False)
        time, read = faces.track(tmp_path / name)
        np.testing.assert_allclose(time, seconds)
        np.testing.assert_allclose(read, points)


def test_a_table_of_openface_is_read_as_published(tmp_path, points):
    """Blanks before the names, other columns before and between; frames without success are left
    out.
    """
    success = [1, 1, 0, 1, 1, 1, 1, 0, 1, 1]
    whole = table(
        points,
        frame=range(10),
        face_id=0,
        timestamp=np.arange(10) / 30,
        confidence=0.98,
        success=success,
        gaze_0_x=0.1,
        AU01_r=0.5,
    )
    whole.columns = [f" {name}" if number else name for number, name in enumerate(whole)]
    whole.to_csv(tmp_path / "a.csv", index=False)
    time, read = faces.track(tmp_path / "a.csv")
    np.testing.assert_allclose(time, np.flatnonzero(success) / 30)
    np.testing.assert_allclose(read, points[np.flatnonzero(success)])


def test_a_frame_with_an_empty_cell_is_left_out(tmp_path, points):
    """Nine of ten frames come, with their times."""
    whole = table(points, timestamp=np.arange(10) / 30)
    whole.iloc[4, 20] = np.nan
    whole.to_csv(tmp_path / "a.csv", index=False)
    time, read = faces.track(tmp_path / "a.csv")
    np.testing.assert_allclose(read, np.delete(points, 4, axis=0))
    np.testing.assert_allclose(time, np.delete(np.arange(10), 4) / 30)


def test_of_several_people_the_one_in_most_frames_is_taken(tmp_path, points):
    """Two others in three frames each do not count, nor do cells that are empty."""
    both = [table(points, timestamp=np.arange(10) / 30, face_id=1)]
    both.append(table(points[:3] + 200, timestamp=np.arange(3) / 30, face_id=0))
    both.append(table(points[:3] - 200, timestamp=np.arange(3) / 30, face_id=2))
    both = pd.concat(both)
    both.iloc[4, 20] = np.nan
    both.to_csv(tmp_path / "a.csv", index=False)
    time, read = faces.track(tmp_path / "a.csv")
    np.testing.assert_allclose(read, np.delete(points, 4, axis=0))
    assert len(time) == 9


def test_without_timestamps_frames_are_a_thirtieth_of_a_second_apart(tmp_path, points):
    """The points alone will do."""
    table(points).to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_allclose(faces.track(tmp_path / "a.csv")[0], np.arange(10) / 30)


def test_without_timestamps_the_number_of_a_frame_counts(tmp_path, points):
    """Frames that are not there leave a gap."""
    numbers = np.array([1, 2, 3, 4, 5, 8, 9, 10, 11, 12])
    table(points, frame=numbers).to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_allclose(faces.track(tmp_path / "a.csv")[0], numbers / 30)


@pytest.mark.parametrize("column", ["face", "face_id", "person"])
def test_rows_of_several_people_are_not_taken_for_times(tmp_path, points, column):
    """Two people a frame, and nothing that tells the time."""
    both = table(points.repeat(2, axis=0), **{column: [0, 1] * 10})
    both.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=rf"a\.csv: no column timestamp or frame .*'{column}'"):
        faces.track(tmp_path / "a.csv")
    both.assign(frame=np.arange(20) // 2, face=0).to_csv(tmp_path / "a.csv", index=False)
    if column != "face_id":
        with pytest.raises(ValueError, match=r"a\.csv: its times do not increase; face_id"):
            faces.track(tmp_path / "a.csv")


def test_a_mesh_is_not_taken_for_the_68_points(tmp_path):
    """Of 478 points the first 68 are others."""
    names = [f"{axis}_{number}" for number in range(478) for axis in "xy"]
    mesh = pd.DataFrame(np.random.default_rng(0).random((3, 956)), columns=names)
    mesh.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r"a\.csv: it has more points than the 68"):
        faces.track(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "it is empty"),
        (b"\x1f\x8b\x08 broken", "it is damaged or no table"),
        (b"frame,x_0,y_0\n1,2,3\n", "134 columns of x_0..y_67 are lacking, x_1 first"),
        (",".join(COLUMNS).encode() + b"\n", "no frame of it has a face"),
        (
            "\n".join([",".join(COLUMNS), ",".join(["0"] * 136)]).encode(),
            "no frame of it has a face",
        ),
        (
            "\n".join([",".join(COLUMNS), *[",".join("1" * n) for n in (136, 135)]]).encode(),
            "Some errors were detected !.*Line #3 .got 135 columns instead of 136",
        ),
        (
            "\n".join([",".join(COLUMNS), ",".join(["x"] * 136)]).encode(),
            "Cannot convert string 'x'",
        ),
    ],
    ids=["empty", "broken", "other columns", "no rows", "all zero", "short row", "letters"],
)
def test_what_is_no_track_is_refused_by_name(tmp_path, content, reason):
    """The error names the file, what is wrong, and the way out."""
    path = tmp_path / ("a.csv.gz" if content.startswith(b"\x1f") else "a.csv")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s){path}: {reason}.*again, or leave it out"):
        faces.track(path)
    with pytest.raises(FileNotFoundError, match="gone.csv: no such table of landmarks"):
        faces.track(tmp_path / "gone.csv")


# --- normalise


@pytest.mark.parametrize("degrees", [0, 25, -70, 180])
def test_place_size_and_roll_do_not_count(degrees):
    """A face that is moved, enlarged and turned in the picture has the same normalised
    landmarks.
    """
    here = np.random.default_rng(0).normal(size=(3, 68, 2))
    there = 7 * turned(here, degrees) + (200, -30)
    np.testing.assert_allclose(code.normalise(there), code.normalise(here), atol=1e-12)


def test_normalised_landmarks_are_centred_level_and_of_unit_size():
    """Mean 0, root mean square distance 1, both eyes at one height, the person's right to the
    left.
    """
    points = code.normalise(turned(shape(smile=1)[None], 20))[0]
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)
    assert np.square(points).sum(axis=1).mean() == pytest.approx(1)
    right, left = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    assert right[1] == pytest.approx(left[1])
    assert right[0] < left[0]
    assert points[8, 1] > points[27, 1]  # y points down


# --- landmarks


def test_landmarks_are_resampled_from_the_first_to_the_last(tmp_path, points):
    """Of ten frames nineteen are the ten and the means between; a clip each, in the order of the
    index.
    """
    for name, track in ("a", points), ("b", points[::-1]):
        table(track, timestamp=np.arange(10) / 30).to_csv(tmp_path / f"{name}.csv", index=False)
    tracks = faces.landmarks(index_of(tmp_path / "b.csv", tmp_path / "a.csv"), n_frames=19)
    assert tracks.shape == (2, 19, 68, 2)
    assert tracks.dtype == np.float32
    expected = code.normalise(points)
    np.testing.assert_allclose(tracks[1, ::2], expected, atol=1e-6)
    np.testing.assert_allclose(tracks[1, 1::2], (expected[1:] + expected[:-1]) / 2, atol=1e-6)
    np.testing.assert_allclose(tracks[0], tracks[1, ::-1], atol=1e-6)


def test_a_single_frame_is_held(tmp_path, points):
    """A table of one frame gives it at all times, and finite functionals."""
    table(points[:1]).to_csv(tmp_path / "a.csv", index=False)
    index = index_of(tmp_path / "a.csv")
    assert np.ptp(faces.landmarks(index, n_frames=4), axis=1).max() == 0
    assert np.isfinite(faces.functionals(index)).all()


# --- measures


@pytest.mark.parametrize(
    "name, moves, sign",
    [
        ("mouth opening", {"jaw": 1}, 1),
        ("lip height", {"jaw": 1}, 1),
        ("chin down", {"jaw": 1}, 1),
        ("smile", {"smile": 1}, 1),
        ("smile", {"smile": -1}, -1),
        ("mouth width", {"smile": 1}, 1),
        ("right eye opening", {"lids": 1}, 1),
        ("left eye opening", {"lids": -1}, -1),
        ("right inner brow", {"inner_brow": 1}, 1),
        ("left outer brow", {"outer_brow": 1}, 1),
        ("right brow tilt", {"inner_brow": -1}, 1),
        ("left brow tilt", {"inner_brow": -1}, 1),
        ("upper lip", {"nose": 1}, 1),
    ],
)
def test_measures_follow_what_they_are_named_after(name, moves, sign):
    """A face that moves one thing changes its measure clearly, in the direction of the name."""
    change = np.diff(measure([shape(), shape(**moves)], name))[0]
    assert sign * change > 0.01


def test_distances_are_those_in_the_normalised_face():
    """Widths are distances of two points, the eyes' opening the mean of two, the rest one
    coordinate each.
    """
    points = shape(smile=0.5)
    points[54] -= (0, 5)  # the left corner of the mouth is higher
    normal = code.normalise(points[None])[0]
    assert measure([points], "nostrils")[0] == pytest.approx(
        np.linalg.norm(normal[31] - normal[35])
    )
    assert measure([points], "chin")[0] == pytest.approx(normal[8, 1] - normal[57, 1])
    assert measure([points], "mouth tilt")[0] == pytest.approx(normal[48, 1] - normal[54, 1])
    assert measure([points], "mouth tilt")[0] > 0
    assert measure([points], "mouth width")[0] == pytest.approx(
        np.linalg.norm(normal[48] - normal[54])
    )
    heights = np.linalg.norm(normal[[37, 38]] - normal[[41, 40]], axis=1)
    assert measure([points], "right eye opening")[0] == pytest.approx(heights.mean())


def test_a_mirrored_face_exchanges_right_and_left():
    """What is named after a side changes places with the other, what goes aside changes its
    sign.
    """
    mirror = np.r_[
        16:-1:-1,
        26:16:-1,
        27:31,
        35:30:-1,
        45:41:-1,
        47,
        46,
        39:35:-1,
        41,
        40,
        54:47:-1,
        59:54:-1,
        64:59:-1,
        67:64:-1,
    ]
    points = shape(lids=0.3, smile=0.4) + np.random.default_rng(0).normal(0, 2, (68, 2))
    for name in faces.MEASURES[:23]:
        other = name.replace("right", "?").replace("left", "right").replace("?", "left")
        sign = -1 if name in ("nose aside", "chin aside", "mouth tilt") else 1
        expected = sign * measure([points], other)[0]
        assert measure([points[mirror] * (-1, 1)], name)[0] == pytest.approx(expected, abs=1e-9), (
            name
        )


def test_the_head_is_measured_apart_from_the_face():
    """Turning, approaching and moving show in their own measures and in no other."""
    still = shape()
    moved = turned(1.2 * still, 10) + (50, 20)
    change = np.diff(faces.measures(np.array([still, moved])), axis=0)[0]
    np.testing.assert_allclose(change[:23], 0, atol=1e-12)
    assert change[faces.MEASURES.index("roll")] == pytest.approx(np.radians(10))
    assert change[faces.MEASURES.index("distance")] == pytest.approx(np.log(1.2))
    assert abs(change[faces.MEASURES.index("position x")]) > 0.1


# --- functionals


def test_statistics_are_those_of_numpy():
    """Mean, deviation and the range from the 10th to the 90th percentile of a measure."""
    points = np.array([shape(jaw=jaw) for jaw in np.random.default_rng(0).uniform(0, 1, 50)])
    course = measure(points, "mouth opening")
    low, high = np.percentile(course, [10, 90])
    for name, expected in (("mean", course.mean()), ("sd", course.std()), ("range", high - low)):
        assert functional(points, f"mouth opening {name}") == pytest.approx(expected, rel=1e-5)


def test_means_of_what_is_relative_to_the_mean_are_nothing(points):
    """Distance and position have exactly 0, not what rounding leaves of it."""
    moving = points * np.linspace(1, 1.3, 10)[:, None, None]
    for name in ("distance", "position x", "position y"):
        assert functional(moving, f"{name} mean") == 0 < functional(moving, f"{name} sd")


def test_velocity_is_the_way_by_the_time():
    """A mouth that opens and closes goes twice its opening; in half the time it is twice as
    fast.
    """
    points = np.array([shape(jaw=jaw) for jaw in (0, 0.5, 1, 0.5, 0)])
    course = measure(points, "mouth opening")
    expected = 2 * (course[2] - course[0])
    assert functional(points, "mouth opening velocity") == pytest.approx(expected, rel=1e-5)
    assert functional(points, "mouth opening velocity", 0.5) == pytest.approx(
        2 * expected, rel=1e-5
    )


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_contours_tell_courses_apart(order):
    """A head that rolls along one cosine has half its size in that contour, and nearly nothing
    elsewhere.
    """
    angles = 5 * np.cos(np.pi * order * np.linspace(0, 1, 2001))
    points = np.array([turned(shape(), angle) for angle in angles])
    row = faces.functionals_of(np.linspace(0, 3, 2001), points)
    contours = [row[faces.FUNCTIONALS.index(f"roll contour{number}")] for number in (1, 2, 3, 4)]
    expected = np.radians(5) / 2 * (np.arange(1, 5) == order)
    np.testing.assert_allclose(contours, expected, atol=2e-4)


def test_names_and_values_are_as_many():
    """Every functional has one name, and no name comes twice."""
    assert len(set(faces.FUNCTIONALS)) == len(faces.FUNCTIONALS) == 8 * len(faces.MEASURES)
    assert faces.functionals_of(np.arange(5.0), np.array([shape()] * 5)).shape == (
        len(faces.FUNCTIONALS),
    )


def test_functionals_are_cached_and_all_bad_tables_named(tmp_path, points, monkeypatch):
    """What is computed is not computed again; the missing, the bad and the lacking are named in one
    error.
    """
    table(points).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "bad.csv").write_text("x\n1\n")
    index = index_of(tmp_path / "bad.csv", None, tmp_path / "a.csv", tmp_path / "gone.csv")
    with pytest.raises(ValueError, match="3 recordings of 4 clips") as error:
        faces.functionals(index)
    for text in (
        "bad.csv: 136 columns of x_0..y_67 are lacking",
        "clip1: the clip has no landmarks",
        "gone.csv: no such table",
    ):
        assert text in str(error.value)
    expected = faces.functionals_of(*faces.track(tmp_path / "a.csv"))
    monkeypatch.setattr(code, "functionals_of", None)
    np.testing.assert_array_equal(faces.functionals(index[2:3]), [expected])


@pytest.mark.recorded
def test_recorded_landmarks(recorded_root):
    """Real tracks of a dozen RAVDESS clips have finite functionals, of open and closed mouths
    alike.
    """
    if not corpora.found("ravdess", recorded_root):
        pytest.skip("ravdess is not there")
    index = corpora.load("ravdess", recorded_root, complete=False)
    index = index[index["landmarks"].notna()].iloc[::120]
    rows = faces.functionals(index)
    assert np.isfinite(rows).all()
    assert (rows[:, faces.FUNCTIONALS.index("mouth opening range")] > 0.02).all()
