// Words: how reasons, verdicts and times are said to a person. Everything here
// is a function of its arguments.

// Why something was refused or ended, as the end of a sentence.
const reasons = {
  "stale-term": "it has seen a newer term",
  "held-by-another": "its promise to another still runs",
  "just-started": "it has just started and does not vote yet",
  "another-preferred": "the rule puts another first",
  "wrong-electorate": "its list of voters differs",
  "lease-too-long": "the lease is longer than it may promise",
  "asleep": "it was paused for longer than a lease",
  "future-term": "the term is far ahead of its clock",
  "not-a-voter": "it has no vote",
  "not-eligible": "that member may not lead",
  "leads-too": "it leads itself",
  "spent-term": "the term has been given up",
  "elected": "elected",
  "succeeded": "took over in a planned hand-over",
  "merged": "two groups met",
  "requested": "asked to step down",
  "preempted": "a preferred member took over",
  "hook-failed": "its hook failed",
  "unhealthy": "its health check failed",
  "stood-aside": "it stands aside, and another may lead",
  "departed": "left the group",
  "lease-lost": "could not renew its lease",
  "keeper-fired": "its keeper ended it",
  "handing-over": "it hands over",
  "leader-silent": "fell silent",
  "leader-died": "its agent died",
  "leader-deaf": "it heard no answer",
  "carrier-lost": "lost the link of its floating address",
  "alone": "no other member was there to ask",
  "outvoted": "not enough voters confirmed",
  "clock-beyond": "its clock is beyond the year 2255, where terms end",
  "terms-used-up": "no term is left to claim",
};

// because says a reason; one this page does not know is shown as it came.
export const because = (reason) => reasons[reason] ?? String(reason ?? "").replaceAll("-", " ");

// ending says why a leadership ended, which may be that another began.
export const ending = (reason) => ({ elected: "another was elected", succeeded: "handed over" }[reason] ?? because(reason));

export const plural = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;

// names lists a few names as in a sentence.
export function names(list, most = 3) {
  if (list.length === 0) return "no member";
  const shown = list.slice(0, most);
  const rest = list.length - shown.length;
  if (rest > 0) return `${shown.join(", ")} and ${plural(rest, "other")}`;
  const last = shown.pop();
  return shown.length ? `${shown.join(", ")} and ${last}` : last;
}

