"""What a training run leaves behind while it runs: CSV, TensorBoard, a plot of loss and Dice."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from VISTA3DLib.files.atomic import output_error, written_atomically

_BOARD = "tensorboard"


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch: mean loss over its patches, and the validation's mean Dice if there was one."""

    stage: str
    epoch: int
    patches: int
    loss: float
    seconds: float
    learning_rate: float
    dice: float | None = None


class History:
    """Collects records and writes ``history.csv``, TensorBoard events (if installed) and ``history.png``."""

    def __init__(self, folder: Path, records: list[EpochRecord] | None = None) -> None:
        self.folder = folder
        self.records = list(records or [])
        with self._typed_errors():
            self._board = _tensorboard(folder / _BOARD)

    def add(self, record: EpochRecord, per_class: Mapping[str, float] | None = None) -> None:
        """Take in an epoch and rewrite the files. Raises ``OutputError``."""
        self.records.append(record)
        with self._typed_errors():
            self._show(record, per_class or {})
        self._write_csv()
        self.plot(self.folder / "history.png")

    def plot(self, path: Path) -> None:
        """Loss and Dice against epochs, stages side by side."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 4), layout="constrained")
        FigureCanvasAgg(figure)
        left = figure.subplots()
        right = left.twinx()
        steps = range(1, len(self.records) + 1)
        left.plot(steps, [r.loss for r in self.records], color="#c0392b", linewidth=1.2, label="loss")
        scored = [(i, r.dice) for i, r in zip(steps, self.records, strict=True) if r.dice is not None]
        if scored:
            right.plot([i for i, _ in scored], [d for _, d in scored], "o-", color="#1f618d", markersize=3)
        for i, (a, b) in enumerate(zip(self.records, self.records[1:], strict=False), start=1):
            if a.stage != b.stage:
                left.axvline(i + 0.5, color="#999999", linewidth=0.8, linestyle="--")
        left.set_xlabel("epoch (dashed: next stage)")
        left.set_ylabel("loss", color="#c0392b")
        right.set_ylabel("mean Dice, held-back cases", color="#1f618d")
        right.set_ylim(0, 1)
        with written_atomically(path) as temporary:
            figure.savefig(temporary, dpi=100)

    def close(self) -> None:
        """Finish the TensorBoard file. Raises ``OutputError`` when it cannot be written."""
        with self._typed_errors():
            if self._board is not None:
                self._board.close()

    def _show(self, record: EpochRecord, per_class: Mapping[str, float]) -> None:
        if self._board is None:
            return
        step = len(self.records)
        self._board.add_scalar("loss", record.loss, step)
        self._board.add_scalar("learning_rate", record.learning_rate, step)
        if record.dice is not None:
            self._board.add_scalar("dice/mean", record.dice, step)
        for name, value in per_class.items():
            self._board.add_scalar(f"dice/{name}", value, step)
        self._board.flush()

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        """TensorBoard writes its files itself."""
        try:
            yield
        except OSError as error:
            raise output_error(self.folder / _BOARD, error) from error

    def _write_csv(self) -> None:
        with written_atomically(self.folder / "history.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(EpochRecord.__dataclass_fields__))
            writer.writeheader()
            writer.writerows(asdict(r) for r in self.records)


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # an optional companion: the CSV holds the same numbers
        return None
    return SummaryWriter(str(folder))
