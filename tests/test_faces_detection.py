"""Facts of pathemo.faces.detection: faces found, followed and cut out; what is left out; the
cache.
"""

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from pathemo import corpora, faces, synthetic
from pathemo.faces import detection

NEUTRAL = synthetic.landmarks(0, 0, 0, 0, 0, 0)


def photograph(*people, size=(720, 480)):
    """Picture (height, width) uint8 of drawn people, each given by its nose's x and y and half its
    width.
    """
    image = np.full((size[1], size[0], 3), 190, np.uint8)
    for x, y, half in people:
        skin = np.array([230.0, 190, 160])
        drawn = synthetic.draw(image.copy(), NEUTRAL * half + (x, y - 0.4 * half), skin)
        part = (
            slice(int(max(0, y - 1.7 * half)), int(y + 1.2 * half)),
            slice(int(x - half), int(x + half)),
        )
        image[part] = drawn[part]
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def write_video(path, images):
    """Video of 25 pictures a second."""
    with av.open(path, "w") as container:
        film = container.add_stream("mpeg4", rate=25, pix_fmt="yuv420p")
        film.height, film.width = images[0].shape
        film.bit_rate = 4_000_000
        for image in images:
            container.mux(film.encode(av.VideoFrame.from_ndarray(image, "gray")))
        container.mux(film.encode(None))
    return str(path)


def index_of(**media):
    """Index of the files, one clip each."""
    n = len(next(iter(media.values())))
    index = pd.DataFrame({"clip": [f"clip{i}" for i in range(n)], "corpus": ["own"] * n, **media})
    return index.astype("string")


def save(path, image):
    cv2.imwrite(str(path), image)
    return str(path)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refuse(*_, **__):
    raise AssertionError("computed again")


# --- find


def assert_around(box, person, shorter):
    """The box, in shares of the shorter side, holds the nose and is about as wide as the face."""
    x, y, width, height = box * shorter
    nose_x, nose_y, half = person
    assert abs(x + width / 2 - nose_x) < 0.3 * half
    assert abs(y + height / 2 - nose_y) < 0.5 * half
    assert 1.6 * half < width < 3.1 * half
    assert width == pytest.approx(height)


@pytest.mark.parametrize("person", [(360, 240, 100), (200, 260, 70), (500, 220, 150)])
@pytest.mark.parametrize("scale", [1, 3])
def test_a_face_is_found_where_it_is_whatever_the_size_of_the_picture(person, scale):
    """Boxes are in shares of the picture's shorter side: the same for a picture three times as
    large.
    """
    image = photograph(person)
    (box,) = faces.find(cv2.resize(image, None, fx=scale, fy=scale))
    assert_around(box, person, 480)


def test_all_faces_are_found_the_largest_first():
    """Two people are two boxes in the order of their size."""
    people = [(170, 260, 70), (500, 250, 120)]
    boxes = faces.find(photograph(*people))
    assert len(boxes) == 2
    for box, person in zip(boxes, people[::-1]):
        assert_around(box, person, 480)


def test_a_picture_without_a_face_has_no_box():
    """An even grey has none."""
    assert faces.find(np.full((200, 300), 128, np.uint8)).shape == (0, 4)


# --- follow


def test_overlap_is_intersection_over_union():
    """Two squares of side 2 that share one of side 1: 1 of 7."""
    assert detection._overlap((0, 0, 2, 2), (1, 1, 2, 2)) == pytest.approx(1 / 7)
    assert detection._overlap((0, 0, 1, 1), (2, 2, 1, 1)) == 0


def box(x, width):
    return np.array([x, 0.1, width, width])


def test_the_largest_and_most_persistent_is_followed():
    """One who is there all the time wins over one who is larger, but for a moment; order does not
    matter.
    """
    found = [np.array([box(0.1, 0.3), box(0.7, 0.2)]) for _ in range(9)]
    found[4] = np.array([box(0.7, 0.5), box(0.12, 0.3)])
    followed = detection.follow(found, np.arange(9) / 10)
    np.testing.assert_allclose(followed, np.tile(box(0.1, 0.3), (9, 1)), atol=0.03)


def test_a_moving_face_is_one_person():
    """Steps of a third of the width do not break the track."""
    found = [np.array([box(0.1 * number, 0.3)]) for number in range(8)]
    np.testing.assert_allclose(
        detection.follow(found, np.arange(8) / 10)[:, 0], 0.1 * np.arange(8), atol=0.11
    )


