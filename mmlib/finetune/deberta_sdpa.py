"""DeBERTa's attention by SDPA, which transformers does not offer for DeBERTa.

The score of a query q at i and a key k at j, with r = i - j, is (He et al. 2021, eq. 4)

    (q . k  +  q . K_r  +  k . Q_r) / sqrt(3 d)

with K_r and Q_r from a learned table of distances. transformers multiplies with the whole table
and looks up each score. Here the products are computed for the 2 t distances in order. Then the
scores of row i are those of row i - 1 shifted by one place, which is a view; their sum is passed to
SDPA as its bias.
Axes: b batch, a head, t token, r distance, d feature.
"""

from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.deberta import modeling_deberta
from transformers.models.deberta_v2 import modeling_deberta_v2

V1 = modeling_deberta.DisentangledSelfAttention
V2 = modeling_deberta_v2.DisentangledSelfAttention


def use_sdpa(model: nn.Module) -> nn.Module:
    """Make the DeBERTa layers in `model` use SDPA, if it can compute their scores."""
    for layer in model.modules():
        if isinstance(layer, (V1, V2)) and _is_plain(layer):
            layer.forward = MethodType(attend, layer)
    return model


def _is_plain(layer: nn.Module) -> bool:
    """Whether the layer's scores are those above, or a subset of their terms."""
    return set(layer.pos_att_type) <= {"c2p", "p2c"} and not getattr(layer, "talking_head", False)


def attend(
    layer: nn.Module,
    hidden_states: Tensor,
    attention_mask: Tensor,
    output_attentions: bool = False,
    query_states: Tensor | None = None,
    relative_pos: Tensor | None = None,
    rel_embeddings: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Replaces the layer's forward: states (b, t, d) and a mask (b, 1, t, t) to states."""
    kinds = layer.pos_att_type if relative_pos is not None else []
    if output_attentions or query_states is not None or not kinds:
        return type(layer).forward(layer, hidden_states, attention_mask, output_attentions,
                                   query_states, relative_pos, rel_embeddings)  # fmt: skip
    query, key, value = _of_content(layer, hidden_states)  # (b, a, t, d)
    scale = (query.shape[-1] * (1 + len(kinds))) ** -0.5
    query = query * scale
    table, at = layer.pos_dropout(rel_embeddings), _rows(layer, relative_pos)  # (2 t + 1,)
    scores = []
    if "c2p" in kinds:
        far = _of_distances(layer, table, "key")[:, at.flip(0)[:-1]]  # r falling
        scores.append(shifted(query @ far.transpose(-1, -2)))
    if "p2c" in kinds:
        far = _of_distances(layer, table, "query")[:, at[:-1]] * scale
        scores.append(shifted(key @ far.transpose(-1, -2)).transpose(-1, -2))
    bias = sum(scores[1:], scores[0])  # (b, a, t, t)
    bias = bias.masked_fill(~attention_mask.bool(), torch.finfo(bias.dtype).min)
    dropped = layer.dropout.p if layer.training else 0.0
    out = scaled_dot_product_attention(query, key, value, bias, dropped, scale=1.0)
    return out.transpose(1, 2).flatten(2), None


def shifted(x: Tensor) -> Tensor:
    """Products (..., t, 2 t) to scores (..., t, t): column t + j - i of row i becomes column j."""
    t = x.shape[-2]
    flat = x.flatten(-2)[..., t : t + t * (2 * t - 1)]
    return flat.unflatten(-1, (t, 2 * t - 1))[..., :t]


def _rows(layer: nn.Module, relative_pos: Tensor) -> Tensor:
    """Row numbers (2 t + 1,) in the table for the distances -t to t; the two ends are never used.

    relative_pos (1, t, t): transformers' bucket of each distance i - j; far distances share one.
    """
    distances = relative_pos.view(relative_pos.shape[-2:])
    ahead, back = distances[0].flip(0), distances[:, 0]  # of -(t - 1) to 0; of 0 to t - 1
    numbers = torch.cat([ahead[:1], ahead[:-1], back, back[-1:]])
    if isinstance(layer, V2):
        span = middle = layer.pos_ebd_size
    else:
        span, middle = min(len(back), layer.max_relative_positions), layer.max_relative_positions
    return (numbers.clamp(-span, span - 1) + middle).long()


def _of_content(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Queries, keys and values (b, a, t, d) of the states x (b, t, d)."""
    if isinstance(layer, V2):
        return [_heads(layer, project(x)) for project in
                (layer.query_proj, layer.key_proj, layer.value_proj)]  # fmt: skip
    query, key, value = _heads(layer, layer.in_proj(x)).chunk(3, dim=-1)
    query = query + _heads(layer, layer.q_bias[None])
    value = value + _heads(layer, layer.v_bias[None])
    return [query, key, value]


def _of_distances(layer: nn.Module, table: Tensor, kind: str) -> Tensor:
    """Keys K_r or queries Q_r ("key", "query") of the table of distances, (a, r, d)."""
    if isinstance(layer, V1):
        name = {"key": "pos_proj", "query": "pos_q_proj"}[kind]
    else:
        name = f"{kind}_proj" if layer.share_att_key else f"pos_{kind}_proj"
    return _heads(layer, getattr(layer, name)(table))


def _heads(layer: nn.Module, x: Tensor) -> Tensor:
    """(..., t, a d) -> (..., a, t, d)."""
    return x.unflatten(-1, (layer.num_attention_heads, -1)).transpose(-2, -3)
