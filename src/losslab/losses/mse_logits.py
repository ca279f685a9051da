import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class MSELogits(nn.Module):
    """1/(2n) Σ_i [ k (ŷ_i,label − M)² + Σ_{c≠label} ŷ_i,c² ] on the raw outputs ŷ, no softmax.

    With k = M = 1 this is 1/(2n) Σ_i ‖y_i − ŷ_i‖² for one-hot labels y. The rescaling by k and M is
    that of Hui & Belkin, ICLR 2021 (arXiv 2006.07322), who use k = M = 1 for 10 classes.

    Args:
        k: weight of the true class's squared error.
        m: the true class's target value, M in the formula.
        floor: outputs are raised to this before they are renormalised to probabilities, so that no
            class has probability 0 and the NLL stays finite.
    """

    def __init__(self, k: float = 1.0, m: float = 1.0, floor: float = 1e-6) -> None:
        super().__init__()
        if not (k > 0 and m > 0 and 0 < floor < 1):
            raise ValueError(
                f"expected k > 0, m > 0 and 0 < floor < 1 for mse_logits, got k={k}, m={m}, "
                f"floor={floor}"
            )
        self.k, self.m, self.floor = k, m, floor

    def forward(
        self, outputs: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        one_hot = torch.zeros_like(outputs).scatter(1, labels.unsqueeze(1), 1.0)
        weight = 1 + (self.k - 1) * one_hot
        return (weight * (outputs - self.m * one_hot).square()).sum(dim=1).mean() / 2

    def probabilities(
        self, outputs: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch classes"]:
        """max(ŷ/M, floor), renormalised to sum to 1.

        A softmax would not do: of a perfect classifier's outputs it makes confidence 0.232.
        """
        clipped = (outputs / self.m).clamp(min=self.floor)
        return clipped / clipped.sum(dim=1, keepdim=True)
