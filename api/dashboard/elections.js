// Elections: all elections over the group, who leads and has what of each. A group
// with no other election than its own does not show them.

import { $, hue, keep, make, put, set } from "./draw.js";
import { model, now } from "./model.js";
import { age, clock, plural } from "./words.js";

// few is how many elections are listed before a person asks for all.
const few = 8;
let all = false;

$("all-elections").addEventListener("click", () => { all = !all; drawElections(); });

export function drawElections() {
  const list = elections();
  $("elections").hidden = list.length < 2;
  if (list.length < 2) return;
  const unled = list.filter((e) => e.leader === null).length;
  const counts = new Map();
  for (const e of list) if (e.leader !== null) counts.set(e.leader, (counts.get(e.leader) ?? 0) + 1);
  const spread = [...counts].sort().map(([name, n]) => `${name} leads ${n}`).join(", ");
  set($("elections-about"), `${plural(list.length, "election")}${unled ? `, ${unled} without a leader` : ""}. ${spread}${spread ? "." : ""}`);
  const button = $("all-elections");
  const first = list.filter((e, i) => i < few || e.leader === null);
  button.hidden = first.length === list.length;
  set(button, all ? "Show fewer" : `Show all ${list.length}`);
  put(button, "aria-expanded", all);
  keep($("contests"), all ? list : first, (e) => e.name, row, drawRow);
}

// elections are those that the member behind the page knows, the group's own first.
function elections() {
  const known = model.states[model.self?.name]?.elections ?? model.self?.elections ?? {};
  return Object.entries(known).map(([name, e]) => ({ name, ...e }))
    .sort((a, b) => (b.name === "group") - (a.name === "group") || (a.name < b.name ? -1 : 1));
}

function row() {
  return make("li", "",
    make("details", "", make("summary", "", make("span", "name"), make("span", "tags"), make("span", "says")), make("dl", "")));
}

function drawRow(node, e) {
  const [name, tags, leader] = node.querySelector("summary").children;
  put(node, "data-tone", e.leader === null ? "differs" : "good");
  set(name, e.name);
  keep(tags, tagsOf(e), (t) => t, () => make("span", ""), set);
  hue(leader, e.leader);
  set(leader, e.leader ?? "no leader");
  if (node.firstElementChild.open) drawDetails(node.querySelector("dl"), e);
  node.firstElementChild.ontoggle = () => drawDetails(node.querySelector("dl"), e);
}

function tagsOf(e) {
  const tags = [];
  if (e.name === "group") tags.push("the group's own");
  if (e.placed !== null && e.leader !== null && e.placed !== e.leader) tags.push(`moves to ${e.placed}`);
  return tags;
}

function drawDetails(dl, e) {
  const facts = [
    ["term", e.term],
    ["led since", e.since ? `${clock(Date.parse(e.since), now())} (${age(now() - Date.parse(e.since))} ago)` : null],
    ["may lead", e.candidates.join(", ") || "no member"],
    ["placed at", e.placed],
    ["floating addresses", addresses(e.name)],
    ["command", command(e.name)],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  keep(dl, facts, ([what]) => what, () => make("div", "", make("dt", ""), make("dd", "")), (node, [what, value]) => {
    set(node.firstElementChild, what);
    set(node.lastElementChild, String(value));
  });
}

// addresses says which member has each address of an election.
function addresses(name) {
  const holders = new Map();
  for (const [member, s] of Object.entries(model.states)) {
    for (const a of s.elections?.[name]?.addresses ?? []) {
      if (!holders.has(a.address)) holders.set(a.address, []);
      if (a.held) holders.get(a.address).push(member);
    }
  }
  return [...holders].map(([address, members]) => `${address}: ${members.join(", ") || "not held"}`).join("; ");
}

// command says which member runs an election's command.
function command(name) {
  return Object.entries(model.states)
    .filter(([, s]) => s.elections?.[name]?.command?.pid)
    .map(([member, s]) => `${s.elections[name].command.argv0} on ${member}`).join("; ");
}
