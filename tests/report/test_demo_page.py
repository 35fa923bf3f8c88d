"""The report: every figure is on it, nothing on it asks the network, and nothing missing breaks it."""

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from tests.report import missing_fields
from tests.report.parsed_page import NBSP, Page

from byteproxy.errors import InputError
from byteproxy.report.demo_page import demo_page, write_demo_page
from byteproxy.study.units import fixed, percent, scientific, si


def results(*names: str) -> dict[str, Any]:
    """What `byteproxy demo --json` prints, small."""
    arms = {}
    for at, name in enumerate(names or ("bytes", "proxy")):
        share = 0.72 if at else 0.0
        steps = range(10, 201, 10)
        curve = [
            {
                "step": step,
                "flops": 1.5e11 * step,
                "seconds": 0.9 * step,
                "loss": 2 + 9 / step,
                "raw_loss": 2 + 9 / step,
                "compressed_loss": 5 + 9 / step if at else None,
                "rate": share,
            }
            for step in steps
        ]
        arms[name] = {
            "raw_bpb": 2.311 + at / 10,
            "flops": 3.0e13,
            "positions": 2_900_000,
            "steps": 1708 + at,
            "text_bytes_seen": 2_880_000 + 4_000_000 * at,
            "raw_text_bytes_seen": 790_000,
            "seconds": 181.0 + at,
            "wall_seconds": 193.4,
            "compressed_share": {"asked": share, "segments": share, "positions": share, "text_bytes": share},
            "curve": curve,
            "validation": [
                {"step": point["step"], "flops": point["flops"], "seconds": point["seconds"], "raw_bpb": point["loss"]}
                for point in curve[4::5]
            ],
        }
    return {
        "byteproxy": "0.1.0",
        "machine": {"processor": "Some CPU", "cores": 2, "python": "3.11.7", "torch": "2.13.0", "dtype": "bfloat16"},
        "seed": 0,
        "minutes": 6.0,
        "corpus": {
            "source": "stdlib-3.11",
            "documents": 1790,
            "bytes": 31_500_000,
            "rejected": {"duplicate": 12},
            "splits": {"train": {"documents": 1610, "bytes": 28_400_000, "projects": 190}},
        },
        "view": {
            "name": "bpe-4096",
            "alphabet_size": 4096,
            "bytes_per_symbol": 3.1,
            "train_seconds": 4.2,
            "encode_seconds": 6.1,
        },
        "model": {"parameters": {"bytes": 1_900_000, "proxy": 3_500_000}, "width": 192, "layers": 4},
        "budget_flops": 3.0e13,
        "arms": arms,
        "held_out_bytes": 1_000_000,
        "held_out_documents": 60,
        "validation_text": {"bytes": 40_000, "xz_bpb": 1.9, "ppmd_bpb": 1.6},
        "xz_bpb": 1.7,
        "ppmd_bpb": 1.5,
        "sample": {
            "arm": "proxy",
            "prompt": "def f(x):\n",
            "continuation": "    return x < 1 and '</pre><script>alert(1)</script>'\x00",
            "bytes_per_second": 312.4,
            "files": ["config.json", "model.safetensors"],
        },
        "verdict": "proxy is behind bytes by 0.100 bits per byte (4.3 %) at equal training FLOPs",
        "report": "runs/demo/report.html",
    }


@pytest.fixture(scope="module")
def full() -> str:
    return demo_page(results())


def test_shows_each_figure(full: str) -> None:
    shown = Page(full).text.replace(NBSP, " ")
    for figure in (
        "2.311", "2.411", "3.00 × 10¹³", "2.90 M", "2.88 MB", "6.88 MB", "790 kB", "1,708", "1,709", "181 s", "182 s",
        "193 s", "1.90 M", "3.50 M", "1.700", "1.500", "bpe-4096", "4,096", "4.2 s", "6.1 s", "31.5 MB", "12 duplicate",
        "28.4 MB", "Some CPU", "bfloat16", "192", "72.0 %", "312 bytes per second",
        "config.json and model.safetensors", "0.100 bits per byte (4.3 %)", "nats per target", "3 × (2 × parameters",
    ):  # fmt: skip
        assert figure in shown, figure
    assert shown.count("best") == 1
    assert shown.index("best") < shown.index("2.311") < shown.index("2.411")


def test_draws_four_plots_that_name_their_series(full: str) -> None:
    page = Page(full)
    assert page.count("svg") == 4
    assert len(page.ids()) == len(set(page.ids()))
    for label in ("bytes 2.04", "proxy 2.04", "xz 1.90", "PPMd 1.60", "bytes, raw", "proxy, raw", "proxy, compressed"):
        assert page.text.count(label) == 2, label
    assert "bytes, compressed" not in page.text


