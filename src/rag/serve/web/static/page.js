// What the page does better with a script; it asks, answers and browses without.
// Nothing here makes markup of text: the server escapes what it sends, and what is made here is text.

const HISTORY = "asked";
const MOST = 50;

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/* Questions asked before, in this browser alone */

function remembered() {
  try {
    const rows = JSON.parse(localStorage.getItem(HISTORY) ?? "[]");
    return Array.isArray(rows) ? rows.filter((row) => typeof row?.search === "string" && typeof row?.q === "string") : [];
  } catch {
    return []; // storage is off, or somebody else's
  }
}

function remember(rows) {
  try {
    localStorage.setItem(HISTORY, JSON.stringify(rows.slice(0, MOST)));
  } catch {
    // storage is off or full: there is no history then
  }
}

function keepThisOne() {
  const q = new URLSearchParams(location.search).get("q")?.trim();
  if (q && document.getElementById("done")) {
    remember([{ q, search: location.search }, ...remembered().filter((row) => row.search !== location.search)]);
  }
}

function showHistory() {
  const section = document.getElementById("history");
  if (!section) return;
  const rows = remembered();
  section.hidden = rows.length === 0;
  section.querySelector("ul").replaceChildren(
    ...rows.map((row) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = `/${row.search.startsWith("?") ? row.search : ""}`;
      link.textContent = row.q;
      const forget = document.createElement("button");
      forget.type = "button";
      forget.className = "plain";
      forget.textContent = "Forget";
      forget.setAttribute("aria-label", `Forget “${row.q}”`);
      forget.addEventListener("click", () => {
        remember(remembered().filter((other) => other.search !== row.search));
        showHistory();
        (section.hidden ? document.getElementById("q") : document.getElementById("forget"))?.focus();
      });
      item.append(link, forget);
      return item;
    }),
  );
}

/* Keeping an answer */

function say(text) {
  const status = document.querySelector(".copied");
  if (!status) return;
  status.classList.remove("hidden");
  status.textContent = text;
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied.`);
    return true;
  } catch {
    say("This browser does not let the page copy; select the text and copy it.");
    return false;
  }
}

async function copyFrom(source) {
  if (await copy(source.value, "Markdown")) return;
  const details = source.closest("details");
  if (details) details.open = true;
  source.select();
}

function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("button, a");
  if (!target) return;
  if (target.dataset.copy) {
    copyFrom(document.querySelector(target.dataset.copy));
  } else if (target.dataset.copyLink) {
    copy(new URL(target.dataset.copyLink, location.href).href, "Link");
  } else if (target.dataset.json) {
    event.preventDefault();
    const answer = JSON.parse(document.querySelector(target.dataset.json).textContent);
    download("answer.json", `${JSON.stringify(answer, null, 1)}\n`);
  } else if ("openAll" in target.dataset) {
    const said = all(".said");
    const open = said.some((one) => !one.open);
    for (const one of said) one.open = open;
    target.textContent = open ? "Close all evidence" : "Open all evidence";
  } else if (target.id === "forget") {
    remember([]);
    showHistory();
    document.getElementById("q")?.focus();
  } else if (target.id === "stop") {
    window.stop();
    const status = target.parentElement;
    status.className = "faint";
    status.replaceChildren("Stopped; what was said so far was checked.");
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = event.target.closest(".said[open]");
  if (open) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});

/* Lists that answer as one types; where only a part of the entries is on the page, the server is asked */

const folded = (text) => text.toLowerCase().replaceAll("ß", "ss"); // as Python folds, of what is common

function filter(form) {
  const list = document.querySelector(form.dataset.filter);
  const count = document.getElementById("count");
  const rows = all("li", list);
  const whole = list.dataset.complete === "yes";
  const apply = () => {
    const { q, topic, since, until } = Object.fromEntries(new FormData(form));
    const words = folded(q).split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const { text, topics, date } = row.dataset;
      row.hidden = !(
        words.every((word) => text.includes(word)) &&
        (!topic || JSON.parse(topics).some((one) => folded(one) === folded(topic))) &&
        (!since || (date && date >= since)) &&
        (!until || (date && date <= until))
      );
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${count.dataset.of}`;
    document.getElementById("none").hidden = shown > 0;
    const kept = [...new FormData(form)].filter(([, value]) => value);
    const query = new URLSearchParams(kept).toString();
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
  };
  if (whole) {
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      apply();
    });
  }
}

/* The map: a topic of the legend, and a passage of the list, stand out while they are pointed at */

function light(chart) {
  const legend = all(".legend li");
  const dim = (colour) => {
    for (const shape of all(".group, .label", chart)) {
      shape.classList.toggle("off", colour !== null && !shape.classList.contains(colour));
    }
  };
  for (const item of legend) {
    const colour = [...item.querySelector(".swatch").classList].find((name) => /^c\d$/.test(name));
    for (const name of ["pointerenter", "focusin"]) item.addEventListener(name, () => dim(colour));
    for (const name of ["pointerleave", "focusout"]) item.addEventListener(name, () => dim(null));
  }
}

/* An answer may still be coming in; its buttons work from the beginning, the rest waits for the whole page */

function whole() {
  for (const form of all("form[data-filter]")) filter(form);
  for (const chart of all(".map.large")) light(chart);
  keepThisOne();
  showHistory();
}

if (document.readyState === "loading") addEventListener("DOMContentLoaded", whole);
else whole();
addEventListener("pageshow", (event) => event.persisted && showHistory());
