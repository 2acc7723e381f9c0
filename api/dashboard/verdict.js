// Verdict: what the members' answers add up to, in plain words, and what to do.

import { $, keep, make, put, set } from "./draw.js";
import { model, views } from "./model.js";
import { age, failover, verdict } from "./words.js";

export function drawVerdict() {
  const panel = $("verdict"), v = model.verdict;
  if (!v) return;
  const line = views();
  let [tone, words] = verdict(v, line);
  if (model.stale) tone = "stale";
  else if (model.outdated) [tone, words] = ["wait", "The leadership has just changed. Asking every member …"];
  put(panel, "data-tone", tone);
  set($("verdict-words"), words);
  const fresh = !model.outdated && !model.stale;
  set($("verdict-ready"), fresh && model.ready && v.leader ? failover(model.ready, v.leader, line) : "");
  put($("verdict-ready"), "data-ready", model.ready?.ready ? "" : null);
  set($("verdict-age"), model.askedAt === null ? "" : asked(Date.now() - model.askedAt));

  // What was found before the leader changed is not true any more.
  const found = model.outdated ? [] : v.findings;
  const troubles = found.filter((f) => f.degrades), notes = found.filter((f) => !f.degrades);
  list($("findings"), troubles);
  const more = $("notes");
  more.hidden = notes.length === 0;
  set(more.querySelector("summary"), `Good to know (${notes.length})`);
  list(more.querySelector("ul"), notes);
}

const asked = (ms) => (ms < 2000 ? "asked just now" : `asked ${age(ms)} ago`);

function list(parent, findings) {
  keep(parent, findings, (f) => `${f.what} ${f.member} ${f.election ?? ""} ${f.evidence}`,
    () => make("li", "", make("p", "what"), make("p", "evidence"), make("p", "advice")),
    (node, f) => {
      const [what, evidence, advice] = node.children;
      set(what, [f.what.replaceAll("-", " "), f.member, f.election && `election ${f.election}`].filter(Boolean).join(" · "));
      set(evidence, f.evidence);
      set(advice, f.advice);
    });
}
