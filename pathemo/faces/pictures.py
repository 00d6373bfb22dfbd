"""Pictures: frames of a video at even times, or an image file; grey, 8 bits, one at a time."""

from pathlib import Path

import av
import cv2
import numpy as np

WAY_OUT = "Copy or download it again, or leave it out; data/README.md says where it comes from."


def frames(path, *, n_frames=None, side=None):
    """Frames of a video, evenly over its time: an iterator of (time [s], (height, width) uint8
    grey).

    A frame that lasts is given once, so a video with few frames gives fewer than asked for. One
    frame is in memory at a time, however long the video. Every container that FFmpeg reads, with
    any frame rate, constant or not, and upright where the camera was turned and says so.

    FileNotFoundError where nothing is there. ValueError where it is empty, no video, damaged, or
    truncated: it ends before 90 % of what its header announces (that of an MKV announces nothing,
    so a cut one passes).

    Parameters
    ----------
    n_frames : int
        That many, the one in the middle of each of as many equal parts of the video; without it,
        every frame.
    side : int [pixels]
        Frames whose shorter side is longer are reduced to it.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such video. {WAY_OUT}")
    try:
        if path.stat().st_size == 0:
            raise ValueError("it is empty (0 bytes)")
        with av.open(path) as container:
            if not container.streams.video:
                raise ValueError("it has no picture")
            step = _duration(container) / n_frames if n_frames else 0
            for number, shown in enumerate(_chosen(container, step, side)):
                if n_frames and number > 1.1 * n_frames:
                    raise ValueError("it is damaged: it lasts longer than it announces")
                yield shown
    except (OSError, av.FFmpegError) as problem:
        raise ValueError(
            f"{path}: it is damaged or no video ({problem.strerror}). {WAY_OUT}"
        ) from problem
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}. {WAY_OUT}") from None


def _duration(container):
    stream = container.streams.video[0]
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration:
        return container.duration / av.time_base
    # Recordings of a browser tell no duration: that of the last packet, without decoding any.
    last = max(
        (packet.pts for packet in container.demux(stream) if packet.pts is not None), default=0
    )
    container.seek(0)
    return float(last * stream.time_base)


def _chosen(container, step, side):
    """Time and picture of the frames that are shown in the middle of each step [s]; of 0: of
    all.
    """
    stream = container.streams.video[0]
    lasts = float(1 / (stream.average_rate or 25))
    count, start, now, due = 0, None, 0.0, step / 2
    for frame in container.decode(stream):
        if frame.time is not None:  # AVI need not tell it of every frame
            start = frame.time if start is None else start
            now = frame.time - start
        count += 1
        if now + lasts / 2 > due - 1e-6:
            yield now, _grey(frame, side)
            due += step * (1 + max(0, now - due) // step) if step else 0
        now += lasts
    if max(count, now / lasts) < 0.9 * stream.frames:  # frames that an AVI drops count in its time
        raise ValueError(f"it is truncated: {stream.frames} frames announced, {count} there")
    if count == 0:
        raise ValueError("it has no frame")


def _grey(frame, side):
    reduction = min(1, side / min(frame.width, frame.height)) if side else 1
    width, height = round(frame.width * reduction), round(frame.height * reduction)
    grey = frame.to_ndarray(format="gray", width=width, height=height, interpolation="AREA")
    return np.rot90(grey, frame.rotation // 90)


def picture(path):
    """Picture of an image file, (height, width) uint8 grey: any common format, colour or grey, any
    depth.

    What has more than 8 bits is stretched from its darkest to its brightest, since few such files
    use all. FileNotFoundError where nothing is there, ValueError where it is no image, or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such image. {WAY_OUT}")
    content = np.fromfile(path, np.uint8)  # OpenCV itself reads no path outside of ASCII on Windows
    try:
        image = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError(f"{path}: it is damaged or no image. {WAY_OUT}")
    if image.dtype != np.uint8:
        image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
    return image
