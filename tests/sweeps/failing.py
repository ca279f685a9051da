"""Runs that fail after they began: what a wrong setting does that only training finds out."""

import lightning as L

AT_A_RATE_OF_9 = "+callback.fails._target_=tests.sweeps.failing.FailsAtARateOf9"


class FailsAtARateOf9(L.Callback):
    def on_train_start(self, trainer, pl_module):
        if trainer.optimizers[0].param_groups[0]["lr"] == 9:
            raise ValueError("expected another rate, got 9")
