// Model: everything the page knows, and what follows from it. It draws nothing
// and asks for nothing.

import { step } from "./words.js";

// How much of what happens is kept.
const stepsKept = 300, burstsKept = 8;

// burstGap parts what happens into bursts: an election is over well within it.
const burstGap = 4000;

export const model = {
  self: null, // this member's own state, as the stream began with it
  lease: null, // how the leadership is held now
  leaderSince: null, // by this member's clock, as the stream told it
  members: [], // the line of succession
  states: {}, // every member's own state, or an error
  verdict: null,
  ready: null,
  history: [],
  askedAt: null, // when the members were asked last
  outdated: true, // the leader has changed since
  bursts: [], // what has happened since the page was opened, newest first
  openedAt: Date.now(),
  heardAt: null, // when the stream said something last; null: never
  stale: false,
  skew: null, // this member's clock minus the browser's
};

// now is the time by the clock of the member behind the page, so that what it
// tells can be compared with it.
export const now = () => Date.now() + (model.skew ?? 0);

// hear takes in one event of the stream, and tells whether it is news to a
// person.
export function hear(kind, e) {
  const at = Date.parse(e.time);
  // An event is never early, so the largest difference is the best; it may
  // shrink slowly, should a clock be set back.
  const skew = at - Date.now();
  model.skew = model.skew === null || skew > model.skew ? skew : model.skew + (skew - model.skew) * 0.02;
  const silent = model.heardAt === null ? 0 : Date.now() - model.heardAt;
  model.heardAt = Date.now();
  switch (kind) {
    case "state":
      if (model.self !== null) note("gap", { ms: silent, restarted: model.self.pid !== e.pid || model.self.start_time !== e.start_time }, at);
      model.leaderSince = e.leader_since ? Date.parse(e.leader_since) : null;
      model.self = e;
      model.lease = { ...leaseOf(e), left_ms: 0, of_ms: 0 };
      model.outdated = true;
      return true;
    case "address":
      model.self = { ...model.self, addresses: e.addresses };
      break;
    case "lease":
      model.lease = e;
      return false;
    case "leader":
      model.lease = { ...model.lease, leader: e.leader, term: e.term, is_leader: e.self, left_ms: 0, of_ms: 0 };
      model.leaderSince = e.since ? Date.parse(e.since) : at;
      model.outdated = true;
      record(e, at);
  }
  if (step(kind, e, model.self.name) === null) return false;
  note(kind, e, at);
  return true;
}

const leaseOf = (s) => ({ leader: s.leader, term: s.term, is_leader: s.is_leader, electing: s.electing, phase: s.phase });

// record keeps the history up with the stream until it is asked for again. One
// leadership is one row: its leader may raise the term, or be out of sight for a
// while.
function record(e, at) {
  const [latest] = model.history, time = new Date(at).toISOString();
  if (latest && e.leader === latest.leader && (latest.to === null || e.term === latest.term)) {
    model.history[0] = { ...latest, term: e.term, to: null, end_reason: "" };
    return;
  }
  if (latest && latest.to === null) model.history[0] = { ...latest, to: time, end_reason: e.reason };
  if (e.leader === null) return;
  model.history.unshift({ term: e.term, leader: e.leader, from: time, to: null, reason: e.reason, detection_ms: null, confirm_ms: null, hook_ms: null });
}

// note adds a step to the burst under way, or begins another.
function note(kind, e, at) {
  const last = model.bursts[0];
  if (last && at - last.steps.at(-1).at < burstGap) {
    last.steps.push({ kind, e, at });
    if (last.steps.length > stepsKept) last.steps.shift();
    return;
  }
  model.bursts.unshift({ began: at, steps: [{ kind, e, at }] });
  model.bursts.length = Math.min(model.bursts.length, burstsKept);
}

// learn takes in what the members answered when they were asked.
export function learn({ diag, members, history, ready }, asked, current) {
  model.states = diag.member_states;
  model.verdict = diag.verdict;
  model.members = members;
  model.history = history;
  model.ready = ready;
  model.askedAt = asked;
  if (current) model.outdated = false;
}

// views is what each member says: the line of succession first, then those that
// else was asked, such as a voter that is not there.
export function views() {
  const listed = model.members.map((m) => m.name);
  const others = Object.keys(model.states).filter((name) => !listed.includes(name)).sort();
  const all = [...model.members, ...others.map((name) => ({ name, role: null, rank: null, alive: false }))];
  const favourite = most(Object.values(model.states).map((s) => s.leader).filter((l) => l));
  return all.map((m) => view(m, favourite));
}

function view(m, favourite) {
  const own = model.self !== null && m.name === model.self.name;
  let s = model.states[m.name] ?? null;
  if (own && s && !s.error && model.lease) s = { ...s, ...leaseOf(model.lease) };
  const answers = s !== null && !s.error;
  return {
    ...m, own, asked: s !== null, answers, error: s?.error ?? null, state: answers ? s : null,
    leads: answers && s.is_leader, says: answers ? s.leader : null,
    differs: answers && !model.outdated && (s.leader ?? null) !== (favourite ?? null),
    next: answers && !model.outdated && model.ready?.would_lead === m.name && model.lease?.leader != null,
  };
}

// most is the value that occurs most often; undefined of none.
function most(values) {
  const count = new Map();
  for (const v of values) count.set(v, (count.get(v) ?? 0) + 1);
  return [...count].sort((a, b) => b[1] - a[1])[0]?.[0];
}

// since is when the present leadership began; without a leader, when the last
// one ended; null if that is not known.
export function since() {
  const latest = model.history[0];
  const leader = model.lease?.leader ?? null;
  if (leader === null && latest?.to && !model.leaderSince) return Date.parse(latest.to);
  return model.leaderSince;
}
