// History: the leaderships as a ribbon in true scale and as a list, with why
// each began and ended, and how long no member led in between.

import { $, hue, keep, make, put, set } from "./draw.js";
import { model, now } from "./model.js";
import { age, because, clock, ending, span } from "./words.js";

const few = 6, onRibbon = 12;
let all = false;

$("older").addEventListener("click", () => { all = !all; drawHistory(); });

export function drawHistory() {
  const past = model.history.map((h, i) => ({
    ...h, start: Date.parse(h.from), end: h.to ? Date.parse(h.to) : null, newer: i === 0 ? null : model.history[i - 1],
  }));
  drawRibbon(past.slice(0, onRibbon));
  const button = $("older");
  button.hidden = past.length <= few;
  set(button, all ? "Show fewer" : `Show all ${past.length}`);
  put(button, "aria-expanded", all);
  keep($("history"), all ? past : past.slice(0, few), (h) => `${h.term} ${h.leader}`, entry, drawEntry);
}

function entry() {
  return make("li", "", make("p", "gap"), make("p", "who"), make("p", "when"), make("p", "why"), make("p", "took"));
}

function drawEntry(node, h) {
  const [gap, who, when, why, took] = node.children;
  hue(who, h.leader);
  put(node, "data-now", h.end === null ? "" : null);
  const without = h.end === null ? 0 : (h.newer ? Date.parse(h.newer.from) : now()) - h.end;
  set(gap, without >= 1 ? `no member led for ${h.newer ? span(without) : age(without)}` : "");
  set(who, h.leader);
  const long = (h.end ?? now()) - h.start;
  set(when, `${clock(h.start, now())} – ${h.end === null ? "now" : clock(h.end, now())} · ${h.end === null ? age(long) : span(long)}`);
  set(why, [because(h.reason), h.end_reason && h.end !== null ? `ended: ${ending(h.end_reason)}` : ""].filter(Boolean).join("; "));
  set(took, [["detected in", h.detection_ms], ["confirmed in", h.confirm_ms], ["hook took", h.hook_ms]]
    .filter(([, ms]) => ms > 0).map(([what, ms]) => `${what} ${span(ms)}`).join(" · "));
}

// drawRibbon draws the latest leaderships to scale, now at the right.
function drawRibbon(past) {
  const ribbon = $("ribbon");
  ribbon.hidden = $("ribbon-about").hidden = past.length === 0;
  if (past.length === 0) return;
  const right = now(), whole = Math.max(right - past.at(-1).start, 1000);
  const part = (ms) => `${Math.max((100 * ms) / whole, 0)}%`;
  keep(ribbon, past, (h) => `${h.term} ${h.leader}`, () => make("i", ""), (node, h) => {
    hue(node, h.leader);
    node.style.left = part(h.start - past.at(-1).start);
    node.style.width = part((h.end ?? right) - h.start);
    put(node, "title", `${h.leader}: ${span((h.end ?? right) - h.start)}`);
  });
  put(ribbon, "aria-label", `the last ${past.length} leaderships, over ${span(whole)}; the list below says the same`);
  set($("ribbon-about").firstElementChild, clock(past.at(-1).start, right));
}
