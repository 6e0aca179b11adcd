// Small comforts on top of pages that work without them.
"use strict";

// Copy buttons beside addresses and passwords.
if (navigator.clipboard) {
  for (const code of document.querySelectorAll("code[data-copy]")) {
    const b = document.createElement("button");
    b.type = "button";
    b.className = "quiet copy";
    b.textContent = "Copy";
    b.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        b.textContent = "Copied";
      } catch {
        b.textContent = "Select it and copy by hand";
      }
    });
    code.after(" ", b);
  }
}

// Arrow keys and t turn the pages of the week.
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.shiftKey || e.target.closest("input, select, textarea, button")) return;
  const a = document.querySelector(`a[data-key="${CSS.escape(e.key)}"]`);
  if (a) {
    e.preventDefault();
    a.click();
  }
});

// Deliveries that are on their way are looked at again until they are final:
// their trace as JSON, and the page only when that has changed.
let known = null;
async function refresh(delay) {
  const old = document.querySelector("[data-live]");
  if (!old) return;
  await new Promise((done) => setTimeout(done, delay));
  if (!document.hidden && !old.contains(document.activeElement) && !old.querySelector("details[open]")) {
    try {
      const trace = await fetch(old.dataset.live, { credentials: "same-origin", redirect: "error" });
      if (!trace.ok) return;
      const news = await trace.text();
      if (news === known) return refresh(Math.min(delay * 1.3, 60000));
      known = news;
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
      if (!answer.ok) return;
      // The style element has the nonce of that answer, not of this page.
      const text = (await answer.text()).replace(/<style[^]*?<\/style>/g, "");
      const page = new DOMParser().parseFromString(text, "text/html");
      const fresh = page.getElementById(old.id);
      if (fresh) old.replaceWith(fresh);
    } catch {
      delay = 30000;
    }
  }
  refresh(Math.min(delay * 1.3, 60000));
}
refresh(2000);

// A confirmation belongs to one visit: loading the page again does not repeat it.
if (location.search.includes("done=")) {
  const u = new URL(location.href);
  u.searchParams.delete("done");
  history.replaceState(null, "", u);
}
