// The page can be read without this: it sorts, filters, lists offenders and keeps decisions.
const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const data = JSON.parse(one("#data").textContent);
const make = (tag, text = "", className = "") =>
  Object.assign(document.createElement(tag), { textContent: text, className });
// Control characters and halves of letters are no text.
const plain = (text) => text.replace(/[\p{Cc}\p{Cs}]/gu, "\uFFFD");
const address = (name) => {
  if (!data.root) return "";
  try {
    const path = name.split("/").map(encodeURIComponent).join("/");
    return name.startsWith("/") ? "file://" + path : data.root + path;
  } catch { return ""; }  // a name that is no text has no address
};

// Decisions ----------------------------------------------------------------------------------
const place = "shortcut-finder " + data.run;
const decisions = { findings: { ...data.decisions.findings }, images: structuredClone(data.decisions.images) };
try {
  const kept = JSON.parse(localStorage.getItem(place)) ?? {};
  Object.assign(decisions.findings, kept.findings);
  for (const [image, marks] of Object.entries(kept.images ?? {})) {
    decisions.images[image] = { ...decisions.images[image], ...marks };
  }
} catch { /* no storage here: decisions last until the page is closed */ }
const decided = (finding, image) =>
  (image === undefined ? decisions.findings[finding] : decisions.images[image]?.[finding]) ?? "";

function decide(finding, image, decision) {
  // The same again takes it back; "" stays, so that it also takes back what the page came with.
  const value = decided(finding, image) === decision ? "" : decision;
  if (image === undefined) decisions.findings[finding] = value;
  else decisions.images[image] = { ...decisions.images[image], [finding]: value };
  try { localStorage.setItem(place, JSON.stringify(decisions)); } catch { /* as above */ }
  showDecisions();
  filter();
}

function press(group, decision) {
  for (const button of all("button", group)) {
    button.setAttribute("aria-pressed", button.dataset.decide === decision);
  }
}

function showDecisions() {
  for (const article of all("article[data-finding]")) {
    const finding = article.dataset.finding;
    article.dataset.decision = decided(finding);
    press(one(".review", article), decided(finding));
    for (const tile of all("[data-image]", article)) {
      tile.dataset.decision = decided(finding, data.images[tile.dataset.image]);
    }
  }
  for (const cell of all("#overview .decision")) {
    cell.textContent = decided(cell.parentElement.dataset.finding) || "–";
  }
  for (const row of all("#listing tbody tr")) {
    one(".decision", row).textContent =
      decided(row.dataset.finding, data.images[row.dataset.image]) || "–";
  }
  if (viewed) press(one("#viewer .review"), decided(...subject()));
  const findings = rows.length ? rows : all("article[data-finding]");
  const done = findings.filter((each) => decided(each.dataset.finding)).length;
  if (one("#decided")) one("#decided").textContent = `${done} of ${findings.length} decided`;
}

function download() {
  const filled = (marks) => Object.fromEntries(Object.entries(marks).filter(([, mark]) => mark));
  const images = Object.entries(decisions.images).map(([image, marks]) => [image, filled(marks)]);
  const content = {
    schema_version: 1,
    run: data.run,
    findings: filled(decisions.findings),
    images: Object.fromEntries(images.filter(([, marks]) => Object.keys(marks).length)),
  };
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }));
  link.download = "decisions.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Findings: filter, sort, walk ---------------------------------------------------------------
const PART = 100;  // rows of a table that are added at a time
const rows = all("#overview tbody tr");
let unfolded = PART;
// Only the strongest of very many findings have an article of their own.
const articleOf = (row) => document.getElementById(row.dataset.anchor);
const textOf = (row, key) => one(`[data-key="${key}"]`, row)?.textContent ?? "";

