// A table whose rows can be opened, and a picture of the same. The same code runs as a widget and in a saved file, where no row opens. `page.js` comes before this file.

function build(root) {
  const parts = {
    busy: element("span", { className: "ll-busy", role: "status" }),
    error: element("div", { className: "ll-error", role: "alert", hidden: true }),
    plot: element("div", { className: "ll-plot", role: "figure" }),
    said: element("p", { className: "ll-said" }),
    table: element("div", { className: "ll-scroll", tabIndex: 0, role: "region" }),
  };
  root.classList.add("ll-page", "ll-board");
  root.replaceChildren(parts.error, element("div", { className: "ll-picture" }, parts.plot, parts.busy), parts.said, parts.table);
  return parts;
}

function drawRow({ name, cells }, frame, open) {
  const opened = frame.opened === name, head = element("th", { scope: "row" });
  if (open && frame.opens) {
    const button = element("button", { type: "button", className: "ll-open", textContent: name, title: opened ? "Close" : "Open its explorers below" });
    button.setAttribute("aria-expanded", opened);
    button.addEventListener("click", () => open(name));
    head.append(button);
  } else head.textContent = name;
  const lines = (cell) => cell.map((textContent, i) => element("div", { textContent, className: i ? "ll-quiet" : "" }));
  return element("tr", { className: opened ? "ll-opened" : "" }, head, ...cells.map((cell) => element("td", {}, ...lines(cell))));
}

function drawTable(place, frame, open) {
  const at = [...place.querySelectorAll("button")].indexOf(document.activeElement);          // who went there by keyboard stays there
  const head = element("tr", {}, ...frame.columns.map((textContent) => element("th", { textContent, scope: "col" })));
  place.setAttribute("aria-label", frame.label);
  place.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...frame.rows.map((row) => drawRow(row, frame, open)))));
  if (at >= 0) place.querySelectorAll("button")[at]?.focus();
}

export function mount(root, Plotly, tell = null) {
  const parts = build(root);
  let frame = null, shown = null;
  const tellError = tellerIn(parts.error), drawn = drawing(tellError);

  const open = tell && ((name) => tell({ wish: JSON.stringify([`${Date.now()}-${Math.random()}`, "open", name]) }));

  const picture = () => (frame.narrow && root.clientWidth < 640 ? frame.narrow : frame.figure);

  function dress() {                                     // a line that a narrow picture would cut is left out: it stands in the text
    const color = getComputedStyle(root).color, subtitle = picture().layout.title?.subtitle?.text ?? "";
    return Plotly.relayout(parts.plot, { "font.color": color, "title.subtitle.font.color": color, "title.subtitle.text": root.clientWidth < 640 ? "" : subtitle });
  }

  function draw() {                                      // again only if it is another picture
    const next = JSON.stringify(picture());
    if (next === shown) return drawn.next(() => root.isConnected && Plotly.relayout(parts.plot, { autosize: true }).then(dress));
    shown = next;
    const { data, layout } = JSON.parse(next);
    return drawn.next(() => Plotly.react(parts.plot, data, layout, plotConfig).then(dress));
  }

  function show(next) {
    frame = next;
    parts.plot.setAttribute("aria-label", frame.summary);
    parts.said.textContent = tell ? frame.summary : "";  // in a file it stands above
    drawTable(parts.table, frame, open);
    return draw();
  }

  const unwatch = watchLook(parts.plot, () => frame && draw());

  return {
    show,
    busy(text) { parts.busy.textContent = text; root.setAttribute("aria-busy", Boolean(text)); },
    error: tellError,
    destroy() { unwatch(); Plotly.purge(parts.plot); },
  };
}

export default asWidget(mount);
