"""BlockPlan: how the batches of an epoch are cut into blocks."""

from typing import NamedTuple


class BlockPlan(NamedTuple):
    """The blocks of an epoch.

    Attributes:
        batches: in an epoch.
        size: the most batches in a block.
        segment: no block crosses a multiple of so many batches.
        last: after so many batches the run ends, counted from its start; None for no such end.
    """

    batches: int
    size: int
    segment: int
    last: int | None = None

    @property
    def blocks(self) -> int:
        """In an epoch."""
        return len(self.uncut())

    def lengths(self, epoch: int = 0) -> list[int]:
        """Batches in each block of an epoch, counted from 0: cut off, and no more, at the end."""
        left = self.batches if self.last is None else max(self.last - epoch * self.batches, 0)
        lengths = []
        for length in self.uncut():
            if left > 0:
                lengths.append(min(length, left))
            left -= length
        return lengths

    def uncut(self) -> list[int]:
        """Batches in each block of an epoch that the run does not end in."""
        segments = [
            min(self.segment, self.batches - start)
            for start in range(0, self.batches, self.segment)
        ]
        return [
            min(self.size, segment - done)
            for segment in segments
            for done in range(0, segment, self.size)
        ]

    def trained(self, epoch: int, blocks: int) -> int:
        """Batches in the first blocks of an epoch."""
        return sum(self.lengths(epoch)[:blocks])

    def blocks_in(self, batches: int) -> int:
        """How many blocks so many batches are: whole segments, of an epoch or of several."""
        epochs, rest = divmod(batches, self.batches)
        return epochs * self.blocks + rest // self.segment * -(-self.segment // self.size)
