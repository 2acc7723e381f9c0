// Lead: who leads, since when, and how the lease drains and refills.

import { $, hue, put, set } from "./draw.js";
import { model, now, since } from "./model.js";
import { age, because, clock, span } from "./words.js";

const calmly = matchMedia("(prefers-reduced-motion: reduce)");

export function drawLead() {
  const l = model.lease;
  const panel = $("lead");
  if (!l) return put(panel, "data-tone", "wait");
  const from = since();
  const split = !model.outdated && model.verdict?.findings.some((f) => f.what === "split-possible" && f.degrades);
  put(panel, "data-tone", model.stale ? "stale" : l.leader ? (split ? "warn" : "good") : l.electing ? "wait" : "bad");
  hue(panel, l.leader);
  set($("leader"), l.leader ?? (l.electing ? "Electing …" : "No leader"));
  const when = from === null ? "" : `since ${clock(from, now())}`;
  // While nothing is heard, it is not known how long it has gone on.
  const long = from === null || model.stale ? "" : age(now() - from);
  let parts;
  if (l.leader) parts = [when && `leads ${when}`, long && `for ${long}`, began(l), `term ${l.term}`, holds(l)];
  else parts = [`no leader${when && ` ${when}`}`, long && `for ${long}`];
  set($("leader-about"), parts.filter(Boolean).join(" · "));
}

// holds says which floating addresses the leader has, as it said when it was asked
// last.
function holds(l) {
  const addresses = (l.is_leader ? model.self : model.states[l.leader])?.addresses ?? [];
  const said = (held) => addresses.filter((a) => a.held === held).map((a) => `${a.address} on ${a.interface}`).join(", ");
  return [said(true) && `holds ${said(true)}`, said(false) && `does not hold ${said(false)}`].filter(Boolean).join(" · ");
}

// began says why the present leadership began.
function began(l) {
  const latest = model.history[0];
  return latest && latest.term === l.term && latest.leader === l.leader ? because(latest.reason) : "";
}

let refilledAt = 0, lastEnd = 0, drawnAt = 0;

// drawLease lets the bar run down from where the lease is to its end, unless
// the next event refills it.
export function drawLease() {
  const l = model.lease;
  const bar = $("lease-bar").firstElementChild;
  const held = l?.leader && l.of_ms > 0 && !model.stale;
  if (!held) {
    bar.style.transition = "none";
    bar.style.transform = "scaleX(0)";
    set($("lease-of"), model.stale ? "nothing is heard of the lease" : l?.leader ? "" : "no lease");
    set($("lease-now"), "");
    put($("lease-bar"), "aria-label", "no lease");
    lastEnd = 0;
    return;
  }
  const t = performance.now();
  const end = t + l.left_ms;
  if (end > lastEnd + 30) refilledAt = end - l.of_ms;
  lastEnd = end;
  const left = Math.min(l.left_ms / l.of_ms, 1);
  put($("lease"), "data-level", left > 0.45 ? "full" : left > 0.2 ? "low" : "out");
  if (calmly.matches) {
    if (t - drawnAt < 1000) return;
    drawnAt = t;
    bar.style.transition = "none";
    bar.style.transform = `scaleX(${left})`;
  } else {
    // Run down to where it will be when the next event is due, and on.
    bar.style.transition = "transform 80ms linear";
    bar.style.transform = `scaleX(${left})`;
    requestAnimationFrame(() => requestAnimationFrame(() => {
      bar.style.transition = `transform ${l.left_ms}ms linear`;
      bar.style.transform = "scaleX(0)";
    }));
  }
  const whole = span(l.of_ms);
  const gone = l.is_leader ? `lease of ${whole}` : `taken for gone after ${whole} of silence`;
  const silent = t - refilledAt;
  set($("lease-of"), gone);
  set($("lease-now"), left > 0.45 ? "renewed in time" : `not renewed for ${span(silent)}`);
  put($("lease-bar"), "aria-label", left > 0.45 ? `${gone}, renewed in time` : `${gone}, not renewed in time`);
}
