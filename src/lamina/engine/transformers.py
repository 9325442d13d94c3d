"""The bridge: encoders that `transformers` knows and the table of architectures does not, through their hidden states.

Comes in: a checkpoint's folder, safetensors only; its code is never run. Goes out: an engine like the others, and an
`Architecture` of which only the counts are true: layers, width, heads, vocabulary, longest input. Slower than the other
engines: every layer is computed whatever is asked for, and sequences are not packed.

No sequence is padded: some families look at padding whatever the mask says (FNet mixes all places, ConvBERT's kernels
reach over the end).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lamina.engine.batch import AttentionWeights, Batch, Precision, Program, Reduced
from lamina.engine.torch_devices import (
    DTYPES,
    Float32Products,
    checked_precision,
    device_name,
    found_devices,
    native_precision,
    wait_for,
)
from lamina.engine.torch_reduction import place_rows, reduced
from lamina.engine.torch_transfer import arrays_of, sent
from lamina.engine.torch_workers import Workers
from lamina.errors import CheckpointError, EngineError, WeightsError
from lamina.model.architecture import Architecture, Layer
from lamina.model.checkpoint import Checkpoint
from lamina.model.operations import Attention

DEFAULT_TOKENS = 512  # the longest input where neither the config nor a table of positions says
PROBED_TOKENS = 1024  # of the longest input, so many are tried when a model is loaded
CPU_TOKENS, GPU_TOKENS = 2048, 16_384


class TransformersEngine:
    """Runs sequences of one length together on a GPU, and one by one on the CPU, a thread each.

    On the CPU a sequence's bits depend on nothing but itself; on a GPU on how many of its length are in its batch.
    """

    precisions: tuple[Precision, ...] = tuple(DTYPES)
    libraries: tuple[str, ...] = ("transformers", "torch")
    packs = True
    fine_tokens: int | None = None
    calibration_sha256: str | None = None

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        precision: Precision | None = "float32",
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        """Raises CheckpointError for what the library cannot load, or what has no layers of one width and length."""
        devices = found_devices(device)
        first = devices[0]
        self.precision = checked_precision(precision, first)
        native = native_precision(first)
        self.faster: Precision | None = native if self.precision == "float32" != native else None
        self.name = f"transformers {device_name(first)}"
        self.threads = threads
        self._float32_products = Float32Products(self.precision)
        self._one_by_one = first.type == "cpu"
        self.batch_tokens = CPU_TOKENS if self._one_by_one else GPU_TOKENS
        dtype = DTYPES[self.precision]
        model = load_model(checkpoint, torch.float32)
        self.architecture, self._gives_attention = described(model, str(checkpoint.config_path))
        self._takes_types = "token_type_ids" in inspect.signature(model.forward).parameters
        self._models = {one: model.to(one, dtype) for one in devices[:1]}
        for other in devices[1:]:
            self._models[other] = load_model(checkpoint, torch.float32).to(other, dtype)
        self._workers = Workers(devices * (threads if self._one_by_one else 1))

    def run(self, program: Program, batches: Iterable[Batch]) -> Generator[Reduced]:
        with self._float32_products:
            yield from self._workers.in_order(lambda device, batch: self._reduced(device, program, batch), batches)

    def attention(self, layers: tuple[int, ...], batch: Batch) -> AttentionWeights:
        if not self._gives_attention:
            raise EngineError(f"{self.architecture.family} gives no attention weights between all tokens")
        with self._float32_products:
            return self._workers.call(lambda device, batch: self._seen(device, layers, batch), batch).result()

    def _reduced(self, device: torch.device, program: Program, batch: Batch) -> Reduced:
        B, S = batch.ids.shape
        dtype = DTYPES[self.precision]
        flat = {k: torch.zeros(B, S, self.architecture.width, dtype=dtype, device=device) for k in program.layers}
        for which, length, output in self._outputs(device, batch):
            for k, state in flat.items():
                state[which, :length] = output.hidden_states[k]
        found = []
        for rows, kind in zip(batch.rows, program.reductions, strict=True):
            arrays = [rows.index, rows.offsets, *(() if rows.weights is None else (rows.weights,))]
            placed = place_rows(rows, iter(sent(arrays, device)), dtype)
            found.append(
                [reduced(state.flatten(0, 1), placed, kind).to("cpu", non_blocking=True) for state in flat.values()]
            )
        wait_for(device)
        return tuple(arrays_of(of_reduction) for of_reduction in found)

    def _seen(self, device: torch.device, layers: tuple[int, ...], batch: Batch) -> AttentionWeights:
        B, S = batch.ids.shape
        result = tuple(np.zeros((B, self.architecture.n_heads, S, S), np.float32) for _ in layers)
        for which, length, output in self._outputs(device, batch, output_attentions=True):
            for of_layer, k in zip(result, layers, strict=True):
                of_layer[which.cpu(), :, :length, :length] = output.attentions[k - 1].float().cpu()
        return result

    def _outputs(
        self, device: torch.device, batch: Batch, *, output_attentions: bool = False
    ) -> Iterator[tuple[Tensor, int, Any]]:
        """Which sequences of the batch, how long they are, and what the library makes of them."""
        for length in np.unique(batch.lengths).tolist():
            same = np.flatnonzero(batch.lengths == length)
            for which in np.split(same, same.size) if self._one_by_one else [same]:
                ids, types = (
                    torch.from_numpy(array[which, :length]).to(device).long() for array in (batch.ids, batch.types)
                )
                inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
                if self._takes_types:
                    inputs["token_type_ids"] = types
                output = self._models[device](**inputs, output_hidden_states=True, output_attentions=output_attentions)
                yield torch.from_numpy(which).to(device), length, output


def load_model(checkpoint: Checkpoint, dtype: torch.dtype) -> nn.Module:
    """The encoder in transformers. Raises CheckpointError, WeightsError for weights that are not all there."""
    from transformers import AutoModel

    checkpoint.weight_files()  # says better than the library why there are none that may be read
    with _quiet():
        try:
            model, info = AutoModel.from_pretrained(
                checkpoint.folder,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                attn_implementation="eager",  # every family has it, and it alone gives attention weights
                output_loading_info=True,
            )
        except Exception as error:  # noqa: BLE001 - the library raises every kind
            raise CheckpointError(f"transformers cannot load {checkpoint.name}: {_first_line(error)}") from None
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)  # no hidden state goes through it
    if missing:
        raise WeightsError(f"{checkpoint.name} lacks {len(missing)} tensors of its model: {', '.join(missing[:8])}")
    loaded: nn.Module = model.eval()
    return loaded


def described(model: Any, source: str) -> tuple[Architecture, bool]:
    """A model's counts, seen on a few tokens, and whether it gives attention weights. Raises CheckpointError."""
    config = model.config
    if getattr(config, "is_encoder_decoder", False):
        raise CheckpointError(f"{source} describes an encoder with a decoder; the bridge reads encoders alone")
    output = _probed(model, torch.arange(8), source)
    states: Sequence[Tensor] = getattr(output, "hidden_states", None) or ()
    seen: Sequence[Tensor] = getattr(output, "attentions", None) or ()
    shapes = {tuple(state.shape) for state in states}
    if len(shapes) != 1 or next(iter(shapes))[:2] != (1, 8):
        raise CheckpointError(
            f"{source}: the bridge needs hidden states of one width, a place for each token; {config.model_type} gives "
            f"{', '.join(map(str, sorted(shapes))) or 'none'} for 8 tokens"
        )
    width, n_layers = next(iter(shapes))[2], len(states) - 1
    is_square = len(seen) == n_layers and all(one.shape[-2:] == (8, 8) for one in seen)
    n_heads = int(seen[0].shape[1]) if is_square else 1
    max_tokens = longest_input(model)
    _probed(model, torch.arange(min(max_tokens, PROBED_TOKENS)) % 8, source)
    arch = Architecture(
        family=config.model_type,
        layers=tuple(Layer(f"layers.{k}", Attention(n_heads, 1.0)) for k in range(n_layers)),
        n_heads=n_heads,
        width=width,
        ffn_width=0,  # this and what follows is read by our own forward pass alone
        vocab_size=int(model.get_input_embeddings().weight.shape[0]),
        n_positions=max_tokens,
        n_types=0,
        eps=0.0,
        activation="gelu",
        pad_id=getattr(config, "pad_token_id", None) or 0,
        position_index=None,
    )
    return arch, is_square