def test_asks_the_network_for_nothing(full: str) -> None:
    page = Page(full)
    assert page.count("script") == page.count("img") == page.count("iframe") == 0
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "action", "srcset"):
                assert value is not None, (tag, name)
                assert value.startswith(("#", "data:")), (tag, name, value)
    assert re.findall(r"url\((?!#)", full) == []
    assert "@import" not in full
    assert "default-src 'none'" in full


def test_takes_its_colours_from_the_page(full: str) -> None:
    svgs = "".join(re.findall(r"<svg.*?</svg>", full, flags=re.DOTALL))
    assert "var(--arm1)" in svgs
    assert re.findall(r"#[0-9a-f]{6}\b", svgs) == []
    assert "<style" not in svgs
    assert set(re.findall(r"var\((--\w+)\)", full)) <= set(re.findall(r"(--\w+):", full))


def test_escapes_what_the_results_say() -> None:
    evil = "<script>\"&'"
    page = demo_page(results(evil, "$a_b$") | {"verdict": evil, "byteproxy": evil, "model": {evil: evil}})
    assert "<script" not in page
    assert Page(page).count("b") == Page(demo_page(results())).count("b")
    assert Page(page).text.count("$a_b$") >= 5
    assert "alert(1)" in page
    assert "\x00" not in page
    assert "\N{SYMBOL FOR NULL}" in page


def test_same_results_same_bytes(tmp_path: Path, full: str) -> None:
    write_demo_page(results(), tmp_path / "a.html")
    write_demo_page(copy.deepcopy(results()), tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes() == full.encode()


@pytest.mark.parametrize("count", [1, 3, 8])
def test_takes_any_number_of_arms(count: int) -> None:
    page = Page(demo_page(results(*(f"an arm with a long name {at}" for at in range(count)))))
    assert page.count("svg") == 4
    assert page.text.count("an arm with a long name 0") >= 2
    assert ("best" in page.text) == (count > 1)
    assert ("at equal training FLOPs" in page.text.replace(results()["verdict"], "")) == (count > 1)


@missing_fields.ODD
def test_survives_each_missing_field(value: object) -> None:
    missing_fields.survives(demo_page, results(), value)


def test_missing_points_leave_the_rest() -> None:
    broken = results()
    curve = broken["arms"]["proxy"]["curve"]
    curve[3]["raw_loss"], curve[4]["raw_loss"], curve[5] = math.nan, None, None
    broken["arms"]["proxy"]["validation"] = []
    broken["xz_bpb"] = math.inf
    page = Page(demo_page(broken))
    assert page.count("svg") == 4
    assert "proxy, raw" in page.text
    assert "proxy 2.04" not in page.text
    assert "xz 1.70" not in page.text


def test_an_empty_result_is_a_page() -> None:
    page = Page(demo_page({}))
    assert page.count("svg") == 0
    assert page.text.count("Nothing was logged.") == 4


def test_holds_the_results_as_valid_json() -> None:
    broken = results() | {"xz_bpb": math.nan}
    shown = Page(demo_page(broken)).text
    held = json.loads(shown[shown.index("{\n") :])
    assert held == broken | {"xz_bpb": None}


def test_replaces_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs" / "report.html"
    write_demo_page(results("bytes"), path)
    before = path.read_bytes()

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full_disk)
        with pytest.raises(InputError, match=r"cannot write .*report\.html \(No space left"):
            write_demo_page(results(), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    write_demo_page(results(), path)
    assert path.read_bytes() != before
    assert list(path.parent.iterdir()) == [path]


def test_a_file_in_the_way_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        write_demo_page(results(), tmp_path / "file" / "report.html")


def test_lone_surrogates_are_written(tmp_path: Path) -> None:
    sample = {"prompt": b"\xff".decode("utf-8", "surrogateescape"), "continuation": "ok"}
    write_demo_page(results() | {"sample": sample}, tmp_path / "report.html")
    assert "ok" in (tmp_path / "report.html").read_text("utf-8")


def test_units() -> None:
    assert [si(value).replace(NBSP, " ") for value in (0, 7, 999, 999.7, 1000, 31_500_000, 2.5e19, 0.5)] == [
        "0", "7", "999", "1.00 k", "1.00 k", "31.5 M", "25.0 E", "0.500"
    ]  # fmt: skip
    assert si(790_000, "B") == f"790{NBSP}kB"
    assert scientific(3e13) == f"3.00{NBSP}×{NBSP}10¹³"
    assert scientific(9.999e-4) == f"1.00{NBSP}×{NBSP}10⁻³"
    assert fixed(12345.6, 1, "s") == f"12,345.6{NBSP}s"
    assert percent(0.7312) == f"73.1{NBSP}%"
    assert {si(None), fixed(math.nan, 2), scientific("3"), percent(True)} == {"–"}
