// Tells the page when something has changed, so that it loads itself anew; without it pages simply stay as they are.
"use strict";
(() => {
  const shown = () => document.getElementById("live");
  const say = (words) => { const at = shown(); if (at && at.textContent !== words) at.textContent = words; };
  let waiting = false, source = null;

  // What was done is said once: an address that is kept, sent on or loaded again does not say it anew.
  const here = new URL(location.href);
  if (here.searchParams.has("done")) {
    here.searchParams.delete("done");
    history.replaceState(history.state, "", here);
  }

  function changed() {
    if (document.hidden) { waiting = true; return; }
    waiting = false;
    // Whoever is writing into a form, or has selected text, is not disturbed.
    const active = document.activeElement;
    if (active && active.closest("main") && active.matches("input:not([type=hidden]), select, textarea")) { waiting = true; return; }
    document.body.dispatchEvent(new CustomEvent("driftline-changed"));
    document.dispatchEvent(new CustomEvent("driftline-redraw"));
  }

  function connect() {
    source = new EventSource("/live");
    source.addEventListener("open", () => say("Live"));
    source.addEventListener("changed", changed);
    source.addEventListener("error", () => say("Not live: trying again"));
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden && waiting) changed(); });
  document.addEventListener("focusout", () => { if (waiting) setTimeout(() => { if (waiting) changed(); }, 200); });
  addEventListener("pagehide", () => { if (source) source.close(); });
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  connect();
})();
