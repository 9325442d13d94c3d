"""Nothing leaves the machine, and nothing that Lamina says holds a text: errors, progress, stderr, JSON on stdout."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzz import samples

import lamina
from lamina.cli.main import run
from lamina.errors import LaminaError
from lamina.extraction.extractor import Extractor
from lamina.text.source import Source
from lamina.text.text import Text

SECRET = "zqxsecret"  # noqa: S105 - a word that stands in texts
SOURCES = Path(lamina.__file__).parent

# A module that Python imports before any other: it writes down what the process does that could reach a network.
WATCHER = """
import sys, os
_EVENTS = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "urllib.", "smtplib.")
def _watch(event, arguments):
    if event.startswith(_EVENTS):
        with open(os.environ["WATCHED"], "a") as file:
            file.write(event + " " + repr(arguments)[:200] + "\\n")
sys.addaudithook(_watch)
"""


def watched(tmp_path: Path, *arguments: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run a Python process; what it did that could reach a network comes back too."""
    site = tmp_path / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(WATCHER)
    log = tmp_path / "watched.log"
    log.write_text("")
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_", "CI"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=kept | {"PYTHONPATH": str(site), "WATCHED": str(log), "HOME": str(home)} | environment,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done, log.read_text()


# The network


def test_a_job_opens_no_socket_and_starts_no_process(tmp_path: Path) -> None:
    """The whole command, with the bundled model and the network open to it."""
    (tmp_path / "in.txt").write_text("a river\nthe bank\n")
    done, log = watched(tmp_path, "-m", "lamina", "extract", str(tmp_path / "in.txt"), "-o", str(tmp_path / "d"))
    assert done.returncode == 0, done.stderr
    assert log == ""
    assert list((tmp_path / "home").rglob("*")) == []  # nor does it leave anything behind at home


@pytest.mark.parametrize("verb", [["show", "minilm"], ["verify", "d"], ["show", "d"], ["--help"]])
def test_the_other_verbs_neither(tmp_path: Path, tiny: Extractor, verb: list[str]) -> None:
    lamina.extract(["a river"], tmp_path / "d", model=tiny)
    arguments = [str(tmp_path / "d") if word == "d" else word for word in verb]
    done, log = watched(tmp_path, "-m", "lamina", *arguments)
    assert done.returncode == 0, done.stderr
    assert log == ""


def test_the_watcher_sees_what_openvino_would_send(tmp_path: Path) -> None:
    """OpenVINO's telemetry reports its import from a child process. Without Lamina the watcher sees that, so that the
    tests above can fail; if it no longer does, the guard in `lamina/__init__.py` has nothing to guard against."""
    pytest.importorskip("openvino.tools.ovc.telemetry_utils")
    if not _is_installed("openvino_telemetry"):
        pytest.skip("openvino-telemetry is not installed")
    done, log = watched(
        tmp_path, "-c", "import openvino, time; time.sleep(0.5)", http_proxy="127.0.0.1:9", https_proxy="127.0.0.1:9"
    )
    assert done.returncode == 0, done.stderr
    assert log != ""
    done, log = watched(tmp_path, "-c", "import lamina, openvino, time; time.sleep(0.5)")
    assert (done.returncode, log) == (0, "")


