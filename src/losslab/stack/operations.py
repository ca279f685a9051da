"""What a stack's step comes down to, found once: no more Python, autograd or vmap at each step."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.fx.experimental.proxy_tensor import make_fx

Named = dict[str, Tensor]
Gradients = Callable[
    [Named, Named, Tensor, Tensor],
    tuple[Named, tuple[Float[Tensor, " runs"], Float[Tensor, "runs batch classes"]]],
]
"""Maps [runs, ...] parameters, other tensors, images and labels to gradients, losses, outputs."""

Descent = Callable[
    [Named, Named, Tensor, Tensor, Float[Tensor, " runs"]],
    tuple[Float[Tensor, " runs"], Float[Tensor, "runs batch classes"]],
]
"""Given the runs' rates too, takes −rate·gradient into the parameters; losses and outputs."""

aten = torch.ops.aten


class Operations(NamedTuple):
    """How a stack takes its steps.

    Attributes:
        descend: a step of gradient descent and nothing else, if it is known.
    """

    gradients: Gradients
    descend: Descent | None = None


class Traced(NamedTuple):
    """Both, of which each is a function of tensors: parameters, in this order, and all others."""

    names: list[str]
    to_gradients: Callable[..., Any]
    downwards: Callable[..., Any]

    def gradients(
        self, parameters: Named, fixed: Named, images: Tensor, labels: Tensor
    ) -> tuple[Named, tuple[Tensor, Tensor]]:
        tensors = *parameters.values(), *fixed.values(), images, labels
        *found, losses, outputs = self.to_gradients(*tensors)
        return dict(zip(self.names, found, strict=True)), (losses, outputs)

    def descend(
        self, parameters: Named, fixed: Named, images: Tensor, labels: Tensor, rates: Tensor
    ) -> tuple[Tensor, Tensor]:
        losses, outputs = self.downwards(
            rates, *parameters.values(), *fixed.values(), images, labels
        )
        return losses, outputs

    def compiled(self, backend: str) -> "Traced":
        """By `torch.compile`, when they are first called."""
        compile: Any = partial(torch.compile, backend=backend, dynamic=False)
        return Traced(self.names, compile(self.to_gradients), compile(self.downwards))


def traced(
    gradients_of: Gradients, parameters: Named, fixed: Named, images: Tensor, labels: Tensor
) -> Traced:
    """For any stack of equal shapes whose modules are set in the same way."""
    names, others = list(parameters), list(fixed)

    def flat(*tensors: Tensor) -> list[Tensor]:
        own = dict(zip(names, tensors, strict=False))
        rest = dict(zip(others, tensors[len(names) :], strict=False))
        found, (losses, outputs) = gradients_of(own, rest, *tensors[-2:])
        return [*(found[name] for name in names), losses, outputs]

    inputs = [*parameters.values(), *fixed.values(), images, labels]
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        module = make_fx(flat)(*inputs)
        values = values_in(module, inputs)
    use_first_views(module, values)
    return Traced(names, module, with_updates(module, values, len(names)))


def values_in(module: GraphModule, inputs: Sequence[Tensor]) -> dict[Node, Any]:
    """What each node comes to; all are kept, so that no two of them share memory by chance."""
    interpreter = Interpreter(module, garbage_collect_values=False)
    interpreter.run(*inputs)
    return interpreter.env


def use_first_views(module: GraphModule, values: dict[Node, Any]) -> None:
    """Leaves out what only looks at memory as an earlier node does: half of what vmap writes."""
    first: dict[Any, Node] = {}
    for node in module.graph.nodes:
        value = values.get(node)
        if isinstance(value, Tensor) and value.numel() > 0:
            place = value.data_ptr(), value.shape, value.stride(), value.dtype
            key = *place, value.is_conj(), value.is_neg()
            if (same := first.setdefault(key, node)) is not node:
                node.replace_all_uses_with(same)
    module.graph.eliminate_dead_code()
    module.recompile()


def with_updates(module: GraphModule, values: dict[Node, Any], number: int) -> GraphModule:
    """Takes −rate·gradient into the first inputs, so many, in place of returning the gradients.

    `rates` [runs] become the first input. A gradient that is a matrix product is added as it is
    computed, and never lies in memory by itself.
    """
    graph = Graph()
    copies: dict[Node, Node] = {}
    results: Any = graph.graph_copy(module.graph, copies)
    value_of = {copy: values[original] for original, copy in copies.items()}
    parameters = [node for node in graph.nodes if node.op == "placeholder"][:number]
    owned = {storage(value_of[node]) for node in parameters}
    written = written_after(graph, value_of)
    with graph.inserting_before(next(iter(graph.nodes))):
        rates = graph.placeholder("rates")
    spread_to = {
        ndim: graph.call_function(aten.view.default, (rates, [-1] + [1] * (ndim - 1)))
        for ndim in {value_of[parameter].ndim for parameter in parameters}
    }
    for parameter, gradient in zip(parameters, results[:number], strict=True):
        spread = spread_to[value_of[parameter].ndim]
        factors: list[Any] = [*gradient.args] if gradient.target is aten.bmm.default else []
        changing = owned | written[gradient]  # by the time that they are multiplied
        if factors and changing.isdisjoint(storage(value_of[each]) for each in factors):
            smaller = min((0, 1), key=lambda i: value_of[factors[i]].numel())
            factors[smaller] = graph.call_function(aten.mul.Tensor, (factors[smaller], spread))
            graph.call_function(aten.baddbmm_.default, (parameter, *factors), {"alpha": -1})
        else:
            operands = parameter, gradient, spread
            graph.call_function(aten.addcmul_.default, operands, {"value": -1})
    graph.output(results[number:])
    graph.eliminate_dead_code()
    return GraphModule(module, graph)


def written_after(graph: Graph, value_of: dict[Node, Any]) -> dict[Node, set[int]]:
    """Memory that what comes after each node may write to."""
    written, so_far = {}, set[int]()
    for node in reversed(graph.nodes):
        written[node] = so_far
        if isinstance(node.target, OpOverload) and node.target._schema.is_mutable:
            tensors = [value_of[each] for each in node.all_input_nodes]
            so_far = so_far | {storage(each) for each in tensors if isinstance(each, Tensor)}
    return written


def storage(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()
