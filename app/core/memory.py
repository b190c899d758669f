"""The garbage collector of a process that serves: it looks at what requests leave behind, not at the program itself."""

import gc

# Objects made before the youngest generation is looked at; the default of 700 is a fraction of one request.
YOUNGEST = 20_000


def rest() -> None:
    """Call before the program is loaded, which leaves next to no garbage: looking for it was a fifth of the start.

    `settle` ends it.
    """
    gc.disable()


def settle() -> None:
    """Call when everything is loaded: what exists now is never traversed again.

    A full collection walks every module, class and compiled statement, some 100 ms in which nobody is answered. Before
    a fork it also keeps the pages shared that a collection writes to.
    """
    gc.freeze()
    gc.set_threshold(YOUNGEST, 20, 20)
    gc.enable()
