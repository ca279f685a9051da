"""Facts that hold of the losses by mathematics, for 10 classes; computed, not quoted."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.autograd.functional import hessian
from torch.nn.functional import one_hot

from losslab.losses import MSE, CrossEntropy, MSELogits

LOSSES = [CrossEntropy(), MSE(), MSELogits(), MSELogits(k=3.0, m=2.0)]
CLASSES = 10


@pytest.fixture
def outputs() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(7, CLASSES, generator=generator, dtype=torch.float64)


@pytest.fixture
def labels() -> Tensor:
    return torch.tensor([0, 3, 9, 3, 5, 1, 7])


def gradient(loss: nn.Module, outputs: Tensor, labels: Tensor) -> Tensor:
    leaf = outputs.clone().requires_grad_()
    loss(leaf, labels).backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_autograd_agrees_with_finite_differences(loss, outputs, labels):
    assert gradcheck(lambda z: loss(z, labels), (outputs.requires_grad_(),))


def test_cross_entropy_gradient_is_p_minus_y(outputs, labels):
    expected = (outputs.softmax(1) - one_hot(labels, CLASSES)) / len(labels)
    torch.testing.assert_close(gradient(CrossEntropy(), outputs, labels), expected)


def test_softmax_mse_gradient_is_the_softmax_jacobian_times_p_minus_y(outputs, labels):
    p = outputs.softmax(1)
    jacobian = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)  # [batch, classes, classes]
    residual = p - one_hot(labels, CLASSES)
    expected = (jacobian @ residual.unsqueeze(2)).squeeze(2) / len(labels)
    torch.testing.assert_close(gradient(MSE(), outputs, labels), expected)


def test_raw_output_gradient_is_outputs_minus_y_over_n(outputs, labels):
    expected = (outputs - one_hot(labels, CLASSES)) / len(labels)
    torch.testing.assert_close(gradient(MSELogits(), outputs, labels), expected)


def test_rescaled_squared_error_follows_hui_and_belkins_formula(outputs, labels):
    k, m = 3.0, 2.0
    total = 0.0
    for row, label in zip(outputs.tolist(), labels.tolist(), strict=True):
        total += k * (row[label] - m) ** 2
        total += sum(value**2 for index, value in enumerate(row) if index != label)
    assert MSELogits(k=k, m=m)(outputs, labels).item() == pytest.approx(total / 2 / len(labels))


def test_gradients_through_softmax_sum_to_zero_over_classes_and_raw_ones_need_not(outputs, labels):
    for loss in (CrossEntropy(), MSE()):
        sums = gradient(loss, outputs, labels).sum(dim=1)
        torch.testing.assert_close(sums, torch.zeros_like(sums))
    assert gradient(MSELogits(), outputs, labels).sum(dim=1).abs().max() > 0.01


def test_mse_loss_of_torch_has_a_fifth_of_the_lessons_gradient(outputs, labels):
    ours = gradient(MSELogits(), outputs, labels)
    leaf = outputs.clone().requires_grad_()
    nn.MSELoss()(leaf, one_hot(labels, CLASSES).double()).backward()
    torch.testing.assert_close(leaf.grad, 0.2 * ours)


def test_sgd_on_the_lessons_loss_follows_mse_loss_at_five_times_the_rate(outputs, labels):
    def descend(loss, learning_rate: float) -> Tensor:
        torch.manual_seed(0)
        network = nn.Linear(CLASSES, CLASSES).double()
        optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate)
        for _ in range(50):
            optimizer.zero_grad()
            loss(network(outputs)).backward()
            optimizer.step()
        return network.weight.detach()

    target = one_hot(labels, CLASSES).double()
    lesson = descend(lambda out: MSELogits()(out, labels), 0.1)
    averaged = descend(lambda out: nn.MSELoss()(out, target), 0.5)
    torch.testing.assert_close(lesson, averaged, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("loss", "value"),
    [(CrossEntropy(), 2.302585), (MSE(), 0.45), (MSELogits(), 0.5)],
    ids=repr,
)
def test_value_on_zero_outputs(loss, value):
    zeros = torch.zeros(4, CLASSES)
    assert loss(zeros, torch.arange(4)).item() == pytest.approx(value, abs=1e-6)


def test_at_uniform_probabilities_the_softmax_mse_gradient_is_a_tenth_of_cross_entropys():
    zeros, labels = torch.zeros(4, CLASSES, dtype=torch.float64), torch.arange(4)
    torch.testing.assert_close(
        gradient(MSE(), zeros, labels), gradient(CrossEntropy(), zeros, labels) / 10
    )


@pytest.mark.parametrize(
    ("gap", "cross_entropy", "mse"),
    [(5.0, 1.370, 0.0598), (10.0, 1.414, 4.8e-4), (20.0, 1.414, 2.2e-8)],
)
def test_softmax_mse_saturates_on_a_confidently_wrong_image(gap, cross_entropy, mse):
    outputs = torch.zeros(1, CLASSES, dtype=torch.float64)
    outputs[0, 0] = gap
    wrong = torch.tensor([1])
    norm = gradient(CrossEntropy(), outputs, wrong).norm().item()
    assert norm == pytest.approx(cross_entropy, abs=1e-3)
    assert gradient(MSE(), outputs, wrong).norm().item() == pytest.approx(mse, rel=0.02)


def test_hessian_of_the_raw_squared_error_is_the_identity(outputs):
    label = torch.tensor([3])
    matrix = hessian(lambda z: MSELogits()(z.unsqueeze(0), label), outputs[0])
    torch.testing.assert_close(matrix, torch.eye(CLASSES, dtype=torch.float64))


def test_cross_entropys_curvature_is_at_most_a_half_and_a_tenth_at_uniform(outputs):
    label = torch.tensor([3])

    def largest(z: Tensor) -> float:
        matrix = hessian(lambda z: CrossEntropy()(z.unsqueeze(0), label), z)
        return torch.linalg.eigvalsh(matrix)[-1].item()

    assert all(largest(scale * row) <= 0.5 for row in outputs for scale in (0.1, 1.0, 10.0))
    two_way_tie = torch.full((CLASSES,), -50.0, dtype=torch.float64)
    two_way_tie[:2] = 0
    assert largest(two_way_tie) == pytest.approx(0.5)
    assert largest(torch.zeros(CLASSES, dtype=torch.float64)) == pytest.approx(0.1)


def test_a_shift_of_all_outputs_changes_only_the_raw_squared_error(outputs, labels):
    for loss in (CrossEntropy(), MSE()):
        torch.testing.assert_close(loss(outputs + 3, labels), loss(outputs, labels))
    assert abs(MSELogits()(outputs + 3, labels) - MSELogits()(outputs, labels)) > 1


def test_derivative_of_the_mean_square_of_four_entries_is_half_of_each():
    x = torch.tensor([1.0, -2.0, 3.0, 0.5], requires_grad=True)
    x.square().mean().backward()
    torch.testing.assert_close(x.grad, x.detach() / 2)


def test_softmax_of_a_perfect_raw_output_classifier_is_unsure_and_our_mapping_is_not():
    perfect, labels = torch.eye(CLASSES), torch.arange(CLASSES)
    confidence = perfect.softmax(1)[labels, labels]
    assert confidence.mean().item() == pytest.approx(0.232, abs=5e-4)
    assert -confidence.log().mean().item() == pytest.approx(1.461, abs=5e-4)
    assert MSELogits().probabilities(perfect)[labels, labels].min() > 0.9999


def test_outputs_that_are_all_negative_map_to_uniform_probabilities():
    probabilities = MSELogits().probabilities(torch.full((1, CLASSES), -1.0))
    torch.testing.assert_close(probabilities, torch.full((1, CLASSES), 0.1))


def test_mse_logits_refuses_constants_without_meaning():
    with pytest.raises(ValueError, match=r"expected k > 0.*got k=0"):
        MSELogits(k=0)
