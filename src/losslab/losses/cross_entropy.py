from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class CrossEntropy(nn.Module):
    """-(1/n) Σ_i log softmax(z_i)[label_i] on logits z; the mean over the batch."""

    def forward(
        self, outputs: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        return cross_entropy(outputs, labels)

    def probabilities(
        self, outputs: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch classes"]:
        """softmax(z)."""
        return outputs.softmax(dim=1)
