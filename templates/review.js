// Asks the server for rows and tells it decisions; everything from the run is set as text.
const one = (selector, place = document) => place.querySelector(selector);
const decisions = { a: "accept", d: "dismiss", u: "unsure" };
const list = one("#rows");
let rows = [], total = 0, current = -1, asked = 0;

function make(tag, text = "", name = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (name) element.className = name;
  return element;
}

async function ask(address, options) {
  const answer = await fetch(address, options);
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error ?? `the server answered ${answer.status}`);
  return content;
}

function tell(text) { one("#told").textContent = text; }

function buttons(entry, subject) {
  const group = make("div", "", "decide");
  for (const decision of Object.values(decisions)) {
    const button = make("button", decision);
    button.type = "button";
    button.setAttribute("aria-pressed", String(entry.decision === decision));
    button.addEventListener("click", () => decide(entry, subject, decision, group));
    group.append(button);
  }
  return group;
}

async function decide(entry, subject, decision, group) {
  const value = entry.decision === decision ? "" : decision;
  try {
    await ask("decide", { method: "POST", body: JSON.stringify({ ...subject, decision: value }) });
  } catch (error) {
    tell(`Not saved: ${error.message}`);
    return;
  }
  entry.decision = value;
  tell("");
  for (const button of group.children) {
    button.setAttribute("aria-pressed", String(button.textContent === value));
  }
}

function tile(row) {
  const item = make("li");
  const show = make("button", "", "show");
  show.type = "button";
  show.setAttribute("aria-label", `${row.image} at full size`);
  const image = make("img");
  image.loading = "lazy";
  image.alt = "";
  image.src = `images/${row.number}/tile`;
  image.addEventListener("error", () => { show.textContent = "no picture"; });
  show.append(image);
  show.addEventListener("click", () => view(row));
  item.append(show, make("span", row.image, "name"),
    make("p", `${row.finding} · ${row.label}, seen as ${row.predicted} · ${row.score} · ${row.tier}`, "facts"),
    make("p", row.reason, "facts"), buttons(row, { finding: row.finding, number: row.number }));
  return item;
}

function view(row) {
  const full = one("#full"), box = one("#box");
  box.hidden = !row.box;
  if (row.box && row.size[0]) {
    const [x0, y0, x1, y1] = row.box, [width, height] = row.size;
    Object.assign(box.style, { left: `${100 * x0 / width}%`, top: `${100 * y0 / height}%`,
      width: `${100 * (x1 - x0) / width}%`, height: `${100 * (y1 - y0) / height}%` });
  }
  full.src = `images/${row.number}/full`;
  full.alt = row.image;
  one("#caption").textContent = `${row.image}: ${row.reason}`;
  one("#viewer").showModal();
}

async function load(more) {
  const start = more ? rows.length : 0, mine = ++asked;
  const query = new URLSearchParams(new FormData(one("#filters")));
  query.set("start", String(start));
  let found;
  try { found = await ask(`offenders?${query}`); } catch (error) { tell(error.message); return; }
  // An answer that came after that of a later question.
  if (mine !== asked) return;
  if (!more) { rows = []; list.replaceChildren(); current = -1; }
  rows.push(...found.rows);
  list.append(...found.rows.map(tile));
  total = found.total;
  one("#count").textContent = `${total} images, ${rows.length} shown`;
  one("#more").hidden = rows.length >= total;
}

function go(step) {
  if (!rows.length) return;
  const next = Math.min(Math.max(current + step, 0), rows.length - 1);
  if (current >= 0) delete list.children[current].dataset.current;
  current = next;
  list.children[current].dataset.current = "";
  list.children[current].scrollIntoView({ block: "nearest" });
  if (current > rows.length - 10 && rows.length < total) load(true);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input, select")) return;
  const key = event.key.toLowerCase();
  if (key === "j" || key === "k") go(key === "j" ? 1 : -1);
  else if (decisions[key] && current >= 0) {
    const row = rows[current];
    decide(row, { finding: row.finding, number: row.number }, decisions[key], one(".decide", list.children[current]));
  } else if (key === "enter" && current >= 0 && !event.target.matches("button")) view(rows[current]);
});
one("#close").addEventListener("click", () => one("#viewer").close());
one("#more").addEventListener("click", () => load(true));
one("#filters").addEventListener("submit", (event) => event.preventDefault());
let pause;
one("#filters").addEventListener("input", () => { clearTimeout(pause); pause = setTimeout(load, 120, false); });

ask("findings").then(({ rows: found }) => {
  one("#findings").append(...found.map((finding) => {
    const item = make("li");
    item.append(make("span", `${finding.finding}: ${finding.sentence} (${finding.verdict}, ${finding.severity})`),
      buttons(finding, { finding: finding.finding }));
    return item;
  }));
}).catch((error) => tell(error.message));
load(false);
