// Main: puts the parts together and draws what has changed, once a frame.

import { $, plain, put, set } from "./draw.js";
import { drawElections } from "./elections.js";
import { drawFeed } from "./feed.js";
import { drawHistory } from "./history.js";
import { drawLead, drawLease } from "./lead.js";
import { drawLine } from "./line.js";
import { follow } from "./live.js";
import { model } from "./model.js";
import { drawVerdict } from "./verdict.js";
import { age, clock } from "./words.js";

let pending = null; // what the next frame draws: null, "lease" or "all"

function changed(what) {
  if (pending === null) {
    // A page that is not seen gets no frames, but its title should be right.
    if (document.hidden) setTimeout(draw, 100);
    else requestAnimationFrame(draw);
  }
  if (pending !== "all") pending = what;
}

function draw() {
  const what = pending;
  pending = null;
  drawLease();
  if (what !== "all") return;
  drawFrame();
  drawLead();
  drawVerdict();
  drawLine();
  drawElections();
  drawFeed();
  drawHistory();
  speak();
}

// drawFrame draws what surrounds the panels: whose page this is, and whether
// it is live.
function drawFrame() {
  const s = model.self;
  put(document.documentElement, "data-stale", model.stale ? "" : null);
  const link = $("link");
  put(link, "data-state", model.stale ? "stale" : s ? "live" : "wait");
  if (!model.stale) set(link, s ? "live" : "connecting");
  else if (model.heardAt === null) set(link, "no answer yet; still trying");
  else set(link, `stale since ${clock(model.heardAt)} (${age(Date.now() - model.heardAt)}); reconnecting`);
  if (!s) return;
  set($("about"), `${s.cluster === "default" ? "" : `cluster ${s.cluster} · `}${s.mode} mode · ${s.rule} rule`);
  set($("seen"), `As ${s.name} sees it · Doyen ${s.version}`);
  const leader = model.lease?.leader;
  document.title = plain(model.stale ? "Stale · Doyen" : leader ? `${leader} leads · Doyen` : "No leader · Doyen");
}

let said = "";

// speak tells those who hear the page and do not see it what matters: another
// leader, another verdict, a page that is stale.
function speak() {
  if (!model.self) return;
  const leader = model.lease?.leader;
  let words = leader ? `${leader} leads.` : "There is no leader.";
  if (model.stale) words = "This page is stale: the member behind it does not answer.";
  else if (model.verdict && !model.outdated) words += ` ${$("verdict-words").textContent}`;
  else if (said.startsWith(words)) return; // the verdict is on its way
  if (words === said) return;
  said = words;
  set($("spoken"), words);
}

follow(changed);
setInterval(() => changed("all"), 1000); // for the ages