def _is_installed(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution(package.replace("_", "-"))
    except PackageNotFoundError:
        return False
    return True


def test_no_file_of_lamina_imports_pickle_or_imports_by_name() -> None:
    """`import_module` finds Lamina's own verbs and public names, from tables; nothing else is imported by a name."""
    allowed = {"lamina/__init__.py": {"import_module"}, "lamina/cli/main.py": {"import_module"}}
    for path in SOURCES.rglob("*.py"):
        name = path.relative_to(SOURCES.parent).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {_called(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert called & {"eval", "exec", "compile", "__import__", "import_module"} <= allowed.get(name, set()), name
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {"pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle"} & imported, name
        assert "allow_pickle=True" not in path.read_text(encoding="utf-8"), name


def _called(node: ast.Call) -> str:
    """A function's own name; of a method, only `import_module` counts (`re.compile` is none of Python's compile)."""
    if isinstance(node.func, ast.Name):
        return node.func.id
    return "import_module" if isinstance(node.func, ast.Attribute) and node.func.attr == "import_module" else ""


def test_remote_code_is_off_wherever_it_could_be_asked_for() -> None:
    """transformers' loaders are called with `trust_remote_code=False` each time, and load nothing but safetensors."""
    n_calls = 0
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "from_pretrained"
            ):
                said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert said.get("trust_remote_code") == "False", (path.name, node.lineno)
                if "Model" in ast.unparse(node.func):
                    assert said.get("use_safetensors") == "True", (path.name, node.lineno)
                n_calls += 1
    assert n_calls or not (SOURCES / "engine" / "transformers.py").exists()


# Texts

BAD_FILES: dict[str, bytes] = {
    "number.jsonl": b'{"text": "a", "n": 1}\n{"text": 7, "n": "%s"}\n',
    "list.jsonl": b'{"text": "a"}\n{"text": ["%s"]}\n',
    "kinds.jsonl": b'{"text": "a", "n": 1}\n{"text": "%s", "n": "%s"}\n',
    "json.jsonl": b'{"text": "a"}\n{"text": "%s"\n',
    "escape.jsonl": b'{"text": "a"}\n{"text": "%s \\q"}\n',
    "half.jsonl": b'{"text": "a"}\n{"text": "%s \\ud800"}\n',
    "bytes.jsonl": b'{"text": "a"}\n{"text": "%s \xff"}\n',
    "half-column.jsonl": b'{"text": "a"}\n{"text": "b", "n": "%s \\ud800"}\n',
    "bytes.txt": b"a\n%s \xff\n",
    "many.csv": b"text,n\na,1\n%s,2,3\n",
    "quote.csv": b'text,n\na,1\n"%s"x,2\n',
    "open.csv": b'text,n\na,1\n"%s,2\n',
    "bytes.csv": b"text,n\na,1\n%s\xff,2\n",
    "return.tsv": b"text\tn\na\t1\n%s\rb\t2\n",
    "id.conllu": b"%s" + b"\tx" * 9 + b"\n\n",
    "columns.conll": b"a O\n%s\n",
    "words.csv": b'words,n\n"[""a""]",1\n%s,2\n',
    "spans.jsonl": b'{"text": "a", "spans": [["%s", 1]]}\n',
    "outside.jsonl": b'{"text": "%s", "spans": [[0, 100]]}\n',
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("on_error", ["stop", "mark"])
def test_no_error_of_a_file_quotes_what_is_in_it(
    tiny_bert: Path, tmp_path: Path, name: str, on_error: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(BAD_FILES[name].replace(b"%s", SECRET.encode()))
    options = {"words": ["--words", "words"], "spans": ["--spans", "spans"], "outside": ["--spans", "spans"]}
    arguments = ["extract", str(tmp_path / name), "-o", str(tmp_path / "d"), "--model", str(tiny_bert), "--layers", "1"]
    code = run([*arguments, "--on-error", on_error, *options.get(name.split(".")[0], [])])
    said = capfd.readouterr()
    assert code == 1 if on_error == "stop" else code in (1, 3)
    assert said.err.strip()
    assert SECRET not in said.out + said.err
    if code == 3:
        dataset = lamina.open(tmp_path / "d")
        assert SECRET not in (tmp_path / "d" / "manifest.json").read_text()
        assert not any(SECRET in (reason or "") for reason in dataset.units["error"].to_pylist())


PARQUET: dict[str, Callable[[], pa.Table]] = {
    "numbers": lambda: pa.table({"text": [1, 2], "other": [SECRET, SECRET]}),
    "lists": lambda: pa.table({"text": [[SECRET], []]}),
    "bytes": lambda: pa.table({"text": [SECRET.encode(), b""]}),
    "broken": lambda: pa.table({"text": pa.array([SECRET.encode() + b"\xff"]).view(pa.string())}),
    "broken beside": lambda: pa.table({"text": ["a"], "n": pa.array([SECRET.encode() + b"\xff"]).view(pa.string())}),
    "words": lambda: pa.table({"words": [[SECRET, None]]}),
}


@pytest.mark.parametrize("case", PARQUET)
def test_no_error_of_a_parquet_file_quotes_what_is_in_it(tmp_path: Path, case: str) -> None:
    pq.write_table(PARQUET[case](), tmp_path / "in.parquet")
    options: dict[str, Any] = {"words": "words"} if case == "words" else {"text": "text"}
    with pytest.raises(LaminaError) as caught:
        list(Source(str(tmp_path / "in.parquet"), **options).rows())
    assert SECRET not in str(caught.value)


def test_no_error_of_python_items_quotes_them(tiny: Extractor, deep: Extractor) -> None:
    items: list[Any] = [
        [SECRET, SECRET.encode()], [{SECRET: 1}], [(SECRET, SECRET)], [f"{SECRET} \ud800"],
        [Text("a", pair=f"{SECRET}\udfff")],
    ]  # fmt: skip
    calls: list[Callable[[], Any]] = [lambda one=one: tiny.extract(one) for one in items]
    calls += [
        lambda: Text(SECRET.encode()),  # type: ignore[arg-type]
        lambda: Text("a", pair=[SECRET]),  # type: ignore[arg-type]
        lambda: tiny.extract(f"{SECRET} as one string"),
        lambda: deep.extract([f"{SECRET} " * 90], long="error"),
        lambda: deep.extract([Text(SECRET, pair="b")], pool="cls"),
        lambda: deep.extract([Text(f"{SECRET} " * 90, pair="b")]),
        lambda: deep.attention([f"{SECRET} " * 90]),
    ]
    for call in calls:
        with pytest.raises(LaminaError) as caught:
            call()
        assert SECRET not in str(caught.value)
        for error in (caught.value.__cause__, caught.value.__context__):
            assert error is None or caught.value.__suppress_context__ or SECRET not in str(error)


def test_a_panic_of_the_tokenizer_is_not_repeated(tmp_path: Path) -> None:
    """Its message may quote the text; only Rust's own report on stderr, which nobody can stop, may."""
    folder = samples.save_model(tmp_path / "model")
    split = {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": False}
    made = json.loads(samples.tokenizers()["wordpiece"]) | {"pre_tokenizer": split}
    (folder / "tokenizer.json").write_text(json.dumps(made))
    found = lamina.load(folder).extract([f"{SECRET} {'x' * 60}"], on_error="mark")
    assert found.units["error"].to_pylist() == ["cannot be tokenized: the model's tokenizer gives up on it"]


def test_a_job_that_is_watched_says_nothing_of_its_texts(
    tiny_bert: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": f"{SECRET} river", "note": SECRET}) + "\n")
    arguments = ["extract", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "d"), "--model", str(tiny_bert)]
    for more in ([], ["--json", "--overwrite"]):
        assert run([*arguments, *more]) == 0
        said = capfd.readouterr()
        assert SECRET not in said.out + said.err
    assert run(["show", str(tmp_path / "d")]) == 0
    assert SECRET not in "".join(capfd.readouterr())
    assert SECRET not in (tmp_path / "d" / "manifest.json").read_text()
