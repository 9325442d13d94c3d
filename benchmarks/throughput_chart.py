"""Draws docs/throughput.svg from what `throughput.py --save` kept: tokens a second as a ratio to the usual loop.

python benchmarks/throughput_chart.py [FILE.json ...] [--out docs/throughput.svg]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from lamina.apps.charts import save
from lamina.apps.looks import COLOURS, altair_module

HERE = Path(__file__).parent
NAMES = {  # in the order drawn; what a contestant gives is part of its name
    "loop": "transformers, the usual loop",
    "sorted": "transformers, sorted",
    "sorted bf16": "transformers, sorted, bf16",
    "flair": "flair",
    "ort": "ONNX Runtime (last layer)",
    "st torch": "sentence-transformers, torch (last layer)",
    "st torch bf16": "sentence-transformers, torch bf16 (last layer)",
    "st onnx": "sentence-transformers, onnx (last layer)",
    "st openvino": "sentence-transformers, openvino (last layer)",
    "st openvino int8": "sentence-transformers, openvino int8 (last layer)",
    "lamina f32": "Lamina, float32",
    "lamina bf16": "Lamina, bfloat16",
    "lamina int8": "Lamina, int8",
}
MODELS = {"minilm": "MiniLM, 6 layers × 384", "base": "BERT-base's shape, 12 layers × 768"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, default=sorted((HERE / "results").glob("throughput-*.json")))
    parser.add_argument("--out", type=Path, default=HERE / "../docs/throughput.svg")
    arguments = parser.parse_args()
    documents = [json.loads(file.read_text()) for file in arguments.files]
    save(chart(sorted(documents, key=lambda one: list(MODELS).index(one["model"]))), arguments.out)


def chart(documents: list[dict[str, Any]]) -> Any:
    """A panel for each document; the spread over the rounds as a thin line."""
    alt = altair_module()
    present = {row["name"] for document in documents for row in document["rows"]}
    shown = [said for name, said in NAMES.items() if name in present]  # in every panel, so that rows stay rows
    panels = []
    for k, document in enumerate(documents):
        values = [
            {"name": NAMES[row["name"]], "whose": "Lamina" if row["name"].startswith("lamina") else "peers", **spread}
            for row in document["rows"]
            if row["name"] in NAMES
            for spread in [{key: row[key] for key in ("ratio", "low", "high")}]
        ]
        base = alt.Chart(alt.Data(values=values)).encode(
            y=alt.Y(
                "name:N",
                sort=shown,
                scale=alt.Scale(domain=shown),
                title=None,
                axis=alt.Axis(labels=k == 0, labelLimit=400),
            ),
        )
        colour = alt.Color(
            "whose:N", scale=alt.Scale(domain=["Lamina", "peers"], range=[COLOURS[0], COLOURS[6]]), legend=None
        )
        bars = base.mark_bar(height=13).encode(
            x=alt.X("ratio:Q", title="times the loop's tokens a second"), color=colour
        )
        rules = base.mark_rule(strokeWidth=1).encode(x="low:Q", x2="high:Q")
        text = base.mark_text(align="left", dx=6).encode(x="high:Q", text=alt.Text("ratio:Q", format=".1f"))
        panels.append((bars + rules + text).properties(title=MODELS[document["model"]], width=300, height=260))
    hardware = documents[0]["hardware"]
    said = (
        f"Every layer (or the last one), mean-pooled, real texts; {hardware['threads']} threads of an {hardware['cpu']}"
    )
    return alt.hconcat(*panels, spacing=24).properties(title=alt.Title(said, fontSize=12, fontWeight="normal"))


if __name__ == "__main__":
    main()
