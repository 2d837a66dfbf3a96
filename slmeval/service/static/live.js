/* What is live: a page follows the server's events, and has its main part brought up to date. */

"use strict";

(() => {
  const STATES = ["done", "failed", "cancelled"];
  const CHANGES = ["queued", "started", "planned", "cell", "requeued", "device", ...STATES];
  const PAUSE = 700; // ms between two times that the page is fetched anew
  const WINDOW = 20000; // ms over which a rate is taken
  const AGAIN = 3000; // ms after which a stream that was refused is asked for again

  const at = (id) => document.getElementById(id);
  const main = () => document.querySelector("main");
  const tell = (text) => { at("news").textContent = text; };

  const begun = main();
  if (!begun || !begun.dataset.stream || !window.EventSource) return;
  const follow = begun.dataset.follow;
  const run = begun.dataset.run;
  let source = null;
  let last = begun.dataset.after;

  const say = (text) => { if (at("line")) at("line").textContent = text; };

  function listen() {
    source = new EventSource(`${begun.dataset.stream}?after=${encodeURIComponent(last)}`);
    source.onopen = () => say("live");
    source.onerror = () => {
      say("no connection to the server, trying again");
      // the browser tries again by itself, but not where an error was the answer
      if (source.readyState === EventSource.CLOSED) setTimeout(regain, AGAIN);
    };
    for (const kind of CHANGES) source.addEventListener(kind, (event) => happened(kind, event));
    if (follow === "run") source.addEventListener("progress", (event) => progress(JSON.parse(event.data)));
  }

  async function regain() {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" }).catch(() => null);
    if (answer && answer.redirected) say("you are logged out: reload the page");
    else listen();
  }

  window.addEventListener("pagehide", () => source.close());
  // who comes back to a page that the browser has kept sees what it was then, and no stream
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  /* ---- the main part, fetched anew ---- */

  let waits = null;
  let fetching = false;
  let again = false;

  const refresh = () => {
    if (fetching) { again = true; return; }
    if (waits === null) waits = setTimeout(bring, PAUSE);
  };

  async function bring() {
    waits = null;
    fetching = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      replace(document.importNode(page.querySelector("main"), true), page.title);
    } catch {
      say("this is not up to date: reload the page");
    }
    fetching = false;
    if (again) { again = false; refresh(); }
  }

  function replace(fresh, title) {
    const old = main();
    const line = at("line") ? at("line").textContent : "";
    const open = [...old.querySelectorAll("details[open]")].map((each) => each.id).filter(Boolean);
    const focus = old.contains(document.activeElement) ? mark(document.activeElement) : null;
    const scrolled = [...old.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
    const change = old.dataset.state !== fresh.dataset.state;
    old.replaceWith(fresh);
    document.title = title;
    say(line);
    for (const id of open) { if (at(id)) at(id).open = true; }
    fresh.querySelectorAll(".scroll").forEach((each, place) => { each.scrollLeft = scrolled[place] || 0; });
    const found = focus && [...fresh.querySelectorAll("a, button, input, summary, .scroll")].find((each) => mark(each) === focus);
    if (found) found.focus({ preventScroll: true });
    else if (focus) fresh.focus({ preventScroll: true });
    if (run && change) tell(`Run ${run} is ${fresh.dataset.state}.`);
  }

  /* what tells an element from its neighbours, before and after */
  const mark = (each) => [each.tagName, each.id, each.getAttribute("href"), each.getAttribute("aria-label"), each.textContent.length < 80 ? each.textContent : ""].join(" ");

  /* ---- how far it is ---- */

  let seen = [];
  let job = "";

  function progress(told) {
    if (!at("progress")) { refresh(); return; }
    const now = performance.now();
    if (told.label !== job || (seen.length && told.done < seen[seen.length - 1].done)) { seen = []; job = told.label; }
    seen.push({ now, done: told.done });
    seen = seen.filter((each) => now - each.now < WINDOW);
    at("pace").hidden = false;
    if (at("waiting")) at("waiting").hidden = true;
    at("progress-label").textContent = visible(told.label);
    at("progress").max = Math.max(told.total, 1);
    at("progress").value = told.done;
    at("progress-count").textContent = `${count(told.done)} of ${count(told.total)} ${what(told.unit, told.total)}`;
    const first = seen[0];
    const span = (now - first.now) / 1000;
    // what comes in one burst is the past, told at once: it has no rate
    if (span < 1 || told.done <= first.done) return;
    const rate = (told.done - first.done) / span;
    at("progress-rate").textContent = `${rate < 10 ? rate.toFixed(2) : count(Math.round(rate))} ${what(told.unit)}/s`;
    at("progress-left").textContent = `${length((told.total - told.done) / rate)} left`;
  }

  const count = (number) => Number(number).toLocaleString("en-US");
  const what = (unit, number) => visible(unit === "req" ? "request" : unit) + (number === 1 ? "" : "s");
  const length = (s) => (s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);
  /* labels come from strangers: what would change how its neighbours read is a mark, as on the server */
  const visible = (text) => String(text).slice(0, 120).replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (odd) => `\\u${odd.codePointAt(0).toString(16).padStart(4, "0")}`);

  /* ---- what happens ---- */

  function happened(kind, event) {
    last = event.lastEventId || last;
    refresh();
    if (follow !== "run") return;
    if (kind === "started") tell(`The run is on device ${visible(JSON.parse(event.data).device)}.`);
    if (kind === "cell") tell("One more cell is finished.");
    if (STATES.includes(kind)) { source.close(); say(""); }
  }

  listen();
})();
