// Keeps the console fresh and sends its buttons without leaving the page. Without it the forms work as plain forms.
"use strict";

const EVERY = 3000; // milliseconds between two refreshes
const live = document.getElementById("live");
const offline = document.getElementById("offline");
let busy = false;

function openDetails(root) {
  return [...root.querySelectorAll("details")].map((details) => details.open);
}

// Puts fresh HTML in place, unless the reader is selecting text in it.
function show(html) {
  const selection = document.getSelection();
  if (selection && !selection.isCollapsed && live.contains(selection.anchorNode)) return;
  if (live.innerHTML === html) return;
  const opened = openDetails(live);
  const focused = live.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const scrolled = [...live.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  live.innerHTML = html;
  live.querySelectorAll("details").forEach((details, index) => { details.open = opened[index] || false; });
  live.querySelectorAll(".scroll").forEach((box, index) => { box.scrollLeft = scrolled[index] || 0; });
  if (focused) live.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

async function refresh() {
  if (!busy && !document.hidden) {
    try {
      const answer = await fetch(live.dataset.refresh, { headers: { Accept: "text/html" } });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      show(await answer.text());
      offline.hidden = true;
    } catch {
      offline.hidden = false;
    }
  }
  setTimeout(refresh, EVERY);
}

async function submit(event) {
  event.preventDefault();
  const form = event.target;
  const buttons = document.querySelectorAll("form[data-live] button");
  const said = document.getElementById("said");
  busy = true;
  buttons.forEach((button) => { button.disabled = true; });
  if (form.dataset.busy) said.innerHTML = '<p class="said calm"></p>', said.firstChild.textContent = form.dataset.busy;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!page.getElementById("live")) throw new Error(`HTTP ${answer.status}`);
    said.innerHTML = page.getElementById("said").innerHTML;
    show(page.getElementById("live").innerHTML);
    offline.hidden = true;
  } catch {
    said.replaceChildren();
    offline.hidden = false;
  } finally {
    busy = false;
    buttons.forEach((button) => { button.disabled = false; });
  }
}

// The code of a link stands behind the #, which the browser keeps to itself; it need not stay in the address.
const code = document.getElementById("code");
function takeCode() {
  if (!code || location.hash.length < 2) return;
  code.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
}
takeCode();
addEventListener("hashchange", takeCode);

if (live) {
  document.querySelectorAll("form[data-live]").forEach((form) => form.addEventListener("submit", submit));
  setTimeout(refresh, EVERY);
}
