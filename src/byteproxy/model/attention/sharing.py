"""Key-value heads that several query heads share, for backends that want one for each.

H heads, G key-value heads. Query heads that share keys stand side by side.
"""

import torch


def for_each_head(q_NHE: torch.Tensor, *shared_NGE: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Keys, values as [..., H, E]: repeated for those that share them."""
    times = q_NHE.shape[-2] // shared_NGE[0].shape[-2]
    return shared_NGE if times == 1 else tuple(x.repeat_interleave(times, -2) for x in shared_NGE)
