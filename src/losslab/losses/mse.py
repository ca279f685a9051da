import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class MSE(nn.Module):
    """1/(2n) Σ_i ‖y_i − p_i‖² between one-hot labels y and class probabilities p = softmax(z).

    The squared error of one image is summed over classes, not averaged: `torch.nn.MSELoss` on the
    same probabilities gives 2/classes of this value.
    """

    def forward(
        self, outputs: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        probabilities = self.probabilities(outputs)
        one_hot = torch.zeros_like(probabilities).scatter(1, labels.unsqueeze(1), 1.0)
        return (probabilities - one_hot).square().sum(dim=1).mean() / 2

    def probabilities(
        self, outputs: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch classes"]:
        """softmax(z)."""
        return outputs.softmax(dim=1)