function filter() {
  const form = one("#filters");
  if (!form) return;
  const wanted = ["label", "kind", "severity", "verdict"].map((key, n) => [key, one(`[data-filter="${n}"]`).value]);
  const decision = one('[data-filter="decision"]').value;
  const text = one('[data-filter="text"]').value.toLowerCase();
  let count = 0;
  for (const row of rows) {
    const article = articleOf(row);
    const fits = wanted.every(([key, value]) => !value || textOf(row, key) === value)
      && (!decision || (decided(row.dataset.finding) || "open") === decision)
      && (row.textContent + (article ? one("h3", article).textContent : "")).toLowerCase().includes(text);
    count += fits;
    row.hidden = !fits || count > unfolded;
    if (article) article.hidden = !fits;
  }
  one("#matching").textContent = count > unfolded
    ? `${count} of ${rows.length} fit, the first ${unfolded} are shown` : `${count} of ${rows.length} shown`;
  const further = one("#further");  // only where there are more rows than that
  if (further) further.hidden = count <= unfolded;
}

const collator = new Intl.Collator("en", { numeric: true });

function sort(button) {
  const header = button.closest("th");
  const key = button.dataset.sort;
  const numeric = key in rows[0].dataset;
  const first = numeric ? "descending" : "ascending";
  const other = numeric ? "ascending" : "descending";
  const order = header.getAttribute("aria-sort") === first ? other : first;
  all("#overview th").forEach((each) => each.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", order);
  const sign = order === "descending" ? -1 : 1;
  const compare = (a, b) => numeric
    ? a.dataset[key] - b.dataset[key]
    : collator.compare(textOf(a, key), textOf(b, key));
  rows.sort((a, b) => sign * compare(a, b) || b.dataset.order - a.dataset.order);
  one("#overview tbody").append(...rows);
  one("#articles").append(...rows.map(articleOf).filter(Boolean));
  unfolded = PART;
  filter();
}

function current() {
  // The finding in focus, or the first one that is still on the screen.
  const focused = document.activeElement.closest?.("article[data-finding]");
  return focused ?? all("article[data-finding]:not([hidden])")
    .find((article) => article.getBoundingClientRect().bottom > innerHeight / 4);
}

function walk(step) {
  const articles = all("article[data-finding]:not([hidden])");
  const focused = articles.indexOf(document.activeElement.closest?.("article[data-finding]"));
  const next = focused < 0 ? articles.indexOf(current()) : focused + step;
  const article = articles[Math.min(Math.max(next, 0), articles.length - 1)];
  article?.focus({ preventScroll: true });
  article?.scrollIntoView();
}

// A large picture ----------------------------------------------------------------------------
const viewer = one("#viewer");
let viewed = null;
const subject = () =>
  [viewed.closest("article").dataset.finding, data.images[viewed.dataset.image]];

function view(tile) {
  viewed = tile;
  one(".viewer-picture").replaceChildren(one(".square", tile).cloneNode(true));
  one("#viewer-name").textContent = one("figcaption .name", tile).textContent;
  one("#viewer-note").textContent = one("figcaption .note", tile)?.textContent ?? "";
  const known = tile.dataset.image !== undefined;
  const link = one("#viewer-link");
  const target = known ? address(data.images[tile.dataset.image]) : "";
  link.hidden = !target;
  if (target) link.href = target;
  one(".review", viewer).hidden = !known;
  press(one(".review", viewer), known ? decided(...subject()) : "");
  if (!viewer.open) viewer.showModal();
}

function step(tile, by) {
  const tiles = all(".tile", tile.closest(".tiles"));
  return tiles[(tiles.indexOf(tile) + by + tiles.length) % tiles.length];
}

// Offenders ----------------------------------------------------------------------------------
let listed = PART;

const tier = one("#tier");  // only where a run has both tiers
const tierOf = (likely) => likely ? "likely" : "sure";

function offenderRow([rank, image, finding, label, predicted, score, reason, box, likely]) {
  const name = data.images[image];
  const row = make("tr");
  row.dataset.image = image;
  row.dataset.finding = data.texts[finding];
  const cell = make("td", "", "carrier");
  const target = address(name);
  const link = make(target ? "a" : "span");
  if (target) Object.assign(link, { href: target, target: "_blank", rel: "noopener" });
  if (data.icons[image]) {
    link.append(Object.assign(make("img"), { src: data.icons[image], alt: "" }));
  }
  link.append(Object.assign(make("bdi", plain(name), "name"), { title: plain(name) }));
  cell.append(link);
  const named = (text) => {
    const cell = make("td");
    cell.append(Object.assign(make("bdi", plain(text), "name"), { title: plain(text) }));
    return cell;
  };
  const shape = box.includes(null) ? "whole image" : `${box[0]}, ${box[1]} to ${box[2]}, ${box[3]}`;
  row.append(make("td", rank, "num"), cell, named(data.texts[label]), named(data.texts[predicted]),
    make("td", plain(data.texts[finding])), ...(tier ? [make("td", tierOf(likely), tierOf(likely))] : []), make("td", score.toFixed(2), "num"), make("td", shape),
    named(data.texts[reason]), make("td", decided(data.texts[finding], name) || "–", "decision"));
  return row;
}

function list() {
  const needle = one("#needle").value.toLowerCase();
  const carried = one("#carried").value;
  const hits = data.rows.filter(([, image, finding, label, predicted, , reason, , likely]) =>
    (!carried || data.texts[finding] === carried)
    && (!tier?.value || tierOf(likely) === tier.value)
    && (!needle || [data.images[image], ...[finding, label, predicted, reason].map((n) => data.texts[n])]
      .some((text) => text.toLowerCase().includes(needle))));
  one("#listing tbody").replaceChildren(...hits.slice(0, listed).map(offenderRow));
  one("#found").textContent = `${hits.length.toLocaleString("en")} of ${data.rows.length.toLocaleString("en")} rows`;
  one("#more").hidden = hits.length <= listed;
}

// Wiring -------------------------------------------------------------------------------------
const heat = one("#heat");
const KEYS = { a: "accept", d: "dismiss", u: "unsure" };

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea");
  if (!heat || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  const tile = viewer.open ? viewed : document.activeElement.closest?.(".tile");
  const arrow = { arrowleft: -1, arrowright: 1 }[key];
  if (key === "m") heat.click();
  else if (key in KEYS && tile?.dataset.image !== undefined) {
    decide(tile.closest("article").dataset.finding, data.images[tile.dataset.image], KEYS[key]);
  } else if (key in KEYS && !viewer.open && current()) decide(current().dataset.finding, undefined, KEYS[key]);
  else if ((key === "j" || key === "k") && !viewer.open) walk(key === "j" ? 1 : -1);
  else if (arrow && tile) {
    if (viewer.open) view(step(tile, arrow));
    else one(".open", step(tile, arrow)).focus();
    event.preventDefault();
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (event.target === viewer) viewer.close();
  if (!button) return;
  const { decide: decision, sort: key, step: by } = button.dataset;
  if (decision && viewer.open) decide(...subject(), decision);
  else if (decision) decide(button.closest("article").dataset.finding, undefined, decision);
  else if (key) sort(button);
  else if (by) view(step(viewed, Number(by)));
  else if (button.matches(".open")) view(button.closest(".tile"));
  else if (button.matches("[data-close]")) viewer.close();
  else if (button.id === "download") download();
  else if (button.id === "more") { listed += PART; list(); }
  else if (button.id === "further") { unfolded += PART; filter(); }
});

if (heat) {
  all(".keys, .review, #filters, #download, #seek, #listing").forEach((part) => { part.hidden = false; });
  all(".filters").forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));
  one("#filters")?.addEventListener("input", () => { unfolded = PART; filter(); });
  one("#seek").addEventListener("input", () => { listed = PART; list(); });
  viewer.addEventListener("close", () => { one(".open", viewed).focus(); viewed = null; });
  list();
  showDecisions();
  filter();
}
