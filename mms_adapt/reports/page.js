"use strict";
// Rows: [id, speaker, seconds, confidence, word errors, words, character errors, characters, direction, steps, sound,
// picture, second], where `second` is [word errors, character errors, steps] of another system.
// A step is a word that is right, or [said, recognised] with null for nothing. Text is only ever set as text.
const rows = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const list = by("utterances"), search = by("search"), order = by("order"), which = by("which"), more = by("more");
const PAGE = 50;
let shown = [], drawn = 0;

const rate = (errors, length) => (length ? errors / length : errors ? Infinity : 0);
const percent = (value) => (Number.isFinite(value) ? (100 * value).toFixed(1) + " %" : "–");
const words = (steps) => steps.map((step) => (Array.isArray(step) ? step.filter(Boolean).join(" ") : step)).join(" ");
const text = (row) => words(row[9]) + (row[12] ? " " + words(row[12][2]) : "");
const gain = (row) => row[4] - (row[12] ? row[12][0] : row[4]);
const fold = (value) => value.normalize("NFC").toLowerCase();
const haystacks = new Array(rows.length);
const haystack = (i) => (haystacks[i] ??= fold([rows[i][0], rows[i][1] ?? "", text(rows[i])].join("\n")));

const ORDERS = {
  file: (a, b) => a - b,
  wer: (a, b) => rate(rows[b][4], rows[b][5]) - rate(rows[a][4], rows[a][5]),
  errors: (a, b) => rows[b][4] - rows[a][4],
  cer: (a, b) => rate(rows[b][6], rows[b][7]) - rate(rows[a][6], rows[a][7]),
  best: (a, b) => rate(rows[a][4], rows[a][5]) - rate(rows[b][4], rows[b][5]),
  long: (a, b) => (rows[b][2] ?? rows[b][5]) - (rows[a][2] ?? rows[a][5]),
  unsure: (a, b) => (rows[a][3] ?? 1) - (rows[b][3] ?? 1),
  gain: (a, b) => gain(rows[b]) - gain(rows[a]),
  loss: (a, b) => gain(rows[a]) - gain(rows[b]),
  speaker: (a, b) => (rows[a][1] ?? "").localeCompare(rows[b][1] ?? ""),
};
const KINDS = {
  all: () => true,
  wrong: (row) => row[4] > 0,
  right: (row) => row[4] === 0,
  better: (row) => gain(row) > 0,
  worse: (row) => gain(row) < 0,
  played: (row) => Boolean(row[10]),
};

function element(tag, className, content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (content !== undefined) made.textContent = content;
  return made;
}

function word(tag, label, content) {
  const made = element(tag);
  if (label) made.append(element("span", "unseen", label));
  const inner = element("bdi", "", content);
  inner.dir = "auto";
  made.append(inner);
  return made;
}

function step(one) {
  if (!Array.isArray(one)) {
    const right = element("span");
    const inner = element("bdi", "", one);
    inner.dir = "auto";
    right.append(inner);
    return right;
  }
  const [said, heard] = one;
  const pair = element("span", said === null ? "ins" : heard === null ? "del" : "sub");
  if (said !== null) pair.append(word("del", heard === null ? "missed: " : "said: ", said));
  if (heard !== null) pair.append(word("ins", said === null ? "added: " : "recognised: ", heard));
  return pair;
}

function line(steps, rightToLeft, whose) {
  const made = element("p", "line");
  made.dir = rightToLeft ? "rtl" : "ltr";
  if (whose) made.append(element("bdi", "whose", whose));
  for (const one of steps) made.append(step(one), " ");
  if (!steps.length) made.append(element("span", "soft", "(nothing said, nothing recognised)"));
  return made;
}

function card(row) {
  const made = element("li", "card");
  made.tabIndex = -1;
  const about = element("div", "about");
  const name = element("span", "name", row[0]);
  name.dir = "auto";
  about.append(name);
  if (row[1] !== null) {
    const speaker = element("bdi", "", row[1]);
    about.append(speaker);
  }
  if (row[2] !== null) about.append(element("span", "", row[2].toFixed(1) + " s"));
  if (row[3] !== null) about.append(element("span", "", "confidence " + row[3].toFixed(2)));
  made.append(about);
  if (row[12]) {
    about.append(element("span", "rate", row[4] + " → " + row[12][0] + " word errors"));
    made.append(line(row[9], row[8], list.dataset.line0), line(row[12][2], row[8], list.dataset.line1));
  } else {
    about.append(element("span", row[4] ? "rate" : "rate zero", "WER " + percent(rate(row[4], row[5]))));
    about.append(element("span", "", "CER " + percent(rate(row[6], row[7]))));
    made.append(line(row[9], row[8]));
  }
  if (row[10]) {
    const picture = element("img", "spectrogram");
    const player = element("audio");
    player.controls = true;
    player.preload = "none";
    player.src = row[10];
    player.setAttribute("aria-label", "Play " + row[0]);
    if (row[11]) {
      picture.src = row[11];
      picture.alt = "Spectrogram of " + row[0] + ", 0 to 8 kHz";
      picture.style.width = 8 * (row[2] ?? 10) + "rem";
      picture.title = "Click to play from there";
      picture.addEventListener("click", (event) => {
        player.currentTime = (event.offsetX / picture.clientWidth) * (row[2] ?? 0);
        player.play();
      });
      made.append(picture);
    }
    made.append(player);
  }
  return made;
}

function draw() {
  const part = document.createDocumentFragment();
  for (const i of shown.slice(drawn, drawn + PAGE)) part.append(card(rows[i]));
  list.append(part);
  drawn = Math.min(shown.length, drawn + PAGE);
  more.hidden = drawn >= shown.length;
  more.textContent = "Show " + Math.min(PAGE, shown.length - drawn) + " more";
}

function choose() {
  const wanted = fold(search.value.trim()).split(/\s+/).filter(Boolean);
  const kind = KINDS[which.value];
  shown = [];
  for (let i = 0; i < rows.length; i++) {
    if (kind(rows[i]) && wanted.every((one) => haystack(i).includes(one))) shown.push(i);
  }
  const compare = ORDERS[order.value];
  shown.sort((a, b) => compare(a, b) || a - b);
  by("count").textContent = shown.length.toLocaleString("en") + " of " + rows.length.toLocaleString("en");
  list.replaceChildren();
  drawn = 0;
  draw();
}

let waiting = 0;
search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(choose, 120); });
order.addEventListener("change", choose);
which.addEventListener("change", choose);
more.addEventListener("click", () => { const from = drawn; draw(); list.children[from]?.focus(); });
new IntersectionObserver((seen) => { if (seen[0].isIntersecting && !more.hidden) draw(); }, { rootMargin: "600px" })
  .observe(more);
list.addEventListener("play", (event) => {
  for (const other of list.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea")) { if (event.key === "Escape") event.target.blur(); return; }
  const here = document.activeElement.closest?.(".utterances > li");
  if (event.key === "/") { event.preventDefault(); search.focus(); }
  if (event.key === "j") (here ? here.nextElementSibling : list.firstElementChild)?.focus();
  if (event.key === "k") here?.previousElementSibling?.focus();
  if (event.key === "p") { const sound = here?.querySelector("audio"); if (sound) sound.paused ? sound.play() : sound.pause(); }
});

for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th button").forEach((button, column) => {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (tr) => tr.children[column].dataset.value ?? tr.children[column].textContent;
      const body = table.tBodies[0];
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        return isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      };
      body.append(...[...body.rows].sort((a, b) => (down ? compare(b, a) : compare(a, b))));
    });
  });
}

by("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
choose();
