"""Attention whose result does not depend on the padding of a batch.

Vector instructions sum 16 numbers at a time and the rest one by one, in another order. A text that
is padded to 15 keys in one batch and to 17 in another therefore gets a softmax and a weighted sum
that differ in the last bit, and models trained on the two drift apart after some hundred steps. If
the keys are padded to multiples of 16, the order of summation, and so every bit, is always the
same. For matrix products on Intel's processors with AVX2, `import mmlib` sets MKL's strict mode.
Axes: b batch, a head, t token, d feature.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

GROUPED = "grouped"  # the name under which it is registered in transformers
GROUP = 16  # float32 numbers in the widest vector registers
# Arguments that models pass on and that SDPA does not use either (the mask includes the window).
UNUSED = ("dropout", "sliding_window", "position_ids", "cache_position", "use_cache",
          "output_attentions", "output_hidden_states", "return_dict")  # fmt: skip


def to_groups(x: Tensor, axis: int, value: float = 0) -> Tensor:
    """Pad an axis of x to a multiple of GROUP."""
    behind = [0, 0] * (x.ndim - 1 - axis % x.ndim)
    return pad(x, [*behind, 0, -x.shape[axis] % GROUP], value=value)


def grouped(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    """SDPA of query, key, value (b, a, t, d), keys padded to full groups; output (b, t, a, d).

    attention_mask: (b, 1, t, t) bool, True where a key is attended to; None: all keys, or for a
    causal module those up to the query. Keys and values may have fewer heads than queries
    (grouped-query attention). Falls back to the SDPA of transformers if another argument is given.
    """
    t, unknown = key.shape[2], [k for k, v in others.items() if k not in UNUSED and v is not None]
    is_plain = query.shape[2] == t and (
        attention_mask is None or attention_mask.dtype == torch.bool
    )
    if unknown or not is_plain or others.get("dropout"):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        others |= {"scaling": scaling, "is_causal": is_causal}
        return sdpa_attention_forward(module, query, key, value, attention_mask, **others)
    if attention_mask is None:
        attention_mask = torch.ones(1, 1, t, t, dtype=torch.bool, device=key.device)
        if getattr(module, "is_causal", True) if is_causal is None else is_causal:
            attention_mask = attention_mask.tril()
    heads = query.shape[1] // key.shape[1]
    if heads > 1:
        key, value = (x.repeat_interleave(heads, dim=1) for x in (key, value))
    mask = to_groups(to_groups(attention_mask, -1, False), -2, True)
    query, key, value = (to_groups(x, 2) for x in (query, key, value))
    out = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    return out[:, :, :t].transpose(1, 2), None


def use_groups(model: nn.Module) -> None:
    """Make a transformers model use `grouped` instead of SDPA."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(GROUPED, grouped)
    AttentionMaskInterface.register(GROUPED, sdpa_mask)
    model.set_attn_implementation(GROUPED)
