"""A stack's step as operations, traced once: no Python, autograd or vmap at each step."""

from collections.abc import Callable, Mapping, Sequence
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

from runlab.stacks.nest import Form, Nest, take_apart
from runlab.stacks.process_state import rng_unchanged

Tensors = dict[str, Tensor]


class Results(NamedTuple):
    """What a step computes of all runs besides gradients.

    Attributes:
        outputs: a nest of tensors [runs, ...].
        buffers: after the step.
    """

    losses: Float[Tensor, " runs"]
    outputs: Any
    buffers: Tensors


Gradients = Callable[[Tensors, Tensors, Tensors, Nest], tuple[Tensors, Results]]
"""From [runs, ...] parameters, frozen ones, buffers and a step's nest: gradients and results."""

Descent = Callable[[Tensors, Tensors, Tensors, Nest, Float[Tensor, "groups runs"]], Results]
"""Also gets learning rates, and adds −learning rate·gradient to the parameters in place."""

aten = torch.ops.aten


class Operations(NamedTuple):
    """What a stack's steps are made of.

    Attributes:
        descend: a whole step of plain gradient descent; None where the optimizer does more, or
            what computes it may change no input.
    """

    gradients: Gradients
    descend: Descent | None = None


class Names(NamedTuple):
    """Of the tensors that a graph takes and returns, in their order."""

    parameters: list[str]
    buffers: list[str]
    outputs: Form


class TracedOperations(NamedTuple):
    """`Operations` as graphs, whose inputs are parameters, frozen ones, buffers and a step's nest.

    Attributes:
        descent_graph: takes the learning rates first.
    """

    names: Names
    gradient_graph: Callable[..., Any]
    descent_graph: Callable[..., Any]

    def gradients(
        self, parameters: Tensors, fixed: Tensors, buffers: Tensors, nest: Nest
    ) -> tuple[Tensors, Results]:
        returned = self.gradient_graph(*flat(parameters, fixed, buffers, nest))
        number = len(self.names.parameters)
        found = dict(zip(self.names.parameters, returned[:number], strict=True))
        return found, self.results(returned[number:])

    def descend(
        self,
        parameters: Tensors,
        fixed: Tensors,
        buffers: Tensors,
        nest: Nest,
        learning_rates: Float[Tensor, "groups runs"],
    ) -> Results:
        tensors = flat(parameters, fixed, buffers, nest)
        return self.results(self.descent_graph(learning_rates, *tensors))

    def results(self, returned: Sequence[Tensor]) -> Results:
        losses, *others = returned
        outputs = self.names.outputs.fill(others[len(self.names.buffers) :])
        return Results(losses, outputs, dict(zip(self.names.buffers, others, strict=False)))

    def compiled(self, backend: str) -> "TracedOperations":
        """By `torch.compile`, when they are first called."""
        compile: Any = partial(torch.compile, backend=backend, dynamic=False)
        return TracedOperations(
            self.names, compile(self.gradient_graph), compile(self.descent_graph)
        )


def flat(parameters: Tensors, fixed: Tensors, buffers: Tensors, nest: Nest) -> list[Tensor]:
    return [*parameters.values(), *fixed.values(), *buffers.values(), *nest.tensors]


def trace_operations(
    gradients_of: Gradients,
    parameters: Tensors,
    fixed: Tensors,
    buffers: Tensors,
    nest: Nest,
    groups: Mapping[str, int],
) -> TracedOperations:
    """The operations of any stack with equal shapes whose modules have the same settings.

    Args:
        gradients_of: called once, with the tensors that follow: those of a step by their shapes.
        groups: the row of the learning rates that each parameter has.

    Raises:
        ValueError: for outputs that are no nest of tensors.
    """
    forms: list[Form] = []

    def computed(*tensors: Tensor) -> list[Tensor]:
        rest = iter(tensors)
        own = parameters, fixed, buffers
        trained, frozen, changing = ({name: next(rest) for name in each} for each in own)
        found, results = gradients_of(trained, frozen, changing, nest.replace([*rest]))
        outputs = take_apart(results.outputs, "its outputs")
        forms.append(outputs.form)
        gradients = [found[name] for name in parameters]
        after = [results.buffers[name] for name in buffers]
        return [*gradients, results.losses, *after, *outputs.tensors]

    arguments = flat(parameters, fixed, buffers, nest)
    # one mode for all values that make_fx notes: else it makes one for each, half of its time
    with rng_unchanged(nest.tensors[0].device), tracing(TracingContext(FakeTensorMode())):
        module = make_fx(computed)(*arguments)
    values = evaluate_nodes(module, arguments)
    reuse_equal_views(module, values)
    names = Names([*parameters], [*buffers], forms[-1])
    rows = [groups[name] for name in parameters]
    return TracedOperations(names, module, with_updates(module, values, rows))


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


def with_updates(module: GraphModule, values: dict[Node, Any], rows: Sequence[int]) -> GraphModule:
    """Adds −learning rate·gradient to the first inputs, and returns no gradients.

    The learning rates [groups, runs] become the first input; `rows` says which of them is whose. A
    gradient that is a matrix product is added as it is computed, and never lies in memory by
    itself; not in half precision, whose smallest numbers are too large for a learning rate times a
    factor.
    """
    graph = Graph()
    copies: dict[Node, Node] = {}
    results: Any = graph.graph_copy(module.graph, copies)
    value_of = {copy: values[original] for original, copy in copies.items()}
    inputs = [node for node in graph.nodes if node.op == "placeholder"][: len(rows)]
    of_parameters = {storage(value_of[node]) for node in inputs}
    written = written_after(graph, value_of)
    with graph.inserting_before(next(iter(graph.nodes))):
        learning_rates = graph.placeholder("learning_rates")
    expanded = {}
    values_of_inputs = [value_of[node] for node in inputs]
    kinds = [(row, p.dtype, p.ndim) for row, p in zip(rows, values_of_inputs, strict=True)]
    for row, dtype, ndim in dict.fromkeys(kinds):
        own = graph.call_function(aten.select.int, (learning_rates, 0, row))
        own = graph.call_function(aten.to.dtype, (own, dtype))
        shape = [-1] + [1] * (ndim - 1)
        expanded[row, dtype, ndim] = graph.call_function(aten.view.default, (own, shape))
    gradients = results[: len(rows)]
    for kind, parameter, gradient in zip(kinds, inputs, gradients, strict=True):
        dtype, factor = value_of[parameter].dtype, expanded[kind]
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
    graph.output(results[len(rows) :])
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
