// Line: the members in the line of succession, and what each of them says.

import { $, hue, keep, make, put, set } from "./draw.js";
import { model, now, views } from "./model.js";
import { age, clock, plural, span } from "./words.js";

// few is how many members are listed before a person asks for all.
const few = 8;
let all = false;

$("all").addEventListener("click", () => { all = !all; drawLine(); });

export function drawLine() {
  const line = views();
  if (line.length === 0) return;
  const answering = line.filter((w) => w.answers).length;
  set($("line-about"), `${plural(line.length, "member")}, ${answering === line.length ? "all answer" : `${answering} answer`}. `
    + "Each is asked which leader it follows.");
  drawVoters(line);
  // A long list is not to push the history out of sight.
  const column = $(all && line.length > few ? "feed" : "line").parentElement;
  if ($("past").parentElement !== column) column.append($("past"));
  const chorus = $("chorus");
  chorus.hidden = line.length <= few;
  if (!chorus.hidden) {
    keep(chorus, line, (w) => w.name, () => make("i", ""), (node, w) => {
      put(node, "data-tone", tone(w));
      hue(node, w.says);
      put(node, "title", `${w.name}: ${says(w)}`);
    });
  }
  const first = line.filter((w, i) => i < few || w.leads || w.differs || w.error !== null || w.own);
  const button = $("all");
  button.hidden = line.length <= few || first.length === line.length;
  set(button, all ? "Show fewer" : `Show all ${line.length}`);
  put(button, "aria-expanded", all);
  keep($("members"), all ? line : first.slice(0, 2 * few), (w) => w.name, row, drawRow);
}

// tone is how a member's view is shown: good, bad, silent, or wait.
function tone(w) {
  if (!w.asked) return "wait";
  if (!w.answers) return "silent";
  if (w.leads) return "leads";
  return w.differs ? "differs" : "good";
}

function says(w) {
  if (!w.asked) return "…";
  if (!w.answers) return "does not answer";
  if (w.leads) return "leads";
  return w.says ? `follows ${w.says}` : w.state.electing ? "names no leader, electing" : "names no leader";
}

function row() {
  return make("li", "",
    make("details", "",
      make("summary", "", make("span", "rank"), make("span", "who", make("span", "name"), make("span", "tags")), make("span", "says")),
      make("dl", "")));
}

function drawRow(node, w) {
  const [rank, who, view] = node.querySelector("summary").children;
  const [name, tags] = who.children;
  put(node, "data-tone", model.outdated && !w.own ? "wait" : tone(w));
  set(rank, w.rank === null ? "–" : String(w.rank));
  set(name, w.name);
  keep(tags, tagsOf(w), (t) => t, () => make("span", ""), set);
  hue(view, w.says);
  set(view, says(w));
  if (node.firstElementChild.open) drawDetails(node.querySelector("dl"), w);
  node.firstElementChild.ontoggle = () => drawDetails(node.querySelector("dl"), w);
}

function tagsOf(w) {
  const tags = [];
  if (w.own) tags.push("this page");
  if (w.next) tags.push("next");
  if (w.voter) tags.push("voter");
  if (w.role && w.role !== "candidate") tags.push(w.role);
  const sick = w.state?.health?.healthy === false;
  if (w.state?.maintenance_until) tags.push("maintenance");
  if (sick) tags.push("sick");
  if (!w.state?.maintenance_until && !sick && w.alive && w.role === "candidate" && !w.eligible) tags.push("stands aside");
  if (w.rank === null) tags.push("not in the group");
  else if (!w.alive) tags.push("gone");
  return tags;
}

function drawDetails(dl, w) {
  const s = w.state;
  const facts = [
    ["address", w.addr],
    ["error", w.error],
    ["started", w.start_time ? `${clock(w.start_time * 1000, now())} (${age(now() - w.start_time * 1000)} ago)` : null],
    ["id", w.id ? (Number.isSafeInteger(w.id) ? w.id : `about ${w.id}`) : null],
    ["stands aside until", s?.maintenance_until ? clock(s.maintenance_until, now()) : null],
    ["health check", s?.health ? `${s.health.error || "succeeds"}, ${s.health.in_a_row} in a row` : null],
    ["its term", s?.term],
    ["phase", s?.phase],
    ["lease left", s?.is_leader && s.lease_ms ? span(s.lease_ms) : null],
    ["heard its leader", s && !s.is_leader && s.leader_heard_ms >= 0 ? `${span(s.leader_heard_ms)} before it answered` : null],
    ["sees", s ? plural(s.members.length, "member") : null],
    ["floating addresses", s?.addresses?.length ? s.addresses.map((a) => `${a.address} on ${a.interface}: ${a.held ? `held since ${clock(Date.parse(a.since), now())}` : "not held"}`).join(", ") : null],
    ["hook", s?.hook ? hook(s.hook) : null],
    ["rule", s && s.rule !== model.self?.rule ? s.rule : null],
    ["mode", s && s.mode !== model.self?.mode ? s.mode : null],
    ["version", s?.version],
    ["process", s ? `${s.pid}${s.keeper_pid ? `, keeper ${s.keeper_pid}` : ", no keeper"}` : null],
  ].filter(([, value]) => value !== null && value !== undefined);
  keep(dl, facts, ([what]) => what, () => make("div", "", make("dt", ""), make("dd", "")), (node, [what, value]) => {
    set(node.firstElementChild, what);
    set(node.lastElementChild, String(value));
  });
}

function hook(h) {
  if (h.running) return `${h.event} runs`;
  if (h.error) return `${h.event}: ${h.error}`;
  return `${h.event}: exit ${h.exit} after ${span(h.duration_ms)}`;
}

// drawVoters shows, in quorum mode, how many of the voters answer and how many
// must.
function drawVoters(line) {
  const voters = model.self?.voter_entries ?? model.self?.voters ?? [];
  $("voters").hidden = voters.length === 0;
  if (voters.length === 0) return;
  const needed = Math.floor(voters.length / 2) + 1;
  const there = voters.map((v) => {
    const w = line.find((m) => m.voter === v);
    return { voter: v, up: w?.answers ?? false, holds: w?.says ?? null };
  }).sort((a, b) => b.up - a.up);
  const up = there.filter((v) => v.up).length;
  put($("voters"), "data-enough", up >= needed ? "" : null);
  keep($("seats"), there, (v) => v.voter, () => make("i", ""), (node, v) => {
    put(node, "data-up", v.up ? "" : null);
    put(node, "data-last", there.indexOf(v) === needed - 1 ? "" : null);
    put(node, "title", v.voter);
  });
  const spare = up - needed;
  set($("voters-about"), `${up} of ${plural(voters.length, "voter")} answer, ${needed} must confirm a leader`
    + (spare < 0 ? ": there is no majority." : spare === 0 ? ": none may fail." : `: ${spare} may fail.`));
}
