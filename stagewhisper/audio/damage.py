"""What went wrong while a recording was decoded, and when it is worth a warning or an error."""

import warnings
from dataclasses import dataclass

from stagewhisper.errors import AudioError, AudioWarning


@dataclass
class Damage:
    """The tally of one decoding; it grows as the decoding goes on."""

    declared: float | None = None
    """Seconds that the container says it holds; None where it does not say."""
    margin: float = 0.0
    """By how many seconds `declared` may be too long without anything being lost."""
    decoded: float = 0.0
    """Seconds that came out."""
    is_cut: bool = False
    """Whether the file ends before the byte where its header says it does."""
    broken_packets: int = 0
    stopped: str | None = None
    """Why reading ended before the end of the file."""
    last_error: Exception | None = None

    def report(self, name: str) -> None:
        """Raise when nothing was decoded, warn when something was lost, and else do nothing."""
        if self.decoded == 0:
            reason = f"; ffmpeg says: {self.last_error}" if self.last_error else ""
            raise AudioError(
                f"Nothing in {name} decodes to sound{reason}. It is empty or corrupt: fetch or convert it again."
            ) from self.last_error
        losses = self._losses()
        if losses:
            warnings.warn(
                f"{name} is damaged: {', '.join(losses)}. Fetch or convert it again to have all of it.",
                AudioWarning,
                stacklevel=2,
            )

    def _losses(self) -> list[str]:
        losses: list[str] = []
        if self.is_cut:
            losses.append("it ends before the place that it names as its end")
        if self.broken_packets:
            losses.append(f"{self.broken_packets} broken packet(s) were skipped or replaced by silence")
        if self.stopped:
            losses.append(f"reading stopped after {self.decoded:.2f} s ({self.stopped})")
        if self.declared is not None and self.decoded < self.declared - self.margin:
            losses.append(f"it declares {self.declared:.2f} s, of which {self.decoded:.2f} s could be decoded")
        return losses
