// Follow live: fetch the same address again and put its figures in place. Without a script the page
// stands still, and says all the same.
"use strict";

const place = document.getElementById("figures");
const seconds = Number(place.dataset.live);

function open_ones(within) {
  return [...within.querySelectorAll("details")].map((one) => one.open);
}

async function again() {
  if (document.hidden || place.contains(document.activeElement)) return;
  place.setAttribute("aria-busy", "true");
  try {
    const reply = await fetch(location.href, { credentials: "same-origin" });
    if (!reply.ok) return;
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
    const came = fresh.getElementById("figures");
    if (!came) return;
    const opened = open_ones(place);
    came.querySelectorAll("details").forEach((one, at) => { one.open = opened[at]; });
    place.replaceChildren(...came.childNodes);
  } catch {
    // The server is away for a moment: what is shown stays, and it is asked again.
  } finally {
    place.removeAttribute("aria-busy");
  }
}

if (seconds > 0) setInterval(again, seconds * 1000);
