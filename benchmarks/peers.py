"""The peers of the throughput benchmark, in an environment of their own: they need other versions than Lamina.

A worker: reads a JSON line that says what to run on, then a line for each run, the name of a contestant; runs it over
all texts and answers with the seconds, a JSON line. So whoever drives it can let contestants of several environments
take turns.

    loop         transformers, 32 texts at a time as they come, padded, output_hidden_states, masked means
    sorted       the same, sorted by length first
    sorted bf16  the same in bfloat16
    flair        TransformerWordEmbeddings(layers="all"), means over words
    st ...       sentence-transformers (the last layer only), with torch, torch bf16, onnx, openvino, openvino int8
    ort          ONNX Runtime on sentence-transformers' export, sorted by length, 32 at a time: fastembed's path
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}

import numpy as np
import torch

BATCH = 32


class Peers:
    """Contestants over one model folder; each is made when it is first asked for."""

    def __init__(self, folder: str, texts: list[str], max_tokens: int, threads: int, exports: str) -> None:
        self.folder, self.texts, self.max_tokens, self.exports = folder, texts, max_tokens, exports
        torch.set_num_threads(threads)

    @cache  # noqa: B019 - there is one Peers in a process
    def contestant(self, name: str) -> Callable[[list[str]], object]:
        makers: dict[str, Callable[[], Callable[[list[str]], object]]] = {
            "loop": lambda: self._loop(torch.float32, by_length=False),
            "sorted": lambda: self._loop(torch.float32, by_length=True),
            "sorted bf16": lambda: self._loop(torch.bfloat16, by_length=True),
            "flair": self._flair,
            "st torch": lambda: self._sentence_transformer("torch"),
            "st torch bf16": lambda: self._sentence_transformer("torch", model_kwargs={"dtype": torch.bfloat16}),
            "st onnx": lambda: self._sentence_transformer("onnx"),
            "st openvino": lambda: self._sentence_transformer("openvino"),
            "st openvino int8": self._openvino_int8,
            "ort": self._onnxruntime,
        }
        return makers[name]()

    def _loop(self, dtype: torch.dtype, *, by_length: bool) -> Callable[[list[str]], object]:
        from transformers import AutoModel, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.folder)
        bert = AutoModel.from_pretrained(self.folder, dtype=dtype).eval()

        def run(texts: list[str]) -> object:
            found = []
            texts = sorted(texts, key=len) if by_length else texts
            for low in range(0, len(texts), BATCH):
                inputs = tokenizer(
                    texts[low : low + BATCH],
                    padding=True,
                    truncation=True,
                    max_length=self.max_tokens,
                    return_tensors="pt",
                )
                with torch.inference_mode():
                    states = bert(**inputs, output_hidden_states=True).hidden_states
                mask = inputs["attention_mask"][:, :, None]
                found.append([((state * mask).sum(1) / mask.sum(1)).float().numpy() for state in states])
            return found

        return run

    def _flair(self) -> Callable[[list[str]], object]:
        from flair.data import Sentence
        from flair.embeddings import TransformerWordEmbeddings
        from transformers import AutoTokenizer

        embeddings = TransformerWordEmbeddings(
            self.folder, layers="all", layer_mean=False, subtoken_pooling="mean", fine_tune=False
        )
        tokenizer = AutoTokenizer.from_pretrained(self.folder)

        def run(texts: list[str]) -> object:
            found = []
            # It takes no limit of tokens, and asks for tens of gigabytes where one text of a batch is long.
            cut = tokenizer(texts, truncation=True, max_length=self.max_tokens, return_offsets_mapping=True)
            texts = [
                text[: max(end for _, end in where)] for text, where in zip(texts, cut["offset_mapping"], strict=True)
            ]
            for low in range(0, len(texts), BATCH):
                sentences = [Sentence(text) for text in texts[low : low + BATCH]]
                embeddings.embed(sentences)
                found += [
                    torch.stack([token.embedding for token in sentence]).mean(0).numpy()
                    for sentence in sentences
                    if len(sentence)
                ]
                for sentence in sentences:
                    sentence.clear_embeddings()
            return found

        return run

    def _sentence_transformer(self, backend: str, **options: Any) -> Callable[[list[str]], object]:
        from sentence_transformers import SentenceTransformer

        folder = self._st_folder() if backend == "torch" else self._exported(backend)
        model = SentenceTransformer(folder, device="cpu", backend=backend, **options)
        model.max_seq_length = self.max_tokens
        return lambda texts: model.encode(texts, batch_size=BATCH, show_progress_bar=False)

    def _st_folder(self) -> str:
        """The folder as a sentence-transformers one: with a mean pooling where it says nothing of pooling."""
        target = Path(self.exports) / "st"
        if not (target / "modules.json").is_file():
            from sentence_transformers import SentenceTransformer
            from sentence_transformers.models import Pooling, Transformer

            transformer = Transformer(self.folder)
            pooling = Pooling(transformer.get_word_embedding_dimension())
            SentenceTransformer(modules=[transformer, pooling]).save(str(target))
        return str(target)

    def _exported(self, backend: str) -> str:
        """The folder with an export for `backend` inside, made once."""
        target = Path(self.exports) / backend
        if not target.is_dir():
            from sentence_transformers import SentenceTransformer

            SentenceTransformer(self._st_folder(), device="cpu", backend=backend).save_pretrained(str(target))
        return str(target)

    def _openvino_int8(self) -> Callable[[list[str]], object]:
        """Static 8 bits by the peer's own recipe (NNCF), calibrated on the first texts."""
        from sentence_transformers import SentenceTransformer, export_static_quantized_openvino_model

        target = Path(self._exported("openvino"))
        name = "openvino_model_qint8_quantized.xml"
        if not (target / "openvino" / name).is_file():
            sample = Path(self.exports) / "sample"
            sample.mkdir(exist_ok=True)
            (sample / "train.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in self.texts[:300]))
            export_static_quantized_openvino_model(
                SentenceTransformer(str(target), device="cpu", backend="openvino"),
                None,
                str(target),
                dataset_name=str(sample),
                dataset_config_name="default",
                dataset_split="train",
                column_name="text",
            )
        model = SentenceTransformer(str(target), device="cpu", backend="openvino", model_kwargs={"file_name": name})
        model.max_seq_length = self.max_tokens
        return lambda texts: model.encode(texts, batch_size=BATCH, show_progress_bar=False)

    def _onnxruntime(self) -> Callable[[list[str]], object]:
        import onnxruntime
        from tokenizers import Tokenizer

        folder = Path(self._exported("onnx"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(
            str(folder / "onnx" / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.enable_truncation(self.max_tokens)
        tokenizer.enable_padding()
        names = {one.name for one in session.get_inputs()}

        def run(texts: list[str]) -> object:
            found = []
            texts = sorted(texts, key=len)
            for low in range(0, len(texts), BATCH):
                encoded = tokenizer.encode_batch(texts[low : low + BATCH])
                inputs = {
                    "input_ids": np.array([one.ids for one in encoded], np.int64),
                    "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
                    "token_type_ids": np.array([one.type_ids for one in encoded], np.int64),
                }
                states = session.run(None, {name: value for name, value in inputs.items() if name in names})[0]
                mask = inputs["attention_mask"][:, :, None]
                found.append((states * mask).sum(1) / mask.sum(1))
            return found

        return run


def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)  # libraries that print must not disturb the answers
    asked = json.loads(sys.stdin.readline())
    if asked.get("make"):
        _make(asked["folder"], asked["tokenizer"])
    peers = Peers(asked["folder"], asked["texts"], asked["max_tokens"], asked["threads"], asked["exports"])
    os.write(out, b'{"ready": true}\n')
    for line in sys.stdin:
        name = json.loads(line)
        try:
            run = peers.contestant(name)
            started = time.perf_counter()
            run(peers.texts)
            answer: dict[str, Any] = {"seconds": time.perf_counter() - started}
        except Exception as error:  # noqa: BLE001 - a peer that fails is reported, and the others go on
            answer = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        os.write(out, json.dumps(answer).encode() + b"\n")


def _make(folder: str, tokenizer: str) -> None:
    """A BERT-base of random weights, seeded, with another model's tokenizer."""
    import shutil

    from transformers import BertConfig, BertModel

    if (Path(folder) / "model.safetensors").is_file():
        return
    torch.manual_seed(0)
    BertModel(BertConfig()).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (Path(tokenizer) / name).is_file():
            shutil.copy(Path(tokenizer) / name, folder)


if __name__ == "__main__":
    main()