// span says how long something takes, as exactly as a person wants to know.
export function span(ms) {
  const s = Math.max(ms, 0) / 1000;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${Math.floor(s * 10) / 10} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

// age is a span that counts up once a second: no more than the eye can follow.
export const age = (ms) => (ms < 60000 ? `${Math.floor(Math.max(ms, 0) / 1000)} s` : span(ms));

// All times are in UTC, as those in findings and in the log of a host are.
const clockForm = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", timeZone: "UTC" });
const dayForm = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
const yearForm = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
const dateOf = (t) => t.toISOString().slice(0, 10);

// clock says when, with the day unless it is today's.
export function clock(time, now = Date.now()) {
  const t = new Date(time), today = new Date(now);
  if (dateOf(t) === dateOf(today)) return `${clockForm.format(t)} UTC`;
  const day = t.getUTCFullYear() === today.getUTCFullYear() ? dayForm : yearForm;
  return `${day.format(t)}, ${clockForm.format(t)} UTC`;
}

// verdict is a verdict as a headline and a tone. views is what each member says.
export function verdict(v, views) {
  const answering = views.filter((w) => w.answers);
  switch (v.status) {
    case "agreed":
      return ["good", views.length === 1 ? `All is well. ${v.leader} is alone and leads.`
        : `All is well. All ${plural(views.length, "member")} say that ${v.leader} leads.`];
    case "degraded": {
      const split = v.findings.find((f) => f.what === "split-possible" && f.degrades);
      const out = views.filter((w) => !w.died && (w.error !== null || w.alive === false)).length;
      if (split && answering.length === 1) return ["warn", `${v.leader} leads alone. ${plural(out, "member")} ${out === 1 ? "is" : "are"} out of reach and may have a leader of their own.`];
      if (split) return ["warn", `${v.leader} leads here. ${plural(out, "member")} ${out === 1 ? "is" : "are"} out of reach and may have a leader of their own.`];
      return ["warn", `${v.leader} leads, but something needs a hand.`];
    }
    case "disagreed":
      return ["bad", "The members do not agree who leads."];
    case "two-leaders":
      return ["bad", `${names(answering.filter((w) => w.leads).map((w) => w.name))} each say that they lead.`];
    case "no-leader":
      return ["bad", "No member leads."];
  }
  return ["warn", String(v.status)];
}

// failover says whether the next failover would work.
export function failover(ready, leader, views) {
  if (views.some((w) => w.name === ready.would_lead && w.error !== null)) return `${ready.would_lead} would lead next, and does not answer.`;
  if (ready.ready) {
    return `If ${leader} failed now, ${ready.would_lead} would lead, usually within ${span(ready.usual_failover_ms)}, at worst ${span(ready.worst_failover_ms)}.`;
  }
  const why = ready.reasons.filter((r) => !r.startsWith("note:"));
  return why.length ? `Failover would not work now: ${why.join("; ")}.` : "";
}

// step is one event of the stream as a sentence, with a tone; null if it says
// nothing to a person. self is the member whose stream it is.
export function step(kind, e, self) {
  switch (kind) {
    case "leader":
      if (e.leader !== null) return ["good", `${e.leader} leads`, because(e.reason)];
      return ["bad", ...lost(e, self)];
    case "member":
      if (e.change === "join") return ["plain", `${e.member.name} joined`, e.member.role === "candidate" ? "" : e.member.role];
      if (e.change === "leave") return ["warn", `${e.member.name} is gone`, ""];
      return ["plain", `${e.member.name} ${e.member.eligible ? "may lead" : "may not lead now"}`, ""];
    case "hook": {
      const at = `${self}: hook ${e.event}`;
      // A leader's checks come every few seconds.
      if (e.event === "check" && !e.error && (e.running || e.exit === 0)) return null;
      if (e.running) return ["plain", `${at} runs`, ""];
      if (e.exit === 0 && !e.error) return ["plain", `${at} is done`, span(e.duration_ms)];
      if (e.overtaken) return ["plain", `${at} was ended`, "something newer has made it pointless"];
      return ["bad", `${at} failed`, e.error || `exit status ${e.exit}`];
    }
    case "address": {
      const names = e.addresses.map((a) => a.address).join(", ");
      if (e.over) return ["plain", `${self}: ${e.what} has ended`, names];
      if (e.evidence) return ["bad", `${self}: ${e.what}`, e.evidence];
      const said = { taken: "took and announced", "put-back": "put back and announced", "not-held": "no longer holds", "given-up": "gave up" }[e.what];
      return said ? ["plain", `${self} ${said} ${names}`, ""] : null;
    }
    case "health":
      if (e.healthy) return ["plain", `${self} is healthy`, ""];
      return ["bad", `${self} is sick`, e.error];
    case "maintenance":
      if (e.until === null) return ["plain", `${self} stands aside no longer`, ""];
      return ["plain", `${self} stands aside`, `until ${clock(e.until)}`];
    case "election":
      return election(e, self);
  }
  return null;
}

// lost says how a leader went, as a headline and a reason. A member that was
// paused has lost sight of a leader that may be well.
export function lost(e, self) {
  if (e.reason === "asleep") return [`${self} names no leader`, because(e.reason)];
  return [e.previous === null ? "There is no leader" : `${e.previous} leads no more`, because(e.reason)];
}

function election(e, self) {
  const why = e.reason ? because(e.reason) : "";
  switch (e.what) {
    case "claimed": return ["wait", `${self} claims the leadership`, ""];
    case "confirmed": return ["good", `${e.peer} confirms`, ""];
    case "objected": return ["warn", `${e.peer} objects`, why];
    case "promised": return ["wait", `${self} promises its vote to ${e.peer}`, ""];
    case "refused-claim": return ["warn", `${self} refuses the claim of ${e.peer}`, why];
    case "won": return ["good", `${self} has won`, ""];
    case "lost": return e.peer ? ["bad", `${e.peer} leads no more`, why] : ["warn", `${self} gives its claim up`, why];
    case "other-leader": return ["bad", `${e.peer} leads as well`, ""];
    case "awoke": return ["warn", `${self} was paused for longer than a lease`, ""];
    case "stayed": return ["warn", `${self} goes on leading, because no other member may`, why];
    case "numbered": return null;
  }
  return ["plain", [e.what, e.peer].filter(Boolean).join(" "), why];
}
