"use strict";
{
  const { written, renew, stale } = document.currentScript.dataset;
  const name = `byteproxy ${location.pathname}`;
  const inputs = () => [...document.querySelectorAll("input[id]")];
  const folds = () => [...document.querySelectorAll("details")];
  const boxes = () => [...document.querySelectorAll(".scroll, .plot, pre")];

  // What was chosen, unfolded and scrolled to outlasts a renewal.
  const keep = () => {
    const kept = {
      inputs: inputs().map(one => [one.id, one.checked]),
      folds: folds().map(one => one.open),
      boxes: boxes().map(one => [one.scrollLeft, one.scrollTop]),
    };
    try { sessionStorage.setItem(name, JSON.stringify(kept)); } catch { /* a browser may forbid it */ }
  };
  const restore = () => {
    let kept = null;
    try { kept = JSON.parse(sessionStorage.getItem(name)); } catch { /* as above */ }
    if (!kept) return;
    const chosen = new Map(kept.inputs);
    for (const one of inputs()) if (chosen.has(one.id)) one.checked = chosen.get(one.id);
    folds().forEach((one, at) => { one.open = kept.folds[at] ?? one.open; });
    boxes().forEach((one, at) => { [one.scrollLeft, one.scrollTop] = kept.boxes[at] ?? [0, 0]; });
  };

  const age = () => Date.now() / 1000 - written;
  const said = seconds => {
    for (const [size, unit] of [[86400, "day"], [3600, "hour"], [60, "minute"]]) {
      const count = Math.floor(seconds / size);
      if (count > 0) return `${count} ${unit}${count > 1 ? "s" : ""} ago`;
    }
    return "less than a minute ago";
  };
  const renews = () => Boolean(renew) && age() <= stale;
  const tell = () => {
    document.getElementById("age").textContent = `, ${said(age())}`;
    if (!renew) return;
    document.getElementById("renews").hidden = !renews();
    document.getElementById("stale").hidden = renews();
  };

  restore();
  addEventListener("pagehide", keep);
  tell();
  setInterval(tell, 5000);
  if (renews()) setTimeout(() => location.reload(), 1000 * renew);
}
