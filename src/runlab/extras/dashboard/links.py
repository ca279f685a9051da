"""Addresses within TensorBoard that begin where the question is answered."""

from urllib.parse import quote

ARM = r"^(?:(.+)/)?loss=([^,]+),lr=[^,]+,seed=\d+([^~]*)"
"""Of a run's name, what tells its arm: sweep, loss and whatever else was overridden."""


def links(runs: str, aggregates: str) -> dict[str, str]:
    """By what they show; `runs` and `aggregates` are the addresses of the two TensorBoards."""
    colored = f"runColorGroup={quote(f'regex:{ARM}', safe='')}"
    return {
        "runs, coloured by arm": f"{runs}?tagFilter=val%2F&smoothing=0&{colored}#timeseries",
        "hyperparameters": f"{runs}#hparams",
        "means over seeds": f"{aggregates}#custom_scalars",
        "figures": f"{aggregates}#images",
        "conclusion": f"{aggregates}#text",
    }
