"""Small sound files of every kind that Lamina reads: what the targets change at random. No file of others, no torch."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save

from lamina.model.architecture import architecture_of
from lamina.model.config import Config
from lamina.model.inventory import weight_shapes

CONFIG: dict[str, Any] = {
    "model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12,
    "vocab_size": 48, "max_position_embeddings": 16, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}  # fmt: skip
VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *".,!?", "the", "##ing", "##s",
    "河", "é",
]  # fmt: skip

# Our names of tensors, as BERT's checkpoints have them.
BERT_NAMES = (
    ("embeddings.word.", "embeddings.word_embeddings."),
    ("embeddings.position.", "embeddings.position_embeddings."),
    ("embeddings.type.", "embeddings.token_type_embeddings."),
    ("embeddings.norm.", "embeddings.LayerNorm."),
    (".attention.query.", ".attention.self.query."),
    (".attention.key.", ".attention.self.key."),
    (".attention.value.", ".attention.self.value."),
    (".attention.output.", ".attention.output.dense."),
    (".attention.norm.", ".attention.output.LayerNorm."),
    (".ffn.up.", ".intermediate.dense."),
    (".ffn.down.", ".output.dense."),
    (".ffn.norm.", ".output.LayerNorm."),
    ("layers.", "encoder.layer."),
)


def weights(**config: Any) -> bytes:
    """A safetensors file of random numbers that fit CONFIG."""
    rng = np.random.default_rng(0)
    shapes = weight_shapes(architecture_of(Config("", CONFIG | config)))
    return save({_stored(name): rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()})


def save_model(folder: Path, **config: Any) -> Path:
    """A model folder: two layers, 8 wide, 16 positions, but for what `config` says."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    (folder / "model.safetensors").write_bytes(weights(**config))
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCABULARY), encoding="utf-8")
    return folder


def save_sentence_model(folder: Path) -> Path:
    """The same, with sentence-transformers' pooling and dense modules, and weights in a file that an index names."""
    save_model(folder)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    for name, content in model_json_files().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    (folder / "2_Dense" / "model.safetensors").write_bytes(save({"linear.weight": np.ones((4, 8), np.float32)}))
    return folder


def model_json_files() -> dict[str, Any]:
    """Every other JSON of a model folder, in the order of the target `model_json`."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    ]
    return {
        "model.safetensors.index.json": {"weight_map": {"embeddings.word": "model-00001-of-00001.safetensors"}},
        "modules.json": modules,
        "config_sentence_transformers.json": {"prompts": {"query": "q: "}, "default_prompt_name": "query"},
        "sentence_bert_config.json": {"max_seq_length": 12, "do_lower_case": False},
        "tokenizer_config.json": {"do_lower_case": True, "cls_token": {"content": "[CLS]"}, "model_max_length": 16},
        "1_Pooling/config.json": {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True},
        "2_Dense/config.json": {
            "in_features": 8,
            "out_features": 4,
            "bias": False,
            "activation_function": "torch.nn.Tanh",
        },
    }


def tokenizers() -> dict[str, bytes]:
    """tokenizer.json of each kind: WordPiece, BPE on bytes, Unigram, a word a token."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    pieces = {token: number for number, token in enumerate(VOCABULARY)}
    around = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    wordpiece = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer()
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    alphabet = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    byte_level = Tokenizer(models.BPE({**alphabet, "ab": len(alphabet)}, [("a", "b")]))
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    unigram = Tokenizer(models.Unigram([("[UNK]", 0.0), ("▁", -1.0), *((token, -2.0) for token in "abcde")], unk_id=0))
    unigram.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    words = Tokenizer(models.WordLevel(pieces, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits()])
    words.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip()])
    found = {"wordpiece": wordpiece, "byte_level": byte_level, "unigram": unigram, "words": words}
    for backend in (wordpiece, words):
        backend.post_processor = around
    return {name: backend.to_str().encode() for name, backend in found.items()}


