import lightning as L

from losslab.callbacks._pictures import tensorboards, wanted


class Histograms(L.Callback):
    """Each parameter's values and gradients: `weights/<parameter>`, `gradients/<parameter>`.

    Gradients are those of the last step. Values that are not finite are left out, and a tensor with
    no other has no histogram. Taken after at most ten validations, the last one among them, for
    TensorBoard alone.
    """

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not wanted(trainer):
            return
        for writer in tensorboards(trainer):
            for name, parameter in pl_module.named_parameters():
                for kind, values in (
                    ("weights", parameter.detach()),
                    ("gradients", parameter.grad),
                ):
                    if values is not None and values.isfinite().any():
                        finite = values[values.isfinite()].float()
                        tag = f"{kind}/{name.removeprefix('network.')}"
                        writer.add_histogram(tag, finite, trainer.global_step)
