"""How each family's checkpoints call their tensors, and how we do.

Comes in: a stored tensor's name. Goes out: ours, such as `layers.3.attention.query.weight`. What then still stands
outside `embeddings`, `layers` and the like (pooler, cls, lm_head, classifier …) is a head: it may be there, nobody
reads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Renames = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Split:
    """A stored tensor that holds several of ours: their rows below one another, by head (`by_head`) or as a whole."""

    fused: str
    parts: tuple[str, ...]
    by_head: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one family.

    renames  pairs of a pattern and its replacement, applied from top to bottom, each at most once a name.
    splits   applied after the renames.
    ignored  patterns, after renaming, of tensors that look like the encoder's and are not read.
    """

    renames: Renames
    splits: tuple[Split, ...] = ()
    ignored: tuple[str, ...] = (r"embeddings\.position_ids$",)  # 0, 1, 2 …: a buffer that old checkpoints stored

    def canonical(self, name: str) -> str:
        """Our name for a stored tensor; a fused one's still has the fused part."""
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name, count=1)
        return name

    def split(self, name: str) -> Split | None:
        """How a tensor, by our name, is to be split."""
        return next((split for split in self.splits if split.fused in name), None)

    def is_ignored(self, name: str) -> bool:
        """Whether a tensor, by our name, is known not to be read."""
        return any(re.match(pattern, name) for pattern in self.ignored)

    def is_inside(self, name: str) -> bool:
        """Whether a tensor, by our name, looks like a part of the encoder."""
        return re.match(r"(embeddings|layers|distances|convolution|encoder|transformer)\.", name) is not None


_EMBEDDINGS: Renames = (
    (r"\.gamma$", ".weight"),  # TensorFlow's names for a norm's scale
    (r"\.beta$", ".bias"),  # and shift, in checkpoints converted before 2019
    (r"^embeddings\.word_embeddings\.", "embeddings.word."),
    (r"^embeddings\.position_embeddings\.", "embeddings.position."),
    (r"^embeddings\.token_type_embeddings\.", "embeddings.type."),
    (r"^embeddings\.LayerNorm\.", "embeddings.norm."),
    (r"^embeddings_project\.", "embeddings.projection."),  # ELECTRA
)
_BERT: Renames = (
    # Checkpoints with a head on top (masked language model, classifier) wrap the encoder.
    (r"^(bert|roberta|electra|deberta|mpnet)\.", ""),
    *_EMBEDDINGS,
    (r"^encoder\.layer\.(\d+)\.", r"layers.\1."),
    (r"\.attention\.self\.(query|key|value)\.", r".attention.\1."),
    (r"\.attention\.output\.dense\.", ".attention.output."),
    (r"\.attention\.output\.LayerNorm\.", ".attention.norm."),
    (r"\.intermediate\.dense\.", ".ffn.up."),
    (r"^(layers\.\d+)\.output\.dense\.", r"\1.ffn.down."),
    (r"^(layers\.\d+)\.output\.LayerNorm\.", r"\1.ffn.norm."),
)
_QUERY_KEY_VALUE = (".attention.query.", ".attention.key.", ".attention.value.")
_DEBERTA_TABLE: Renames = (
    (r"^encoder\.rel_embeddings\.", "distances."),
    (r"^encoder\.LayerNorm\.", "distances.norm."),
    (r"^encoder\.conv\.conv\.", "convolution."),
    (r"^encoder\.conv\.LayerNorm\.", "convolution.norm."),
)
_DEBERTA_IGNORED = (
    *Names(()).ignored,
    r"embeddings\.position\.weight$",  # stored by some, with `position_biased_input` false
    r"distances\.(weight$|norm\.)",  # likewise, with `pos_att_type` empty or `relative_attention` false
)

BERT = Names(_BERT)

MPNET = Names(
    (
        *_BERT,
        (r"\.attention\.attn\.q\.", ".attention.query."),
        (r"\.attention\.attn\.k\.", ".attention.key."),
        (r"\.attention\.attn\.v\.", ".attention.value."),
        (r"\.attention\.attn\.o\.", ".attention.output."),
        (r"\.attention\.LayerNorm\.", ".attention.norm."),
        (r"^encoder\.relative_attention_bias\.", "distances."),
    )
)

