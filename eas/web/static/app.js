// Loads levels of trees on demand and refreshes pages while tasks run. All links work without this script.
"use strict";

document.addEventListener("toggle", async (event) => {
  const node = event.target;
  if (!node.open || !node.dataset.source || node.dataset.filled) return;
  node.dataset.filled = "yes";
  const place = document.createElement("div");
  place.textContent = "...";
  node.append(place);
  try {
    const answer = await fetch(node.dataset.source);
    if (!answer.ok) throw new Error(String(answer.status));
    const part = new DOMParser().parseFromString(await answer.text(), "text/html");
    place.replaceChildren(...part.body.childNodes);
  } catch {
    place.textContent = "cannot be read now";
    delete node.dataset.filled;
  }
}, true);

let paused = false;
const pause = document.getElementById("pause");
pause?.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
});

function busy(main) {
  const chosen = document.getSelection();
  const inside = main.contains(document.activeElement) && document.activeElement !== main;
  return paused || document.hidden || inside || (chosen && !chosen.isCollapsed) || main.querySelector("details[open]");
}

async function refresh() {
  const main = document.getElementById("main");
  const seconds = Number(main.dataset.refresh);
  if (!seconds) return;
  if (!busy(main)) {
    try {
      const answer = await fetch(location.href);
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.getElementById("main");
        if (fresh && !busy(main)) main.replaceWith(document.adoptNode(fresh));
      }
    } catch { /* server unreachable: retry at the next refresh */ }
  }
  setTimeout(refresh, 1000 * seconds);
}

if (document.getElementById("main").dataset.refresh) setTimeout(refresh, 5000);