def lined() -> dict[str, bytes]:
    """A sound file of each format with lines, after the byte that says which it is."""
    files = {
        "txt": (0, "one\r\ntwo\n\n\ufeffthree é 河\n"),
        "csv": (1, 'text,n\n"one, ""a""\nb",1\r\ntwo,2\n\n'),
        "tsv": (2, 'text\tn\na "b\t1\n'),
        "jsonl": (3, '{"text": "one", "n": 1.5, "x": [1, {"a": null}]}\n\n{"text": "\\ud83d\\ude00", "n": 2}\n'),
        "conll": (4, "The DT\nbank NN\n\n# a comment\nopens VB\n"),
        "conllu": (5, "# text = A b\n1-2\tAb" + "\t_" * 8 + "\n1\tA" + "\t_" * 8 + "\n2\tb" + "\t_" * 8 + "\n\n"),
        "words": (3 + 48, '{"words": ["a", "b c"], "tag": "x"}\n'),
        "spans": (3 + 16, '{"text": "one two", "spans": [[0, 3]], "pair": "p"}\n'),
        "replaced": (8 + 1, "text,b\none,1\n"),
    }
    return {name: bytes([how]) + content.encode() for name, (how, content) in files.items()}


def parquets() -> dict[str, bytes]:
    held = table()
    return {
        "plain": parquet(held, compression="none", use_dictionary=False),
        "dictionary": parquet(held, compression="zstd"),
        "pages": parquet(pa.concat_tables([held] * 8), compression="snappy", row_group_size=5, data_page_size=16),
    }


def configs() -> dict[str, bytes]:
    """The tiny model's configuration, and one of each other family with its own keys."""
    others: dict[str, dict[str, Any]] = {
        "distilbert": {"dim": 8, "hidden_dim": 12, "n_layers": 2, "n_heads": 2, "activation": "gelu"},
        "albert": {"embedding_size": 8, "num_hidden_groups": 1, "inner_group_num": 1},
        "mpnet": {"relative_attention_num_buckets": 32},
        "deberta-v2": {"relative_attention": True, "pos_att_type": "c2p|p2c", "position_buckets": 4,
                       "share_att_key": True, "max_relative_positions": -1, "norm_rel_ebd": "layer_norm",
                       "conv_kernel_size": 3},
        "modernbert": {"global_attn_every_n_layers": 3, "local_attention": 8, "norm_bias": False,
                       "rope_parameters": {"full_attention": {"rope_theta": 1e4}},
                       "layer_types": ["full_attention"] * 2},
        "nomic_bert": {"rope_theta": 1000.0, "head_dim": 4},
        "bert": {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b"},
                 "auto_map": {"AutoModel": "x.Y"}},
    }  # fmt: skip
    return {name: json.dumps(CONFIG | {"model_type": name} | own).encode() for name, own in others.items()}


def model_json() -> dict[str, bytes]:
    files = model_json_files()
    return {name.replace("/", "_"): bytes([i]) + json.dumps(files[name]).encode() for i, name in enumerate(files)}


def specs() -> dict[str, bytes]:
    said = ("layers=-4..-1 unit=word", "layers=0,6 combine=1,0.5 pool=max", "prompt=a%0020b pool=model", "dims=3")
    return {str(i): text.encode() for i, text in enumerate(said)}


def texts() -> dict[str, bytes]:
    said = (
        "The ab.", "a\u0301bc é\x00", "河水。大\u200d👩\u200d👧", "\ud800 half", "abc" * 60, "Mr. A. b? C!\u2029d",
        "[SEP] [PAD]",
    )  # fmt: skip
    return {str(i): text.encode(errors="surrogatepass") for i, text in enumerate(said)}


def table() -> pa.Table:
    """Columns of every kind that may travel along with a text."""
    return pa.table(
        {
            "text": pa.array(["one", "two two", None, ""]),
            "words": pa.array([["a", "b"], [], None, ["c"]]),
            "spans": pa.array([[[0, 1]], [[0, 3], [1, 2]], None, []]),
            "kind": pa.array(["x", "y", "x", None]).dictionary_encode(),
            "large": pa.array(["l", None, "", "é"], pa.large_string()),
            "view": pa.array(["v", None, "", "w"], pa.string_view()),
            "n": pa.array([1, None, 3, 4], pa.int16()),
            "when": pa.array([0, 1, None, 2], pa.timestamp("us", "UTC")),
            "deep": pa.array([{"a": [1]}, None, {"a": []}, {"a": None}]),
        }
    )


def parquet(held: pa.Table | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table() if held is None else held, buffer, **options)
    return buffer.getvalue()


def _stored(name: str) -> str:
    for ours, theirs in BERT_NAMES:
        name = name.replace(ours, theirs)
    return name
