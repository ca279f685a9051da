"""A stack's step as operations, traced once: no Python, autograd or vmap at each step."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch._guards import TracingContext, tracing
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.fx.experimental.proxy_tensor import make_fx

from runlab.stacks.process_state import rng_unchanged

Tensors = dict[str, Tensor]
Gradients = Callable[
    [Tensors, Tensors, Tensor, Tensor],
    tuple[Tensors, tuple[Float[Tensor, " runs"], Float[Tensor, "runs batch ..."]]],
]
"""From [runs, ...] parameters, other tensors, inputs and targets: gradients, losses, outputs."""

Descent = Callable[
    [Tensors, Tensors, Tensor, Tensor, Float[Tensor, " runs"]],
    tuple[Float[Tensor, " runs"], Float[Tensor, "runs batch ..."]],
]
"""Also gets learning rates, and adds −learning rate·gradient to the parameters in place.

Returns losses and outputs.
"""

aten = torch.ops.aten


class Operations(NamedTuple):
    """What a stack's steps are made of.

    Attributes:
        descend: a whole step of plain gradient descent; None where the optimizer does more, or
            what computes it may change no input.
    """

    gradients: Gradients
    descend: Descent | None = None


class TracedOperations(NamedTuple):
    """`Operations` as graphs, whose inputs are parameters, in the order of `names`, and the rest.

    Attributes:
        descent_graph: takes the learning rates first.
    """

    names: list[str]
    gradient_graph: Callable[..., Any]
    descent_graph: Callable[..., Any]

    def gradients(
        self, parameters: Tensors, fixed: Tensors, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensors, tuple[Tensor, Tensor]]:
        tensors = *parameters.values(), *fixed.values(), inputs, targets
        *found, losses, outputs = self.gradient_graph(*tensors)
        return dict(zip(self.names, found, strict=True)), (losses, outputs)

    def descend(
        self,
        parameters: Tensors,
        fixed: Tensors,
        inputs: Tensor,
        targets: Tensor,
        learning_rates: Tensor,
    ) -> tuple[Tensor, Tensor]:
        tensors = *parameters.values(), *fixed.values(), inputs, targets
        losses, outputs = self.descent_graph(learning_rates, *tensors)
        return losses, outputs

    def compiled(self, backend: str) -> "TracedOperations":
        """By `torch.compile`, when they are first called."""
        compile: Any = partial(torch.compile, backend=backend, dynamic=False)
        return TracedOperations(
            self.names, compile(self.gradient_graph), compile(self.descent_graph)
        )


def trace_operations(
    gradients_of: Gradients, parameters: Tensors, fixed: Tensors, inputs: Tensor, targets: Tensor
) -> TracedOperations:
    """The operations of any stack with equal shapes whose modules have the same settings.

    The other arguments are those of a step: of its shapes, not of its values.
    """
    names, others = list(parameters), list(fixed)

    def flat(*tensors: Tensor) -> list[Tensor]:
        own = dict(zip(names, tensors, strict=False))
        rest = dict(zip(others, tensors[len(names) :], strict=False))
        found, (losses, outputs) = gradients_of(own, rest, *tensors[-2:])
        return [*(found[name] for name in names), losses, outputs]

    arguments = [*parameters.values(), *fixed.values(), inputs, targets]
    # one mode for all values that make_fx notes: else it makes one for each, half of its time
    with rng_unchanged(inputs.device), tracing(TracingContext(FakeTensorMode())):
        module = make_fx(flat)(*arguments)
    values = evaluate_nodes(module, arguments)
    reuse_equal_views(module, values)
    return TracedOperations(names, module, with_updates(module, values, len(names)))


def evaluate_nodes(module: GraphModule, arguments: Sequence[Tensor]) -> dict[Node, Any]:
    """Each node's value: a tensor without content, which shows which nodes share their memory."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        interpreter = Interpreter(module, garbage_collect_values=False)
        interpreter.run(*(mode.from_tensor(each) for each in arguments))
    return interpreter.env


def reuse_equal_views(module: GraphModule, values: dict[Node, Any]) -> None:
    """Leaves out each node that is the same view of memory as an earlier one: half of vmap's nodes.

    Not where a view is changed in place: an earlier node would then be another view later.
    """
    targets = [node.target for node in module.graph.nodes]
    if any(torch.Tag.inplace_view in each.tags for each in targets if isinstance(each, OpOverload)):
        return
    first_views: dict[Any, Node] = {}
    for node in module.graph.nodes:
        value = values.get(node)
        if isinstance(value, Tensor):
            view = storage(value), value.storage_offset(), value.shape, value.stride()
            key = *view, value.dtype, value.is_conj(), value.is_neg()
            if (same := first_views.setdefault(key, node)) is not node:
                node.replace_all_uses_with(same)
    module.graph.eliminate_dead_code()
    module.recompile()


def with_updates(module: GraphModule, values: dict[Node, Any], parameters: int) -> GraphModule:
    """Adds −learning rate·gradient to the first inputs, so many, and returns no gradients.

    The learning rates [runs] become the first input. A gradient that is a matrix product is added
    as it is computed, and never lies in memory by itself; not in half precision, whose smallest
    numbers are too large for a learning rate times a factor.
    """
    graph = Graph()
    copies: dict[Node, Node] = {}
    results: Any = graph.graph_copy(module.graph, copies)
    value_of = {copy: values[original] for original, copy in copies.items()}
    inputs = [node for node in graph.nodes if node.op == "placeholder"][:parameters]
    of_parameters = {storage(value_of[node]) for node in inputs}
    written = written_after(graph, value_of)
    with graph.inserting_before(next(iter(graph.nodes))):
        learning_rates = graph.placeholder("learning_rates")
    expanded = {}
    for dtype, ndim in {(value_of[node].dtype, value_of[node].ndim): None for node in inputs}:
        own = graph.call_function(aten.to.dtype, (learning_rates, dtype))
        shape = [-1] + [1] * (ndim - 1)
        expanded[dtype, ndim] = graph.call_function(aten.view.default, (own, shape))
    for parameter, gradient in zip(inputs, results[:parameters], strict=True):
        dtype = value_of[parameter].dtype
        factor = expanded[dtype, value_of[parameter].ndim]
        precise = value_of[gradient].dtype == dtype and dtype in (torch.float32, torch.float64)
        is_product = precise and gradient.target is aten.bmm.default
        factors: list[Any] = [*gradient.args] if is_product else []
        changing = of_parameters | written[gradient]  # by the time that they are multiplied
        if factors and changing.isdisjoint(storage(value_of[each]) for each in factors):
            smaller = min((0, 1), key=lambda i: value_of[factors[i]].numel())
            factors[smaller] = graph.call_function(aten.mul.Tensor, (factors[smaller], factor))
            graph.call_function(aten.baddbmm_.default, (parameter, *factors), {"alpha": -1})
        else:
            operands = parameter, gradient, factor
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
