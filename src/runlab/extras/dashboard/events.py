"""TensorBoard's event files, made whole in memory so that a reader never sees half of one."""

import io
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


def event_file(events: Iterable[Event]) -> bytes:
    """The content of a file that takes the place of the run's earlier ones.

    It begins with a session's start: a reader that goes on from an earlier file forgets what it
    has from that.
    """
    content = io.BytesIO()
    writer = RecordWriter(content)
    start = SessionLog(status=SessionLog.START)
    for event in (Event(file_version="brain.Event:2"), Event(session_log=start), *events):
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
    about = text_metadata.create_summary_metadata(display_name="", description="")
    return _strings(tag, markdown.encode(), about)


def layout(content: Layout) -> Event:
    """What the Custom Scalars tab shows; a run has one."""
    about = custom_scalar.create_summary_metadata()
    return _strings(custom_scalar.CONFIG_SUMMARY_TAG, content.SerializeToString(), about)


def _strings(tag: str, content: bytes, about: SummaryMetadata) -> Event:
    tensor = TensorProto(dtype="DT_STRING", string_val=[content], tensor_shape=TensorShapeProto())
    return Event(summary=Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=about)]))
