"""What a stack's step comes down to, found once: no more Python, autograd or vmap at each step."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.fx.experimental.proxy_tensor import make_fx

from runlab.stacks.process_state import draws_undone

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
    """What a stack's steps are made of.

    Attributes:
        descend: a whole step of plain gradient descent; None where the optimizer does more, or
            what computes it may change no input.
    """

    gradients: Gradients
    descend: Descent | None = None


class Traced(NamedTuple):
    """`Operations` as graphs, whose inputs are parameters, in the order of `names`, and the rest.

    Attributes:
        descent_graph: takes the rates first.
    """

    names: list[str]
    gradient_graph: Callable[..., Any]
    descent_graph: Callable[..., Any]

    def gradients(
        self, parameters: Named, fixed: Named, images: Tensor, labels: Tensor
    ) -> tuple[Named, tuple[Tensor, Tensor]]:
        tensors = *parameters.values(), *fixed.values(), images, labels
        *found, losses, outputs = self.gradient_graph(*tensors)
        return dict(zip(self.names, found, strict=True)), (losses, outputs)

    def descend(
        self, parameters: Named, fixed: Named, images: Tensor, labels: Tensor, rates: Tensor
    ) -> tuple[Tensor, Tensor]:
        tensors = *parameters.values(), *fixed.values(), images, labels
        losses, outputs = self.descent_graph(rates, *tensors)
        return losses, outputs

    def compiled(self, backend: str) -> "Traced":
        """By `torch.compile`, when they are first called."""
        compile: Any = partial(torch.compile, backend=backend, dynamic=False)
        return Traced(self.names, compile(self.gradient_graph), compile(self.descent_graph))


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
    with draws_undone(images.device):
        module = make_fx(flat)(*inputs)
    values = values_in(module, inputs)
    use_first_views(module, values)
    return Traced(names, module, with_updates(module, values, len(names)))


def values_in(module: GraphModule, inputs: Sequence[Tensor]) -> dict[Node, Any]:
    """What each node comes to: tensors without content, of which it shows whose memory is one."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        interpreter = Interpreter(module, garbage_collect_values=False)
        interpreter.run(*(mode.from_tensor(each) for each in inputs))
    return interpreter.env


def use_first_views(module: GraphModule, values: dict[Node, Any]) -> None:
    """Leaves out what only looks at memory as an earlier node does: half of what vmap writes.

    Not where a view is turned in place, and so an earlier node comes to something else later.
    """
    targets = [node.target for node in module.graph.nodes]
    if any(torch.Tag.inplace_view in each.tags for each in targets if isinstance(each, OpOverload)):
        return
    first: dict[Any, Node] = {}
    for node in module.graph.nodes:
        value = values.get(node)
        if isinstance(value, Tensor):
            place = storage(value), value.storage_offset(), value.shape, value.stride()
            key = *place, value.dtype, value.is_conj(), value.is_neg()
            if (same := first.setdefault(key, node)) is not node:
                node.replace_all_uses_with(same)
    module.graph.eliminate_dead_code()
    module.recompile()


def with_updates(module: GraphModule, values: dict[Node, Any], parameters: int) -> GraphModule:
    """Takes −rate·gradient into the first inputs, so many, in place of returning the gradients.

    `rates` [runs] become the first input. A gradient that is a matrix product is added as it is
    computed, and never lies in memory by itself; not in half precision, whose smallest numbers are
    too large for a rate times what it multiplies.
    """
    graph = Graph()
    copies: dict[Node, Node] = {}
    results: Any = graph.graph_copy(module.graph, copies)
    value_of = {copy: values[original] for original, copy in copies.items()}
    inputs = [node for node in graph.nodes if node.op == "placeholder"][:parameters]
    owned = {storage(value_of[node]) for node in inputs}
    written = written_after(graph, value_of)
    with graph.inserting_before(next(iter(graph.nodes))):
        rates = graph.placeholder("rates")
    spread_as = {}
    for dtype, ndim in {(value_of[node].dtype, value_of[node].ndim): None for node in inputs}:
        own = graph.call_function(aten.to.dtype, (rates, dtype))
        spread = graph.call_function(aten.view.default, (own, [-1] + [1] * (ndim - 1)))
        spread_as[dtype, ndim] = spread
    for parameter, gradient in zip(inputs, results[:parameters], strict=True):
        dtype = value_of[parameter].dtype
        spread = spread_as[dtype, value_of[parameter].ndim]
        precise = value_of[gradient].dtype == dtype and dtype in (torch.float32, torch.float64)
        is_product = precise and gradient.target is aten.bmm.default
        factors: list[Any] = [*gradient.args] if is_product else []
        changing = owned | written[gradient]  # by the time that they are multiplied
        if factors and changing.isdisjoint(storage(value_of[each]) for each in factors):
            smaller = min((0, 1), key=lambda i: value_of[factors[i]].numel())
            factors[smaller] = graph.call_function(aten.mul.Tensor, (factors[smaller], spread))
            graph.call_function(aten.baddbmm_.default, (parameter, *factors), {"alpha": -1})
        else:
            operands = parameter, gradient, spread
            graph.call_function(aten.addcmul_.default, operands, {"value": -1})
    graph.output(results[parameters:])
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
    """Equal for tensors that are views of the same memory."""
    return value.untyped_storage()._cdata
