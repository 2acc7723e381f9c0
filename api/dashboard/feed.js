// Feed: what happens, as this member sees it, in bursts; an election is one.

import { $, hue, keep, make, put, set } from "./draw.js";
import { model, now } from "./model.js";
import { clock, lost, plural, span, step } from "./words.js";

// newest is the burst that has been opened, as each new one is.
let newest = null;

// shown is how many steps of a burst are listed; a group of fifty confirms a
// claim fifty times.
const shown = 40;

export function drawFeed() {
  if (!model.self) return;
  const self = model.self.name;
  set($("feed-about"), model.bursts.length > 0
    ? `Claims, confirms and objections as ${self} sees them.`
    : `Quiet since this page was opened at ${clock(model.openedAt)}. Claims, confirms and objections appear here as ${self} sees them.`);
  keep($("bursts"), model.bursts, (b) => b.began, burst, (node, b) => drawBurst(node, b, self));
  if (model.bursts[0] === newest) return;
  newest = model.bursts[0];
  [...$("bursts").children].forEach((node, i) => { node.firstElementChild.open = i === 0; });
}

function burst() {
  return make("li", "",
    make("details", "", make("summary", "", make("h3", ""), make("p", "small")), make("ol", "")));
}

function drawBurst(node, b, self) {
  const [summary, list] = node.firstElementChild.children;
  const [title, about] = summary.children;
  const steps = b.steps.map((s) => ({ ...s, said: s.kind === "gap" ? silence(s.e, self) : step(s.kind, s.e, self) }));
  const { words, tone, gap, leader } = outcome(steps, self);
  put(node, "data-tone", tone);
  hue(title, leader);
  set(title, words);
  set(about, [clock(b.began, now()), gap].filter(Boolean).join(" · "));
  const items = merge(steps).slice(-shown);
  keep(list, items, (s) => s.id, () => make("li", "", make("span", "at"), make("span", "did"), make("span", "why")),
    (line, s) => {
      const [at, did, why] = line.children;
      put(line, "data-tone", s.said[0]);
      set(at, `+${span(s.at - b.began)}`);
      set(did, s.said[1]);
      set(why, s.said[2]);
    });
}

// merge makes one line of many confirms, so that fifty members fit.
function merge(steps) {
  const out = [];
  steps.forEach((s, i) => {
    const last = out.at(-1);
    const confirm = s.kind === "election" && s.e.what === "confirmed";
    if (confirm && last?.confirms) {
      last.confirms.push(s.e.peer);
      const n = last.confirms.length;
      last.said = ["good", n <= 4 ? `${last.confirms.slice(0, -1).join(", ")} and ${s.e.peer} confirm` : `${n} members confirm`, `within ${span(s.at - last.at)}`];
      return;
    }
    out.push({ ...s, id: i, confirms: confirm ? [s.e.peer] : null });
  });
  return out;
}

function silence(e, self) {
  return ["warn", e.restarted ? `${self} has been started anew` : "The stream was cut and is back", e.ms > 0 ? `nothing was heard for ${span(e.ms)}` : ""];
}

// outcome is what a burst came to: the last leader it named, and how long it
// was without.
function outcome(steps, self) {
  let end = null, result = null;
  for (const s of steps) {
    if (s.kind !== "leader") continue;
    if (s.e.leader === null) end ??= s;
    result = s.e.leader === null ? null : s;
  }
  const why = end ? lost(end.e, self).join(": ") : "";
  if (result) {
    const gap = end ? `${why}; ${span(result.at - end.at)} without a leader` : "";
    return { words: `${result.e.leader} leads`, tone: "good", gap, leader: result.e.leader };
  }
  if (end) return { words: model.lease?.electing ? "An election is under way" : "There is no leader", tone: "wait", gap: why, leader: null };
  const [first] = steps;
  const more = steps.length > 1 ? plural(steps.length - 1, "more event") : "";
  return { words: first.said[1], tone: first.said[0], gap: more, leader: null };
}
