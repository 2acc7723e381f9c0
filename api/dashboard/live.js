// Live: the stream of events, and the questions asked now and then. It keeps
// the model up to date and reconnects for ever.

import { hear, learn, model } from "./model.js";

// The stream tells of the lease this often, so it is never quiet for long.
const lease = 250;
// silence is when a page that hears nothing is stale.
const silence = 3000;
// reopen is how long a stream that says nothing is given.
const reopen = 8000;
// The members are asked no more often than this, so often while something is
// the matter, and so often when all is well.
const leastPause = 2000, troubledPause = 3000, calmPause = 10000;

const kinds = ["state", "leader", "member", "election", "hook", "address", "health", "maintenance", "lease"];

// follow keeps the model up to date and calls changed with what has changed.
export function follow(changed) {
  let stream = null, opened = 0, lastEvent = performance.now();
  let asking = false, askedAt = -Infinity, due = Infinity;

  function open() {
    stream?.close();
    opened = performance.now();
    stream = new EventSource(`events?lease=${lease}ms`);
    for (const kind of kinds) stream.addEventListener(kind, (m) => take(kind, JSON.parse(m.data)));
  }

  function take(kind, e) {
    lastEvent = performance.now();
    const before = JSON.stringify([model.lease?.leader, model.lease?.electing]);
    const news = hear(kind, e);
    model.stale = false;
    if (news) want();
    const same = before === JSON.stringify([model.lease?.leader, model.lease?.electing]);
    changed(same && !news ? "lease" : "all");
  }

  // watch notices silence, and begins anew when the browser has given up or
  // the connection is open and dead.
  function watch() {
    const t = performance.now();
    const stale = t - lastEvent > silence;
    if (stale !== model.stale) {
      model.stale = stale;
      changed("all");
    }
    const dead = stream.readyState === EventSource.CLOSED ? leastPause : reopen;
    if (stale && t - opened > dead) open();
    if (!stale && !document.hidden && t >= due && !asking) ask();
  }

  // want has the members asked soon.
  function want() { due = Math.min(due, Math.max(performance.now(), askedAt + leastPause)); }

  async function ask() {
    asking = true;
    askedAt = performance.now();
    due = Infinity;
    const at = Date.now();
    const leader = model.leaderSince;
    try {
      const [diag, members, history, ready] = await Promise.all([
        get("diag?timeout=1500ms"), get("members"), get("history"), get("ready", 503),
      ]);
      learn({ diag, members, history, ready }, at, model.leaderSince === leader);
    } catch {
      // What is known stays, and shows its age; the stream says if all is lost.
    }
    asking = false;
    const calm = model.verdict?.status === "agreed" && !model.outdated;
    due = Math.min(due, askedAt + (calm ? calmPause : troubledPause));
    changed("all");
  }

  open();
  setInterval(watch, 250);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { want(); watch(); } });
}

// get asks one call for JSON; also is another status that is an answer.
async function get(path, also) {
  const r = await fetch(path, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(8000) });
  if (!r.ok && r.status !== also) throw new Error(`${path}: ${r.status}`);
  return r.json();
}
