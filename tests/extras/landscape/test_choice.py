import pytest

from runlab.analysis.compare import compare
from runlab.extras.landscape.choice import choose
from tests.analysis.synthetic import write_module_run, write_run

NAMES = {"cross_entropy": (0.2, 0.97), "mse": (0.5, 0.96), "mse_logits": (0.2, 0.95)}


@pytest.fixture
def sweep(tmp_path):
    """Three losses, two seeds; each is best at the learning rate above."""
    for loss, (best, accuracy) in NAMES.items():
        for seed in (0, 1):
            for rate in (0.2, 0.5):
                value = accuracy if rate == best else accuracy - 0.05
                write_run(tmp_path, loss, rate, seed, value)
    return tmp_path


def names(sweep, *arms, seed=None):
    return [run.folder.name for run in choose(compare(sweep), arms, seed)]


def replace(sweep, loss, seed, **changes):
    rate = NAMES[loss][0]
    name = f"loss={loss},lr={rate:g},seed={seed}"
    (sweep / name / "run.json").unlink()
    (sweep / name).rmdir()
    write_run(sweep, loss, rate, seed, NAMES[loss][1], **changes)


def test_the_first_two_losses_at_their_chosen_rates_and_the_smallest_seed(sweep):
    assert names(sweep) == ["loss=cross_entropy,lr=0.2,seed=0", "loss=mse,lr=0.5,seed=0"]
    assert names(sweep, "mse_logits", "mse", seed=1) == [
        "loss=mse_logits,lr=0.2,seed=1",
        "loss=mse,lr=0.5,seed=1",
    ]


def test_a_seed_with_which_a_run_diverged_is_passed_over(sweep):
    replace(sweep, "mse", 0, status="diverged")
    assert names(sweep) == ["loss=cross_entropy,lr=0.2,seed=1", "loss=mse,lr=0.5,seed=1"]
    with pytest.raises(
        ValueError, match=r"with the seed 0, got .*seed 0 diverged.*--seed from \[1"
    ):
        names(sweep, seed=0)
    with pytest.raises(ValueError, match=r"expected a run of both arms .* seed 7.*choose --seed"):
        names(sweep, seed=7)


def test_without_a_common_finished_seed_the_sentence_shows_what_there_is(sweep):
    replace(sweep, "mse", 0, status="diverged")
    replace(sweep, "mse", 1, status="interrupted")
    expected = (
        r"expected a run of both arms that finished with one seed, got cross_entropy at its chosen "
        r"learning rate 0\.2: seed 0 finished, seed 1 finished; mse .*--arms"
    )
    with pytest.raises(ValueError, match=expected):
        names(sweep, "cross_entropy", "mse")


def test_the_default_prefers_one_network_and_two_losses(tmp_path):
    for model, widths in (("cnn", [32]), ("mlp", [128])):
        for loss in ("mse", "other") if model == "mlp" else ("cross_entropy",):
            config = {"model": {"_target_": f"losslab.models.{model}", "widths": widths}}
            name = f"{loss},{model}"
            choices = {"model": model}
            write_run(tmp_path, loss, 0.1, 0, name=name, config=config, choices=choices)
    assert [run.record["choices"]["loss"] for run in choose(compare(tmp_path))] == ["mse", "other"]
    arms = list(compare(tmp_path).arms["arm"])
    with pytest.raises(ValueError, match=r"one network.*model\.widths: \[32\] -> \[128\].*--arms"):
        choose(compare(tmp_path), arms[:2])


def test_modules_that_take_no_network_and_no_loss_have_no_landscape(tmp_path):
    for module in ("a", "b"):
        write_module_run(tmp_path, module, 0)
    with pytest.raises(ValueError, match=r"with a network and a loss .* got a, whose"):
        choose(compare(tmp_path))


def test_arms_that_are_no_pair_are_refused(sweep, tmp_path_factory):
    with pytest.raises(ValueError, match="unknown arm 'mes'; did you mean mse"):
        names(sweep, "cross_entropy", "mes")
    with pytest.raises(ValueError, match="expected two different arms, got mse and mse"):
        names(sweep, "mse", "mse")
    alone = tmp_path_factory.mktemp("alone")
    write_run(alone, "mse", 0.1, 0)
    with pytest.raises(ValueError, match=r"expected at least two arms .*got mse: train another"):
        names(alone)
