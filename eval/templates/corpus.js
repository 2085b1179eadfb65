"use strict";
const { clips, corpora, titles } = JSON.parse(document.getElementById("clips").textContent);
const PAGE = 50;
const element = (id) => document.getElementById(id);
let found = [];
let first = 0;

const ORDERS = {
  fast: (one, two) => two.rate - one.rate,
  slow: (one, two) => one.rate - two.rate,
  long: (one, two) => two.seconds - one.seconds,
  short: (one, two) => one.seconds - two.seconds,
};

function cell(row, text, name) {
  const added = row.insertCell();
  added.textContent = text;
  if (name) added.className = name;
  return added;
}

function player(row, clip) {
  const added = row.insertCell();
  if (!clip.audio) {
    added.textContent = "–";
    return;
  }
  const audio = document.createElement("audio");
  audio.controls = true;
  audio.preload = "none";
  audio.src = clip.audio;
  added.append(audio);
}

function show() {
  const body = element("rows");
  body.replaceChildren();
  for (const clip of found.slice(first, first + PAGE)) {
    const row = body.insertRow();
    player(row, clip);
    const text = cell(row, clip.text, "");
    text.dir = clip.dir;
    cell(row, clip.rate.toFixed(1), "number");
    cell(row, clip.seconds.toFixed(2), "number");
    const about = cell(row, clip.id, "");
    const more = document.createElement("div");
    more.className = "quiet";
    more.textContent = corpora[clip.corpus] + (clip.speaker ? ", speaker " + clip.speaker : "");
    about.append(more);
    for (const [kind, detail] of clip.kinds) {
      const line = document.createElement("div");
      line.className = "kinds";
      line.textContent = titles[kind] + ": " + detail;
      about.append(line);
    }
  }
  const last = Math.min(first + PAGE, found.length);
  element("shown").textContent = found.length ? `${first + 1} to ${last} of ${found.length} clips` : "no clip";
  element("before").disabled = first === 0;
  element("after").disabled = last >= found.length;
}

function select() {
  const corpus = element("corpus").value;
  const kind = element("kind").value;
  const wanted = element("search").value.toLowerCase();
  found = clips.filter(
    (clip) =>
      (!corpus || clip.corpus === Number(corpus)) &&
      (!kind || (kind === "*" ? clip.kinds.length > 0 : clip.kinds.some((each) => each[0] === kind))) &&
      (!wanted || clip.text.toLowerCase().includes(wanted)),
  );
  const order = ORDERS[element("sort").value];
  if (order) found.sort(order);
  first = 0;
  show();
}

element("controls").addEventListener("input", select);
element("controls").addEventListener("submit", (event) => event.preventDefault());
element("before").addEventListener("click", () => {
  first = Math.max(0, first - PAGE);
  show();
});
element("after").addEventListener("click", () => {
  first += PAGE;
  show();
});
select();
