"""Rows of tokens that raw positions read beside their own: `mixture.hints` says which. N positions, B bytes, V tokens.

While a model trains, its rows bring their hints. A model whose hints stay finds them by itself wherever it reads raw
bytes, by the tokens that it keeps among its tensors.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from byteproxy.mixture.hints import NO_HINT, HintedView, RowHints
from byteproxy.views.longest_token import NO_TOKEN, LongestTokens, longest_tokens


class TokenHints(NamedTuple):
    """id_N: int64, the symbol whose row a position reads, too; NO_HINT: none. scale: float32 [], of these rows."""

    id_N: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of(cls, hints: RowHints, device: torch.device | str) -> "TokenHints":
        """Those of rows, on a device."""
        return cls(torch.from_numpy(hints.ids).to(device), torch.tensor(hints.scale, device=device))


class HintTokens(nn.Module):
    """The tokens of a model whose hints stay, as buffers, so that checkpoints have them; no weight is among these.

    text_B: uint8, the bytes of all tokens end to end. end_V: int64, where each one ends. first: int64 [], the id of
    token 0's row.
    """

    text_B: torch.Tensor
    end_V: torch.Tensor
    first: torch.Tensor

    def __init__(self, tokens: int, size: int, scale: float) -> None:
        """Room for so many tokens of so many bytes together. scale: of their rows."""
        super().__init__()
        self.register_buffer("text_B", torch.zeros(size, dtype=torch.uint8))
        self.register_buffer("end_V", torch.zeros(tokens, dtype=torch.int64))
        self.register_buffer("first", torch.zeros((), dtype=torch.int64))
        self.scale = scale
        self._automaton: LongestTokens | None = None

    @classmethod
    def of(cls, view: HintedView, scale: float) -> "HintTokens":
        """The tokens of a view. scale: of their rows."""
        text = np.frombuffer(b"".join(view.strings), np.uint8).copy()
        made = cls(len(view.strings), len(text), scale)
        made.load_state_dict(
            {
                "text_B": torch.from_numpy(text),
                "end_V": torch.tensor([len(string) for string in view.strings], dtype=torch.int64).cumsum(0),
                "first": torch.tensor(view.first_id),
            }
        )
        return made

    def forward(self, symbols_N: torch.Tensor) -> TokenHints:
        """The hints of packed documents; on an accelerator this waits for their symbols."""
        if self._automaton is None:
            text, ends = self.text_B.cpu().numpy().tobytes(), [0, *self.end_V.tolist()]
            self._automaton = longest_tokens([text[begin:end] for begin, end in pairwise(ends)])
        token_N = torch.from_numpy(self._automaton.of_ids(symbols_N.cpu().numpy())).to(symbols_N.device)
        id_N = torch.where(token_N == NO_TOKEN, NO_HINT, token_N + self.first)
        return TokenHints(id_N, torch.tensor(self.scale, device=symbols_N.device))