DEBERTA = Names(
    (
        *_BERT,
        *_DEBERTA_TABLE,
        (r"\.attention\.self\.in_proj\.", ".attention.fused."),
        (r"\.attention\.self\.q_bias$", ".attention.query.bias"),
        (r"\.attention\.self\.v_bias$", ".attention.value.bias"),
        (r"\.attention\.self\.pos_proj\.", ".attention.position_key."),
        (r"\.attention\.self\.pos_q_proj\.", ".attention.position_query."),
    ),
    splits=(Split(".attention.fused.", _QUERY_KEY_VALUE, by_head=True),),
    ignored=_DEBERTA_IGNORED,
)

DEBERTA_V2 = Names(
    (
        *_BERT,
        *_DEBERTA_TABLE,
        (r"\.attention\.self\.(query|key|value)_proj\.", r".attention.\1."),
        (r"\.attention\.self\.pos_(query|key)_proj\.", r".attention.position_\1."),
    ),
    ignored=_DEBERTA_IGNORED,
)

DISTILBERT = Names(
    (
        (r"^distilbert\.", ""),
        *_EMBEDDINGS,
        (r"^transformer\.layer\.(\d+)\.", r"layers.\1."),
        (r"\.attention\.q_lin\.", ".attention.query."),
        (r"\.attention\.k_lin\.", ".attention.key."),
        (r"\.attention\.v_lin\.", ".attention.value."),
        (r"\.attention\.out_lin\.", ".attention.output."),
        (r"\.sa_layer_norm\.", ".attention.norm."),
        (r"\.ffn\.lin1\.", ".ffn.up."),
        (r"\.ffn\.lin2\.", ".ffn.down."),
        (r"\.output_layer_norm\.", ".ffn.norm."),
    )
)

ALBERT = Names(
    (
        (r"^albert\.", ""),
        *_EMBEDDINGS,
        (r"^encoder\.embedding_hidden_mapping_in\.", "embeddings.projection."),
        (r"^encoder\.albert_layer_groups\.(\d+)\.albert_layers\.(\d+)\.", r"layers.\1.\2."),
        (r"\.attention\.dense\.", ".attention.output."),
        (r"\.attention\.LayerNorm\.", ".attention.norm."),
        (r"\.ffn\.", ".ffn.up."),
        (r"\.ffn_output\.", ".ffn.down."),
        (r"\.full_layer_layer_norm\.", ".ffn.norm."),
    )
)

MODERNBERT = Names(
    (
        (r"^model\.", ""),
        (r"^embeddings\.tok_embeddings\.", "embeddings.word."),
        (r"\.attn_norm\.", ".attention.norm."),
        (r"\.attn\.Wqkv\.", ".attention.fused."),
        (r"\.attn\.Wo\.", ".attention.output."),
        (r"\.mlp_norm\.", ".ffn.norm."),
        (r"\.mlp\.Wi\.", ".ffn.fused."),
        (r"\.mlp\.Wo\.", ".ffn.down."),
        (r"^final_norm\.", "norm."),
    ),
    splits=(Split(".attention.fused.", _QUERY_KEY_VALUE), Split(".ffn.fused.", (".ffn.gate.", ".ffn.up."))),
)

NOMIC_BERT = Names(
    (
        (r"^(nomic_bert|bert)\.", ""),
        *_EMBEDDINGS,
        (r"^encoder\.layers\.", "layers."),
        (r"^emb_ln\.", "embeddings.norm."),
        (r"\.attn\.Wqkv\.", ".attention.fused."),
        (r"\.attn\.out_proj\.", ".attention.output."),
        (r"\.norm1\.", ".attention.norm."),
        (r"\.mlp\.fc11\.", ".ffn.up."),
        (r"\.mlp\.fc12\.", ".ffn.gate."),
        (r"\.mlp\.fc2\.", ".ffn.down."),
        (r"\.norm2\.", ".ffn.norm."),
    ),
    splits=(Split(".attention.fused.", _QUERY_KEY_VALUE),),
)
