"""TensorBoard's event files: made whole in memory, and put in the place of earlier ones."""

import io
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from runlab import atomic

EVENTS = "events.out.tfevents"

EMPTIED_FILE_AGE = 600.0
"""Seconds after which every reader has gone on from an emptied file: it looks every 5."""

WRITTEN_HERE = re.compile(
    rf"{re.escape(EVENTS)}\.\d+|\.{re.escape(EVENTS)}\.\d+\.\d+{re.escape(atomic.PARTIAL)}"
)
"""Names of the files that `replace_events` makes, with those that a killed writer left."""


def event_file(events: Iterable[Event], place: int = 0) -> bytes:
    """The content of a file that takes the place of the run's earlier ones.

    It begins with a session's start: a reader that goes on from an earlier file forgets what it
    has from that. TensorBoard gives its colours to runs by the time of their first event: `place`
    is the run's among those written here, which come before all that were trained.
    """
    content = io.BytesIO()
    writer = RecordWriter(content)
    version = Event(file_version="brain.Event:2", wall_time=1 + place)
    start = Event(session_log=SessionLog(status=SessionLog.START))
    writer.write(version.SerializeToString())
    for event in (start, *events):
        event.wall_time = time.time()
        writer.write(event.SerializeToString())
    return content.getvalue()


def scalar(tag: str, value: float, step: int) -> Event:
    return Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))


def image(tag: str, path: Path) -> Event:
    """`path` is a PNG file."""
    with Image.open(path) as opened:
        width, height = opened.size
    content = Summary.Image(
        width=width, height=height, colorspace=3, encoded_image_string=path.read_bytes()
    )
    return Event(summary=Summary(value=[Summary.Value(tag=tag, image=content)]))


def text(tag: str, markdown: str) -> Event:
    metadata = text_metadata.create_summary_metadata(display_name="", description="")
    return _string(tag, markdown.encode(), metadata)


def layout(content: Layout) -> Event:
    """What the Custom Scalars tab shows; a run has one."""
    metadata = custom_scalar.create_summary_metadata()
    return _string(custom_scalar.CONFIG_SUMMARY_TAG, content.SerializeToString(), metadata)


def _string(tag: str, content: bytes, metadata: SummaryMetadata) -> Event:
    tensor = TensorProto(dtype="DT_STRING", string_val=[content], tensor_shape=TensorShapeProto())
    value = Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
    return Event(summary=Summary(value=[value]))


def replace_events(run: Path, content: bytes) -> None:
    """Puts a new file after the earlier ones, which are emptied, and go when no reader needs them.

    A reader goes on from file to file by name. It stays for ever with a file that is overwritten
    or, where it is TensorBoard's own loader rather than its fast one, deleted.
    """
    run.mkdir(exist_ok=True)
    earlier = sorted(run.glob(f"{EVENTS}.*"))
    number = max([time.time_ns(), *(int(path.suffix[1:]) + 1 for path in earlier)])
    atomic.replace(run / f"{EVENTS}.{number}", content)
    for path in earlier:
        if path.stat().st_size:
            os.truncate(path, 0)
        elif time.time() - path.stat().st_mtime > EMPTIED_FILE_AGE:
            path.unlink(missing_ok=True)


def is_written_here(path: Path) -> bool:
    return path.is_file() and WRITTEN_HERE.fullmatch(path.name) is not None
