// What the pages of explorers share. It is put before an explorer's own code, so that each still is one file to the page.
// A page is `mount(root, Plotly, tell)`: an object with `show(frame)`, `busy(text)`, `error(text)`, `destroy()`. Text from data is only ever set as text, never as HTML.

function element(tag, properties = {}, ...children) {
  const el = Object.assign(document.createElement(tag), properties);
  for (const name of ["role", "title"]) if (properties[name]) el.setAttribute(name, properties[name]);
  el.append(...children);
  return el;
}

// Of several traces only the last ones change as the reader moves. `animate` redraws them alone, which is several times as fast as `restyle`.
const instant = { mode: "immediate", frame: { duration: 0, redraw: false }, transition: { duration: 0 } };
const plotConfig = { displaylogo: false, responsive: false, displayModeBar: "hover", showSendToCloud: false, plotlyServerURL: "" };

// Call `act` when the place for a picture gets another size, or the page another theme; what comes back stops that.
function watchLook(plot, act) {
  const resized = new ResizeObserver(act), themed = new MutationObserver(act), dark = matchMedia("(prefers-color-scheme: dark)");
  resized.observe(plot);
  themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light"] });
  dark.addEventListener("change", act);
  return () => { resized.disconnect(); themed.disconnect(); dark.removeEventListener("change", act); };
}

// Where a key leads from a token of the text: its neighbours, the nearest one in the line above or below, the first and the last.
const walks = {
  ArrowLeft: (tokens, i) => i - 1,
  ArrowRight: (tokens, i) => i + 1,
  ArrowUp: (tokens, i) => otherLine(tokens, i, -1),
  ArrowDown: (tokens, i) => otherLine(tokens, i, 1),
  Home: () => 0,
  End: (tokens) => tokens.length - 1,
};

function otherLine(tokens, from, step) {
  const line = (i) => tokens[i] && tokens[i].offsetTop + tokens[i].offsetHeight;
  const away = (i) => Math.abs(tokens[i].offsetLeft - tokens[from].offsetLeft);
  let next = from;
  while (line(next) === line(from)) next += step;
  let best = next;
  for (; tokens[next] && line(next) === line(best); next += step) if (away(next) < away(best)) best = next;
  return best;
}

function fillTable(place, columns, rows) {
  const row = (cells, tag) => element("tr", {}, ...cells.map((cell) => element(tag, { textContent: cell })));
  place.replaceChildren(element("table", {}, element("thead", {}, row(columns, "th")), element("tbody", {}, ...rows.map((cells) => row(cells, "td")))));
}

const referred = (model, name) => model.widget_manager.get_model(model.get(name).replace("IPY_MODEL_", ""));

// plotly.js comes from the kernel, once a page: no network, and no five megabytes in every widget.
async function plotlyFrom(model) {
  const library = await referred(model, "library");
  const wrapped = new Blob(["const module = { exports: {} }, exports = module.exports, define = undefined;\n", library.get("source"), "\nexport default module.exports;"], { type: "text/javascript" });
  const url = URL.createObjectURL(wrapped);
  try { return (await import(/* webpackIgnore: true */ url)).default; }
  finally { URL.revokeObjectURL(url); }
}

// JupyterLab would take arrows, Home and letters for its own commands, from any control that is not a text field.
function keepKeys(event) {
  if (event.target.closest?.(".ll-explorer")) event.target.dataset.lmSuppressShortcuts = "true";
}

// A page as a widget: it follows the traits of `state`, and tells it what the reader did. `follows(page, state)` adds to what is followed.
function asWidget(mount, follows = () => ({})) {
  async function render({ model, el }) {
    document.addEventListener("focusin", keepKeys);              // the same listener is never added twice
    el.textContent = "Loading the picture…";
    globalThis.latentLabPlotly ??= plotlyFrom(model);
    const state = await referred(model, "state");
    const Plotly = await globalThis.latentLabPlotly.catch((error) => {
      globalThis.latentLabPlotly = undefined;                    // the next view tries again
      el.textContent = `plotly.js could not be loaded: ${error}`;
      throw error;
    });
    const page = mount(el, Plotly, (changes) => { state.set(changes); state.save_changes(); });
    const follow = {
      frame: () => page.show(JSON.parse(state.get("frame"))),
      busy: () => page.busy(state.get("busy")),
      error: () => page.error(state.get("error")),
      ...follows(page, state),
    };
    for (const [name, act] of Object.entries(follow)) { state.on(`change:${name}`, act); act(); }
    return () => { for (const [name, act] of Object.entries(follow)) state.off(`change:${name}`, act); page.destroy(); };
  }
  return { render };
}
