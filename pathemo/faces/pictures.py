"""Pictures: frames of a video at even times, or an image file; grey, 8 bits, one at a time."""

import av
import cv2
import numpy as np

from .. import files


def frames(path, *, n_frames, side=np.inf):
    """Yield frames of a video, evenly over its time: time [s] and (height, width) uint8 grey.

    They are the middles of `n_frames` equal parts of the video; one that lasts is given once, so a
    video with few frames gives fewer. A shorter side above `side` [pixels] is reduced to it. Every
    container that FFmpeg reads, with any frame rate, constant or not, and upright where the camera
    was turned and says so. One frame is in memory at a time, however long the video.

    FileNotFoundError where nothing is there. ValueError where it is empty, no video, damaged, or
    truncated: it ends before 90 % of the frames that its header announces (those of AVI and MP4 do;
    what was cut of other formats passes).
    """
    with files.reading(path, "video", av.FFmpegError), av.open(path) as container:
        if not container.streams.video:
            raise ValueError("it has no picture: leave it out.")
        stream = container.streams.video[0]
        lasts = float(1 / (stream.average_rate or 25))  # [s] a frame
        step = _duration(path, stream, lasts) / n_frames
        count, start, now, due = 0, None, 0.0, step / 2
        for frame in container.decode(stream):
            if frame.time is not None:  # AVI need not tell it of every frame
                start = frame.time - now if start is None else start
                now = frame.time - start
            if now > 1.1 * step * n_frames + lasts:
                raise ValueError("it is damaged: it lasts longer than it announces")
            if now + lasts / 2 > due - 1e-6:
                yield now, _grey(frame, side)
                due += step * (1 + max(0, now - due) // step)
            count += 1
            now += lasts
        if max(count, now / lasts) < 0.9 * stream.frames:  # those an AVI drops count in its time
            raise ValueError(f"it is truncated: {stream.frames} frames announced, {count} there")
        if count == 0:
            raise ValueError("it has no frame")


def _duration(path, stream, lasts):
    """Return how long a video is [s]: as announced with its frames, else as its packets tell."""
    if stream.frames and stream.duration:
        return float(stream.duration * stream.time_base)
    with av.open(path) as container:  # anew, since not all formats lead back to their first frame
        starts = [packet.pts for packet in container.demux(video=0) if packet.size]
    if not starts or None in starts:
        return len(starts) * lasts
    return float((max(starts) - min(starts)) * stream.time_base) + lasts


def _grey(frame, side):
    """Return a frame (height, width) uint8, upright, its shorter side at most `side`."""
    reduction = min(1, side / min(frame.width, frame.height))
    width, height = round(frame.width * reduction), round(frame.height * reduction)
    grey = frame.to_ndarray(format="gray", width=width, height=height, interpolation="AREA")
    return np.rot90(grey, frame.rotation // 90)


def picture(path):
    """Return the picture of an image file, (height, width) uint8 grey: any common format.

    What has more than 8 bits is stretched from its darkest to its brightest, since few such files
    use all. Errors are those of `frames`.
    """
    with files.reading(path, "image", cv2.error):
        content = np.fromfile(path, np.uint8)  # OpenCV itself reads only ASCII paths on Windows
        image = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
        if image is None:
            heic = "it is HEIC or AVIF, which OpenCV does not read: save it as JPEG or PNG."
            is_heic = content[4:8].tobytes() == b"ftyp"
            raise ValueError(heic if is_heic else "it is damaged or no image")
    if image.dtype == np.uint8:
        return image
    return cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)


def reduce(image, side):
    """Return a picture (height, width) whose shorter side is at most `side` [pixels]."""
    share = min(1, side / min(image.shape))
    return cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
