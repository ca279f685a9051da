"""Several optimizer steps in one call of `training_step`: batches, and what is logged of them."""
