"use strict";
// The page is whole without this: it adds what a reader may press.
for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(source);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}

// Bokeh comes compressed; the policy of the page names its hash, so nothing else can run here.
async function loadLibrary() {
  const packed = document.getElementById("library");
  const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  packed.remove();
}

const INK = "#1a1a1a"; // as in palette.py
const night = matchMedia("(prefers-color-scheme: dark)");

// Bokeh draws on a canvas, which knows none of the page's colours.
function paint(view, inked) {
  const style = getComputedStyle(document.documentElement);
  const [ink, muted, lines] = ["--ink", "--muted", "--lines"].map((name) => style.getPropertyValue(name).trim());
  const font = getComputedStyle(document.body).fontFamily;
  for (const axis of [...view.model.below, ...view.model.left]) {
    Object.assign(axis, {
      axis_label_text_color: ink, axis_label_text_font_style: "normal", axis_label_text_font: font,
      major_label_text_color: ink, major_label_text_font: font, major_label_text_font_size: "12px",
      axis_line_color: muted, major_tick_line_color: muted,
    });
  }
  for (const grid of view.model.center) if ("grid_line_color" in grid) grid.grid_line_color = lines;
  for (const [glyph, key] of inked) glyph[key] = { value: ink };
  for (const legend of view.model.above) Object.assign(legend, { label_text_color: ink, label_text_font: font });
}

// What is drawn in the ink of a page by day, as spare colours of arms are.
function findInked(view) {
  const inked = [];
  for (const { glyph } of view.model.renderers) {
    for (const key of ["line_color", "fill_color"]) {
      const color = glyph[key];
      if ((color?.value ?? color) === INK) inked.push([glyph, key]);
    }
  }
  return inked;
}

const HINT = "values at the pointer";

// Values where a pointer is, or a finger taps: below the figure, a line for each arm shown.
function readOut(view, place) {
  const [titles, columns] = view.model.tags;
  const table = Object.assign(document.createElement("table"), { className: "values" });
  const row = (cells) => {
    const line = document.createElement("tr");
    for (const cell of cells) line.insertCell().textContent = cell;
    return line;
  };
  const box = Object.assign(document.createElement("div"), { className: "box", tabIndex: 0, role: "group", ariaLabel: HINT });
  box.append(table);
  place.append(box);
  function tell(choose) {
    const sources = view.model.renderers
      .filter(({ visible, glyph }) => visible && glyph.type === "Scatter")
      .map((renderer) => renderer.data_source.data)
      .filter((data) => columns.every((name) => name in data));
    const x = choose(sources.flatMap((data) => [...data.x]));
    const rows = sources.flatMap((data) => {
      const index = [...data.x].indexOf(x);
      return index < 0 ? [] : [row(columns.map((name) => data[name][index]))];
    });
    if (!rows.length) return;
    table.replaceChildren(row(titles), ...rows);
    table.createCaption().textContent = HINT;
  }
  function tellNearest(event) {
    const { left } = view.canvas_view.el.getBoundingClientRect();
    const away = (x) => Math.abs(view.frame.x_scale.compute(x) + left - event.clientX);
    tell((all) => all.sort((a, b) => away(a) - away(b))[0]);
  }
  for (const kind of ["pointermove", "pointerdown"]) place.firstChild.addEventListener(kind, tellNearest);
  tell((all) => all.sort((a, b) => a - b)[all.length >> 1]);
}

async function show(name, items) {
  const place = document.querySelector(`[data-plot="${name}"]`);
  if (!place) return;
  place.hidden = name === "run"; // until a reader opens one
  const views = [];
  for (const item of items) {
    const own = place.appendChild(document.createElement("div"));
    const [view] = await Bokeh.embed.embed_item(item, own.appendChild(document.createElement("div")));
    readOut(view, own);
    const inked = findInked(view);
    paint(view, inked);
    night.addEventListener("change", () => paint(view, inked));
    views.push(view);
  }
  place.closest("figure")?.classList.add("live");
  return views[0];
}

function makeTable({ columns, rows, curves }, plot) {
  const section = document.getElementById("runs-table");
  const [filter, count, head, body] = ["input", "output", "thead", "tbody"].map((tag) => section.querySelector(tag));
  const shown = (cell) => (Array.isArray(cell) ? cell[1] : cell);
  const value = (cell) => (Array.isArray(cell) ? cell[0] : cell);
  const order = { column: null, up: true };

  function open(index) {
    section.querySelector("[data-plot]").hidden = false;
    const source = plot.model.document.get_model_by_name("curve");
    source.data = { x: curves[index][0], y: curves[index][1] };
    const title = section.querySelector(".opened");
    title.textContent = columns.map((name, column) => `${name} ${shown(rows[index][column])}`).join(", ");
    title.scrollIntoView({ block: "nearest" });
  }

  function draw() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = rows.map((row, index) => index).filter((index) => {
      const pairs = columns.map((name, column) => `${name}=${shown(rows[index][column])}`);
      const text = ` ${pairs.join(" ").toLowerCase()} `;
      return words.every((word) => text.includes(word.includes("=") ? ` ${word} ` : word)); // seed=1 is not seed=10
    });
    if (order.column !== null) {
      const key = (index) => value(rows[index][order.column]);
      const compare = (a, b) => (a === null) - (b === null) || (order.up ? 1 : -1) * (a < b ? -1 : a > b ? 1 : 0);
      found.sort((a, b) => compare(key(a), key(b)));
    }
    count.textContent = `${found.length} of ${rows.length} runs`;
    body.replaceChildren(...found.map((index) => {
      const line = document.createElement("tr");
      for (const cell of rows[index]) line.insertCell().textContent = shown(cell);
      const last = line.insertCell();
      if (plot && curves[index]) {
        const button = Object.assign(document.createElement("button"), { type: "button", textContent: "curve" });
        button.addEventListener("click", () => open(index));
        last.append(button);
      }
      return line;
    }));
    [...head.rows[0].cells].forEach((cell, column) => {
      const way = order.column === column ? (order.up ? "ascending" : "descending") : "none";
      if (column < columns.length) cell.setAttribute("aria-sort", way);
    });
  }

  const titles = head.insertRow();
  columns.forEach((name, column) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
    const cell = Object.assign(document.createElement("th"), { scope: "col" });
    button.addEventListener("click", () => {
      Object.assign(order, { column, up: order.column === column ? !order.up : true });
      draw();
    });
    cell.append(button);
    titles.append(cell);
  });
  titles.append(document.createElement("td"));
  filter.addEventListener("input", draw);
  section.hidden = false;
  draw();
}

async function enliven() {
  const { plots, runs } = JSON.parse(document.getElementById("data").textContent);
  const views = {};
  if (window.DecompressionStream) {
    await loadLibrary();
    for (const [name, item] of Object.entries(plots)) views[name] = await show(name, item);
  }
  makeTable(runs, views.run);
}

enliven();