def test_short_gaps_are_drawn_through_and_long_ones_stay():
    """Frames up to 0.5 s from one with the face get the box between; those farther off get none."""
    time = np.arange(30) / 10
    found = [
        np.empty((0, 4)) if 5 <= number < 8 or number >= 20 else np.array([box(number / 100, 0.3)])
        for number in range(30)
    ]
    followed = detection.follow(found, time)
    np.testing.assert_allclose(followed[1:19, 0], np.arange(1, 19) / 100, atol=1e-9)
    assert np.isnan(followed[25:]).all()
    assert not np.isnan(followed[:24]).any()
    np.testing.assert_allclose(followed[20:24], followed[[19]].repeat(4, axis=0))


def test_a_single_jump_is_removed():
    """A box that is elsewhere and larger for one frame takes the place of its neighbours'."""
    found = (
        [np.array([box(0.1, 0.3)])] * 3
        + [np.array([box(0.15, 0.4)])]
        + [np.array([box(0.1, 0.3)])] * 3
    )
    np.testing.assert_allclose(
        detection.follow(found, np.arange(7) / 10), np.tile(box(0.1, 0.3), (7, 1))
    )


def test_nobody_is_followed_where_nobody_is():
    """Without any box all is not a number."""
    assert np.isnan(detection.follow([np.empty((0, 4))] * 3, [0, 1, 2])).all()


# --- cut


@pytest.mark.parametrize("margin, square", [(0, [9, 20, 4]), (0.25, [8, 19, 6])])
def test_a_square_is_around_the_middle_of_its_box(margin, square):
    """A box of 2 x 4 becomes a square of 4, and of 6 with a margin of a quarter on each side."""
    image = np.random.default_rng(0).integers(256, size=(40, 60), dtype=np.uint8)
    part = faces.cut(image, np.array([10, 20, 2, 4]) / 40, square[2], margin=margin)
    left, top, side = square
    np.testing.assert_array_equal(part, image[top : top + side, left : left + side])


def test_a_cut_is_the_part_of_the_picture():
    """The box of 20 x 20 pixels in a picture of 40 x 60, at its own size, is that slice of the
    picture.
    """
    image = np.random.default_rng(0).integers(256, size=(40, 60), dtype=np.uint8)
    np.testing.assert_array_equal(
        faces.cut(image, np.array([30, 10, 20, 20]) / 40, 20), image[10:30, 30:50]
    )


def test_outside_of_the_picture_the_edge_is_repeated():
    """A box that leads out to the left and below repeats the first column and the last row."""
    image = np.random.default_rng(0).integers(256, size=(40, 60), dtype=np.uint8)
    part = faces.cut(image, np.array([-5, 25, 20, 20]) / 40, 20)
    np.testing.assert_array_equal(part, np.pad(image[25:, :15], ((0, 5), (5, 0)), mode="edge"))


def test_a_reduced_image_is_the_mean_of_its_pixels():
    """Twice as many pixels a side: each of the image is the mean of four."""
    image = np.random.default_rng(0).integers(256, size=(40, 40), dtype=np.uint8)
    means = image.reshape(20, 2, 20, 2).mean(axis=(1, 3))
    assert np.abs(faces.cut(image, np.array([0, 0, 1, 1]), 20) - means).max() <= 0.5


