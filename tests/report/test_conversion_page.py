"""The page of a conversion: every figure is on it, and nothing missing breaks it."""

import json
from typing import Any

from tests.cli.commands import keeps_to_itself
from tests.report import missing_fields
from tests.report.parsed_page import Page

from byteproxy.report.conversion_page import conversion_page


def results() -> dict[str, Any]:
    """What `byteproxy convert --json` prints, small."""
    return {
        "byteproxy": "0.1.0",
        "model": {
            "given": "/models/Some<b>Llama",
            "path": "/models/Some<b>Llama",
            "revision": "",
            "weights": "ab" * 32,
            "tokenizer": "cd" * 32,
            "license": "apache-2.0",
            "quantization": "Q4_1",
            "architecture": "Llama",
            "shape": {"width": 576, "layers": 30, "heads": 9, "kv_heads": 3, "ffn": 1536},
            "tokens": 49173,
            "bytes_per_token": 3.41,
        },
        "machine": {"processor": "Some CPU", "cores": 2},
        "corpus": {
            "sources": {"stdlib": 31_500_000},
            "splits": {"train": {"documents": 1610, "bytes": 28_400_000, "projects": 190}},
            "split_by": ["project"],
        },
        "validation": {"bytes": 12000, "documents": 16, "window": 512, "stride": 384},
        "compressors": {"xz": 2.91, "zstd": 2.94, "ppmd": 2.21},
        "before": {"raw_bpb": 8.171, "token_bpb": 1.346},
        "after": {"raw_bpb": 1.873, "token_bpb": 1.371},
        "raw_over_ceiling": 1.873 / 1.346,
        "tokens_kept": 1.371 / 1.346,
        "cost": {
            "steps": 240,
            "positions": 245_760,
            "flops": 2.2e14,
            "seconds": 601.0,
            "wall_seconds": 722.0,
            "positions_per_second": 409.0,
            "matmul_utilization": 0.121,
            "text_bytes": {"raw": 190_000, "bpe-49173": 185_000},
            "memory_mb": 4711,
            "parameters": 163_000_000,
            "exported_parameters": 106_500_000,
        },
        "curve": [
            {
                "step": 40 * at,
                "positions": 40_960 * at,
                "flops": 3.7e13 * at,
                "seconds": 100.0 * at,
                "raw_bpb": 8.171 if at == 0 else 1.8 + 0.5 / at,
                "token_bpb": 1.346 + 0.004 * at,
            }
            for at in range(7)
        ],
        "samples": [{"prompt": "def read_lines(", "before": "path):", "after": "path)<i>:"}],
        "speed": {
            "dtype": "float32",
            "threads": 2,
            "temperature": 0.6,
            "prompts": 4,
            "tokens": {"bytes": 200, "bytes_per_second": 51.23, "bytes_per_pass": 3.27, "over_tokens": 1.0},
            "plain": {"bytes": 190, "bytes_per_second": 24.12, "bytes_per_pass": 1.0, "over_tokens": 0.47},
            "heads": {"bytes": 190, "bytes_per_second": 48.34, "bytes_per_pass": 2.19, "over_tokens": 0.94},
            "guessed": 150,
            "right": 103,
        },
        "export": {"folder": "runs/bytes/model", "files": {"config.json": 700, "model.safetensors": 425_000_000}},
        "report": "runs/bytes/report.html",
    }


def test_every_figure_is_on_it() -> None:
    html = conversion_page(results())
    page = Page(html)
    assert keeps_to_itself(html)
    bits, speeds = ("8.171", "1.346", "1.873", "1.371", "1.392"), ("48.3", "0.47", "2.19")
    for said in (*bits, *speeds, "Some<b>Llama", "49,173", "path)<i>:", "stdlib", "Q4_1"):
        assert said in page.text, said
    assert page.count("svg") == 1
    assert "ceiling 1.35" in page.text
    assert "PPMd 2.21" in page.text
    assert "raw bytes 1.88" in page.text
    assert "positions trained on (thousands)" in page.text


@missing_fields.ODD
def test_survives_each_missing_field(value: object) -> None:
    missing_fields.survives(conversion_page, results(), value)


def test_an_empty_result_is_a_page() -> None:
    page = Page(conversion_page({}))
    assert page.count("svg") == 0
    assert "Nothing was logged." in page.text


def test_holds_the_results_as_valid_json() -> None:
    shown = Page(conversion_page(results())).text
    assert json.loads(shown[shown.index("{\n") :]) == results()
