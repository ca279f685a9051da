"""TensorBoard's curves of a run in one file."""

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class RunTensorBoardLogger(TensorBoardLogger):
    """Lightning's, which writes one file of events a run, and no `hparams.yaml`: `run.json` has it.

    Lightning ends the file with the fit, and begins others for the validation and the test.
    """

    def save(self) -> None:
        """Hyperparameters stay in the events."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if status != "success":
            self.close()
        elif self._experiment is not None:
            self.experiment.flush()

    @rank_zero_only
    def close(self) -> None:
        if self._experiment is not None:
            self.experiment.flush()
            self.experiment.close()