def longest_input(model: nn.Module) -> int:
    """The longest input in tokens: what the config says, and what tables of positions hold.

    A table with a padding row counts places from the row after that (RoBERTa and its kin).
    """
    said = getattr(model.config, "max_position_embeddings", None)
    tables = [
        one.num_embeddings - (0 if one.padding_idx is None else one.padding_idx + 1)
        for name, one in model.named_modules()
        if isinstance(one, nn.Embedding) and name.rpartition(".")[2] in ("position_embeddings", "embed_positions")
    ]
    return min([*tables, *([said] if isinstance(said, int) and said > 0 else [])], default=DEFAULT_TOKENS)


def tokenizer_json(folder: Path) -> str:
    """The tokenizer.json of a folder that has none, made by the library from other files. Raises CheckpointError."""
    from transformers import AutoTokenizer

    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            found = str(tokenizer.backend_tokenizer.to_str())
        except Exception as error:  # noqa: BLE001 - the library raises every kind
            raise CheckpointError(f"{folder} has no tokenizer that Lamina can use: {_first_line(error)}") from None
    expected = list(tokenizer.vocab_files_names.values())
    if not any((folder / name).is_file() for name in expected):  # the library then makes one without a vocabulary
        raise CheckpointError(f"{folder} has no tokenizer: expected one of {', '.join(expected)}")
    return found


def _probed(model: Any, ids: Tensor, source: str) -> Any:
    inputs = {"input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]}
    try:
        with torch.inference_mode():
            return model(**inputs, output_hidden_states=True, output_attentions=True)
    except Exception as error:  # noqa: BLE001 - models raise every kind
        raise CheckpointError(f"{source}: transformers cannot run {len(ids)} tokens: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's reports on heads that are not loaded, and its progress bars."""
    from transformers.utils import logging as of_transformers

    theirs: Any = of_transformers
    logger = logging.getLogger("transformers")
    level, bars = logger.level, theirs.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            theirs.enable_progress_bar()
