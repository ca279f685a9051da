"""Too little memory, told from other errors: it says nothing about what needed it."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whatever device's memory it was, also where a compiler raised it as an error of its own."""
    chain = [each for each in (error, error.__cause__, error.__context__) if each is not None]
    return any(
        isinstance(each, torch.OutOfMemoryError | MemoryError)
        or any(text in str(each) for text in ("out of memory", "allocate memory", "ALLOC_FAILED"))
        for each in chain
    )
