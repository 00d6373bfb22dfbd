"""Facts of pathemo.faces.pictures: frames at even times whatever the file, images of any form,
refusals.
"""

import tracemalloc
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from pathemo.faces.pictures import frames, picture

RATE = 25
EVERY = 10**6  # more frames than any video here has


def write_video(path, numbers, codec="mpeg4", size=(64, 48), sound=0):
    """Video whose frame shown from number / 25 s on has the grey level 5 number, for each of the
    numbers; with sound that lasts so long [s].
    """
    with av.open(path, "w") as container:
        film = container.add_stream(codec, rate=RATE, pix_fmt="yuv420p")
        film.width, film.height = size
        film.bit_rate = 1_000_000
        track = container.add_stream("mp2", rate=16000, layout="mono") if sound else None
        for number in numbers:
            picture = np.full((size[1], size[0], 3), 5 * number % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = int(number), Fraction(1, RATE)
            container.mux(film.encode(frame))
        container.mux(film.encode(None))
        if sound:
            silence = np.zeros((1, 16000 * sound), np.int16)
            part = av.AudioFrame.from_ndarray(silence, "s16", "mono")
            part.rate = 16000
            container.mux(track.encode(part) + track.encode(None))
    return path


def levels(shown):
    """Numbers of the frames, by their grey level."""
    return [round(image.mean() / 5) for _, image in shown]


@pytest.mark.parametrize(
    "name, codec",
    [
        ("a.avi", "mpeg4"),
        ("a.mp4", "libx264"),
        ("a.mkv", "mpeg4"),
        ("a.webm", "libvpx"),
        ("a.mov", "mpeg4"),
    ],
)
def test_each_container_gives_the_frame_in_the_middle_of_each_part(tmp_path, name, codec):
    """Five of 50 frames: those shown 0.2, 0.6, 1.0, 1.4 and 1.8 s after the start, with their
    times.
    """
    shown = list(frames(write_video(tmp_path / name, range(50), codec), n_frames=5))
    assert levels(shown) == [5, 15, 25, 35, 45]
    np.testing.assert_allclose([time for time, _ in shown], [0.2, 0.6, 1.0, 1.4, 1.8], atol=1e-3)
    assert shown[0][1].shape == (48, 64)
    assert shown[0][1].dtype == np.uint8


def test_of_more_than_there_are_every_frame_comes(tmp_path):
    """All 50, from the first to the last."""
    shown = frames(write_video(tmp_path / "a.avi", range(50)), n_frames=EVERY)
    assert levels(shown) == list(range(50))


@pytest.mark.parametrize("n_frames", [1, 3, 50, 80])
def test_the_number_of_frames_is_kept_while_there_are_as_many(tmp_path, n_frames):
    """One, three or all 50 frames come as asked; of 80 asked for come the 50 there are, none
    twice.
    """
    numbers = levels(frames(write_video(tmp_path / "a.mp4", range(50)), n_frames=n_frames))
    assert len(numbers) == min(n_frames, 50)
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_of_a_variable_frame_rate_times_are_even_not_numbers(tmp_path, name):
    """Half of the frames are in the first fifth of the time: they are a fifth of those chosen."""
    path = write_video(tmp_path / name, [*range(10), *range(10, 50, 4)])
    times = np.array([time for time, _ in frames(path, n_frames=5)])
    assert len(times) == 5
    assert np.abs(times - np.arange(0.2, 2, 0.4)).max() <= 4 / RATE


def test_after_frames_that_last_none_is_made_up_for(tmp_path):
    """Of ten dense frames after sparse ones every second is chosen, however many the sparse part
    lacked.
    """
    path = write_video(tmp_path / "a.mp4", [*range(0, 40, 8), *range(40, 50)])
    times = np.array([time for time, _ in frames(path, n_frames=25)])
    assert (times < 1.59).sum() == 5
    assert 4 <= (times >= 1.59).sum() <= 6


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.avi", "a.ts"])
def test_sound_that_is_longer_than_the_picture_does_not_count(tmp_path, name):
    """Five frames are spread over the two seconds of the picture, not the five of the sound."""
    path = write_video(tmp_path / name, range(50), sound=5, codec="mpeg2video")
    assert levels(frames(path, n_frames=5)) == [5, 15, 25, 35, 45]


@pytest.mark.parametrize("name", ["a.mpg", "a.m1v"])
def test_a_film_whose_length_ffmpeg_guesses_is_read(tmp_path, name):
    """MPEG-1 announces no length: of ten frames come five, to the end."""
    numbers = levels(frames(write_video(tmp_path / name, range(10), "mpeg1video"), n_frames=5))
    assert len(numbers) == 5 and numbers[0] <= 1 and numbers[-1] >= 8


def test_frames_are_reduced_but_never_enlarged(tmp_path):
    """`side` bounds the shorter side and keeps the proportions."""
    path = write_video(tmp_path / "a.avi", range(3), size=(128, 96))
    assert next(frames(path, n_frames=3, side=48))[1].shape == (48, 64)
    assert next(frames(path, n_frames=3, side=500))[1].shape == (96, 128)


def test_a_turned_camera_gives_upright_frames(tmp_path):
    """A turn that an MP4 announces is applied, as OpenCV applies it."""
    path = tmp_path / "a.mp4"
    with av.open(path, "w") as container:
        film = container.add_stream("mpeg4", rate=RATE, pix_fmt="yuv420p")
        film.width, film.height = 64, 48
        ramp = np.tile(np.linspace(0, 250, 64).astype(np.uint8)[None, :, None], (48, 1, 3))
        for packet in film.encode(av.VideoFrame.from_ndarray(ramp, "rgb24")), film.encode(None):
            container.mux(packet)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # of the track header, version 0
    one = 1 << 16
    content[matrix : matrix + 20] = b"".join(
        number.to_bytes(4, "big", signed=True) for number in (0, one, 0, -one, 0)
    )
    path.write_bytes(content)
    expected = cv2.cvtColor(cv2.VideoCapture(str(path)).read()[1], cv2.COLOR_BGR2GRAY)
    ((_, image),) = frames(path, n_frames=1)
    assert image.shape == expected.shape == (64, 48)
    assert np.abs(image.astype(int) - expected).max() < 10


def test_memory_does_not_grow_with_the_video(tmp_path):
    """Looking through 300 frames takes the memory of a few."""
    path = write_video(tmp_path / "a.avi", range(300), size=(320, 240))
    tracemalloc.start()
    assert sum(1 for _ in frames(path, n_frames=300)) == 300
    assert tracemalloc.get_traced_memory()[1] < 10 * 320 * 240
    tracemalloc.stop()


def spoil(tmp_path, defect):
    """A file with that defect."""
    ending = "avi" if "avi" in defect else "mp4"
    path = tmp_path / f"{defect}.{ending}"
    if defect.startswith("half"):
        content = write_video(tmp_path / f"whole.{ending}", range(50), size=(320, 240)).read_bytes()
        path.write_bytes(content[: len(content) // 2])
    elif defect == "text":
        path.write_text("clip,speaker\n" * 100)
    elif defect == "sound":
        with av.open(path, "w") as container:
            track = container.add_stream("aac", rate=16000, layout="mono")
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.rate = 16000
            for packet in track.encode(sound), track.encode(None):
                container.mux(packet)
    elif defect == "empty":
        path.touch()
    return path


@pytest.mark.parametrize(
    "defect, reason",
    [
        ("empty", "it is empty"),
        ("text", "it is damaged or no video"),
        ("sound", "it has no picture"),
        ("half mp4", "it is damaged or no video .an MP4 without its index"),
        ("half avi", "it is (truncated|damaged)"),
    ],
)
def test_what_is_no_whole_video_is_refused_by_name(tmp_path, defect, reason):
    """The error names the file, what is wrong with it, and the way out."""
    path = spoil(tmp_path, defect)
    with pytest.raises(ValueError, match=f"{path}: {reason}.*leave it out"):
        list(frames(path, n_frames=4))
    with pytest.raises(FileNotFoundError, match="gone.avi: no such video"):
        list(frames(tmp_path / "gone.avi", n_frames=4))


# --- images


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tiff", "webp", "pgm"])
@pytest.mark.parametrize("colour", [False, True])
def test_images_of_common_formats_are_read_as_grey(tmp_path, ending, colour):
    """A ramp comes back, whatever the format, wherever the file is; colours are weighed as PIL
    does.
    """
    path = tmp_path / f"bild ü.{ending}"
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (40, 1))
    image = Image.fromarray(ramp)
    if colour:
        image = Image.merge(
            "RGB", [image, Image.fromarray(ramp[:, ::-1]), Image.fromarray(ramp // 2)]
        )
    image.save(
        path, "ppm" if ending == "pgm" else None, **({"lossless": True} if ending == "webp" else {})
    )
    assert np.abs(picture(path).astype(int) - np.array(image.convert("L"), int)).max() <= 6


def test_sixteen_bits_become_eight_from_darkest_to_brightest(tmp_path):
    """A camera of 12 bits uses a sixteenth of 16; the image uses all of its eight."""
    deep = np.linspace(100, 4000, 64 * 48).reshape(48, 64).astype(np.uint16)
    for ending in ("png", "tiff"):
        Image.fromarray(deep).save(tmp_path / f"a.{ending}")
        image = picture(tmp_path / f"a.{ending}")
        assert image.dtype == np.uint8
        assert np.abs(image - (deep - 100.0) / 3900 * 255).max() <= 1


def test_a_turned_photograph_is_upright(tmp_path):
    """The orientation in a photograph's EXIF is applied, as PIL applies it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (40, 1))
    Image.fromarray(ramp).save(tmp_path / "a.jpg", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))
    assert np.abs(picture(tmp_path / "a.jpg").astype(int) - np.array(expected, int)).max() <= 3


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "empty"),
        (b"clip,speaker\n", "damaged or no image"),
        (b"\x89PNG\r\n\x1a\n" + 50 * b"0", "damaged or no image"),
        (b"\x00\x00\x00\x18ftypheic" + 50 * b"0", "HEIC or AVIF.*: save it as JPEG or PNG.$"),
    ],
    ids=["empty", "text", "broken", "HEIC"],
)
def test_what_is_no_image_is_refused_by_name(tmp_path, content, reason):
    """An empty file, a text, a broken image and a telephone's own format are named."""
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=f"{tmp_path / 'a.png'}: it is {reason}"):
        picture(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="gone.png: no such image"):
        picture(tmp_path / "gone.png")