# --- detections and crops of videos


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three clips of 16 frames: a face that moves, nobody, and a face that is hidden from frame 6
    to 8.
    """
    folder = tmp_path_factory.mktemp("videos")
    moving = [photograph((200 + 10 * number, 250, 90)) for number in range(16)]
    nobody = [np.full((480, 720), 190, np.uint8)] * 16
    hidden = [
        nobody[0] if 6 <= number <= 8 else photograph((360, 250, 110)) for number in range(16)
    ]
    clips = {"moving": moving, "nobody": nobody, "hidden": hidden}
    return [write_video(folder / f"{name}.avi", images) for name, images in clips.items()]


def test_detections_are_a_row_a_frame(videos):
    """The face is followed as it moves; where it is hidden the box is interpolated; nobody has
    none.
    """
    boxes = faces.detections(index_of(video=videos))
    moving, nobody, hidden = np.swapaxes(boxes, 1, 2)  # (6, 16) each
    time, x, y, width, height, found = moving
    np.testing.assert_allclose(time, np.arange(16) / 25, atol=1e-6)
    assert np.abs(480 * (x + width / 2) - (200 + 10 * np.arange(16))).max() < 25
    assert np.abs(480 * (y + height / 2) - 250).max() < 45 and found.all()
    assert np.isnan(nobody[1:5]).all() and not nobody[5].any()
    assert np.flatnonzero(hidden[5] == 0).tolist() == [6, 7, 8]
    assert np.isfinite(hidden).all()


def test_crops_belong_to_their_clips_and_look_like_the_face(videos):
    """Eight crops of each clip with a face, near to the face as drawn; a warning names the
    other.
    """
    with pytest.warns(UserWarning, match="left out, 1 of 3 have no face in 50% of.*: clip1$"):
        images, clip = faces.crops(index_of(video=videos), n_frames=8)
    assert images.shape == (16, 48, 48)
    assert images.dtype == np.float32
    assert images.min() >= 0 and 0.5 < images.max() <= 1
    assert clip.tolist() == [0] * 8 + [2] * 8
    side = round(48 * 200 / 308)  # of eyes, nose and mouth in a box of 2.8 half widths
    middle = cv2.resize(photograph((360, 250, 110))[150:350, 260:460], (side, side))
    for image in images[:8]:
        assert cv2.matchTemplate(np.uint8(255 * image), middle, cv2.TM_CCOEFF_NORMED).max() > 0.65


def test_crops_are_the_cuts_at_the_detections(videos):
    """Image by image they equal `cut` of the frame at its box, up to the reduction on the way."""
    index = index_of(video=videos[:1])
    images, _ = faces.crops(index, n_frames=4, size=40)
    (boxes,) = faces.detections(index, n_frames=4)
    for image, box, (_, frame) in zip(images, boxes[:, 1:5], faces.frames(videos[0], n_frames=4)):
        assert np.abs(image - faces.cut(frame, box, 40) / 255).mean() < 0.03


def test_a_margin_shows_more_around_the_face(videos):
    """Half a side more on each side: the face has half the width in the image."""
    index = index_of(video=videos[:1])
    narrow, _ = faces.crops(index, n_frames=2)
    wide, _ = faces.crops(index, n_frames=2, margin=0.5)
    half = cv2.resize(narrow[0], (24, 24), interpolation=cv2.INTER_AREA)
    assert np.abs(wide[0][12:36, 12:36] - half).mean() < 0.03


def test_where_no_clip_has_a_face_there_is_an_error(videos):
    """The error says what was asked for and the way out."""
    with pytest.raises(ValueError, match="1 of 1 have no face in 50% of .*: clip0; .*whole=True"):
        faces.crops(index_of(video=videos[1:2]))


def test_all_bad_videos_are_named_and_the_others_kept(videos, tmp_path, monkeypatch):
    """One error names the text, the missing one and the clip without a video; the good one is
    cached.
    """
    (tmp_path / "text.avi").write_text("no video")
    index = index_of(
        video=[str(tmp_path / "text.avi"), str(tmp_path / "gone.avi"), None, videos[0]]
    )
    with pytest.raises(ValueError, match="3 recordings of 4 clips") as error:
        faces.crops(index)
    for text in (
        "text.avi: it is damaged",
        "gone.avi: no such video",
        "clip2: the clip has no video",
    ):
        assert text in str(error.value)
    monkeypatch.setattr(detection, "find", refuse)
    faces.detections(index_of(video=videos[:1]))


def test_what_is_cached_is_not_computed_again(videos, monkeypatch):
    """Crops are read back; those of another size are cut without a new search for the face."""
    index = index_of(video=videos[:1])
    first, _ = faces.crops(index)
    monkeypatch.setattr(detection, "find", refuse)
    assert faces.crops(index, size=32)[0].shape == (16, 32, 32)
    monkeypatch.setattr(detection, "frames", refuse)
    np.testing.assert_array_equal(faces.crops(index)[0], first)
    with pytest.raises(AssertionError, match="computed again"):
        faces.crops(index, n_frames=3)


def test_processes_do_not_change_the_crops(tmp_path, monkeypatch):
    """Sixty images in two processes are the same as in one."""
    image = photograph((360, 250, 110))
    index = index_of(
        image=[save(tmp_path / f"{number}.png", np.roll(image, number)) for number in range(60)]
    )
    together, clip = faces.crops(index, n_jobs=2)
    assert clip.tolist() == list(range(60))
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "another"))
    alone, _ = faces.crops(index[::20], n_jobs=1)
    np.testing.assert_array_equal(together[::20], alone)


# --- images


def test_small_images_are_faces_already(tmp_path):
    """Up to 100 pixels an image is taken whole, its largest square; at 48 pixels as it is."""
    rng = np.random.default_rng(0)
    square = rng.integers(256, size=(48, 48), dtype=np.uint8)
    wide = rng.integers(256, size=(48, 60), dtype=np.uint8)
    paths = [save(tmp_path / "a.png", square), save(tmp_path / "b.png", wide)]
    images, clip = faces.crops(index_of(image=paths))
    np.testing.assert_array_equal(np.round(255 * images), [square, wide[:, 6:54]])
    assert clip.tolist() == [0, 1]


def test_in_photographs_the_face_is_sought_however_small(tmp_path):
    """A face of a ninth of the height is found by the second search; a grey picture is left out."""
    person = (500, 300, 40)
    paths = [
        save(tmp_path / "a.png", photograph(person, size=(960, 720))),
        save(tmp_path / "b.png", np.full((300, 300), 128, np.uint8)),
    ]
    with pytest.warns(UserWarning, match="left out, 1 of 2 .*: clip1"):
        assert faces.crops(index_of(image=paths))[1].tolist() == [0]
    boxes, _ = faces.detections(index_of(image=paths))
    assert_around(boxes[0, 1:5], person, 720)
    assert faces.crops(index_of(image=paths), whole=True)[1].tolist() == [0, 1]


def test_frames_of_a_clip_share_its_first_row(tmp_path):
    """An own table of images gives labels and folds through the rows of its clips."""
    lines = ["clip,speaker,emotion,image"]
    for clip, speaker, number in (("b", "x", 1), ("a", "NA", 2), ("a", "NA", 3)):
        save(tmp_path / f"{number}.png", np.full((48, 48), 50 * number, np.uint8))
        lines.append(f"{clip},{speaker},emotion {clip},{number}.png")
    (tmp_path / "own.csv").write_text("\n".join(lines))
    index = corpora.from_table(tmp_path / "own.csv")
    images, clip = faces.crops(index)
    np.testing.assert_allclose(255 * images.mean(axis=(1, 2)), [100, 150, 50], rtol=1e-5)
    assert clip.tolist() == [0, 0, 2]
    assert index["emotion"].iloc[clip].tolist() == ["emotion a", "emotion a", "emotion b"]
    posteriors = pd.DataFrame([[1, 0], [0.2, 0.8], [0.3, 0.7]]).groupby(clip).mean()
    np.testing.assert_allclose(posteriors, [[0.6, 0.4], [0.3, 0.7]])


def test_an_image_without_a_face_leaves_the_others_of_its_clip(tmp_path):
    """Of two images of a clip the second stays, and belongs to the row of the first."""
    wall, person = np.full((480, 720), 190, np.uint8), photograph((360, 250, 110))
    paths = [save(tmp_path / f"{k}.png", image) for k, image in enumerate((person, wall, person))]
    index = index_of(image=paths).assign(clip=["a", "b", "b"])
    with pytest.warns(UserWarning, match="left out, 1 of 3 .*: b"):
        images, clip = faces.crops(index)
    assert clip.tolist() == [0, 1]
    np.testing.assert_array_equal(images[0], images[1])


# --- corpora


@pytest.mark.parametrize("name", ["enterface", "ravdess", "savee"])
def test_faces_of_a_synthetic_corpus_are_cropped_from_its_films(name, synthetic_root):
    """In a dozen clips a face is followed through nearly all frames."""
    index = corpora.load(name, root=synthetic_root)
    index = index[index["video"].notna()].iloc[::6][:12]
    boxes = np.concatenate(faces.detections(index))
    assert boxes[:, 5].mean() > 0.7 and np.isfinite(boxes).all(axis=1).mean() > 0.95
    assert len(set(faces.crops(index)[1])) == len(index)


@pytest.mark.recorded
def test_recorded_faces(recorded_root):
    """In six real RAVDESS clips 95 % of the frames and more have a face, of steady size."""
    index = corpora.load("ravdess", recorded_root, complete=False)
    index = index[index["video"].notna()][:6]
    if index.empty:
        pytest.skip("no video of RAVDESS is there")
    boxes = np.stack(faces.detections(index, n_frames=20))
    assert boxes[..., 5].mean() >= 0.95
    assert (boxes[..., 3].std(axis=1) < 0.05).all()
