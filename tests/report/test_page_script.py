"""The one script of pages, run by node where that is there: what outlasts a renewal, and when renewing ends."""

import json
import shutil
import subprocess
from importlib.resources import files

import pytest
from tests.waiting import GUARD_SECONDS

SCRIPT = files("byteproxy.report") / "templates" / "page.js"
NODE = shutil.which("node")
BROWSER = """
const { given, script } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const elements = { "input[id]": given.inputs, details: given.folds, ".scroll, .plot, pre": given.boxes };
const ids = { age: {}, renews: {}, stale: { hidden: true } };
const stored = new Map(given.stored), heard = {}, timers = [], repeated = [];
globalThis.document = {
  currentScript: { dataset: given.dataset },
  querySelectorAll: what => elements[what],
  getElementById: id => ids[id],
};
globalThis.location = { pathname: "/runs/a/report.html", reload: () => { throw new Error("at once"); } };
globalThis.addEventListener = (what, act) => { heard[what] = act; };
globalThis.setTimeout = (act, after) => { timers.push(after); };
globalThis.setInterval = (act, every) => { repeated.push(act); };
const storage = { getItem: key => stored.get(key) ?? null, setItem: (key, value) => { stored.set(key, value); } };
const asked = () => { if (given.forbidden) throw new Error("no"); return storage; };
Object.defineProperty(globalThis, "sessionStorage", { get: asked });
let now = given.now;
Date.now = () => 1000 * now;
new Function(script)();
const first = { renews: !ids.renews.hidden, stale: !ids.stale.hidden };
now += given.later ?? 0;
repeated.forEach(act => act());
heard.pagehide();
console.log(JSON.stringify({
  first, timers, age: ids.age.textContent, renews: !ids.renews.hidden, stale: !ids.stale.hidden,
  inputs: given.inputs, folds: given.folds, boxes: given.boxes, stored: [...stored],
}));
"""
PAGE = {
    "dataset": {"written": "1000", "renew": "20", "stale": "1200"},
    "now": 1000,
    "inputs": [{"id": "hue0", "checked": True}, {"id": "hue8", "checked": False}],
    "folds": [{"open": False}],
    "boxes": [{"scrollLeft": 0, "scrollTop": 0}],
    "stored": [],
}
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not there to run the script")


def run(**changes):
    """What becomes of a page, open in a browser, when its script runs and the page is left."""
    given = json.dumps({"given": {**PAGE, **changes}, "script": SCRIPT.read_text()})
    done = subprocess.run([NODE, "-e", BROWSER], input=given, capture_output=True, text=True, timeout=GUARD_SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_was_chosen_unfolded_and_scrolled_to_outlasts_a_renewal():
    left = run(
        inputs=[{"id": "hue0", "checked": False}, {"id": "hue8", "checked": True}],
        folds=[{"open": True}],
        boxes=[{"scrollLeft": 70, "scrollTop": 5}],
    )
    renewed = run(
        stored=left["stored"],
        inputs=[*PAGE["inputs"], {"id": "hue16", "checked": False}],
        boxes=[*PAGE["boxes"], {"scrollLeft": 0, "scrollTop": 0}],
    )
    assert renewed["inputs"] == [
        {"id": "hue0", "checked": False},
        {"id": "hue8", "checked": True},
        {"id": "hue16", "checked": False},
    ]
    assert renewed["folds"] == [{"open": True}]
    assert renewed["boxes"] == [{"scrollLeft": 70, "scrollTop": 5}, {"scrollLeft": 0, "scrollTop": 0}]


def test_another_page_of_the_same_window_has_choices_of_its_own():
    left = run(inputs=[{"id": "hue0", "checked": False}])
    assert [name for name, _ in left["stored"]] == ["byteproxy /runs/a/report.html"]
    assert run(stored=[["byteproxy /runs/b/report.html", left["stored"][0][1]]])["inputs"] == PAGE["inputs"]


def test_a_browser_without_storage_renews_all_the_same():
    assert run(forbidden=True)["timers"] == [20_000]


def test_a_page_renews_itself_until_nobody_writes_it_any_more():
    assert run(now=1000)["timers"] == run(now=2200)["timers"] == [20_000]
    old = run(now=2201)
    assert old["timers"] == []
    assert (old["renews"], old["stale"]) == (False, True)
    fresh = run(now=1000)
    assert (fresh["renews"], fresh["stale"]) == (True, False)
    open_meanwhile = run(now=2190, later=30)
    assert (open_meanwhile["first"]["stale"], open_meanwhile["stale"]) == (False, True)


def test_the_page_of_a_run_that_ended_says_its_age_and_nothing_else():
    done = run(dataset={**PAGE["dataset"], "renew": ""}, now=1e6)
    assert done["timers"] == []
    assert done["stale"] is False
    assert done["age"] == ", 11 days ago"


@pytest.mark.parametrize(
    ("age", "said"),
    [(-5, "less than a minute"), (59, "less than a minute"), (60, "1 minute"), (7199, "1 hour"), (172_800, "2 days")],
)
def test_ages(age, said):
    assert run(now=1000 + age)["age"] == f", {said} ago"
