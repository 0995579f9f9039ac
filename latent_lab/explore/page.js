// What the pages of explorers share. It is put before an explorer's own code, so that each still is one file to the page.
// A page is `mount(root, Plotly, tell)`: an object with `show(frame)`, `busy(text)`, `error(text)`, `destroy()`. Text from data is only ever set as text, never as HTML.
// If it also has `place()`, `goTo(place)`, `chosen()` and `caption()`, and calls `announce(root)` whenever the reader has moved, it gets what every page can do, if its explorer follows it: undo, redo, keep, copy as code.

function element(tag, properties = {}, ...children) {
  const el = Object.assign(document.createElement(tag), properties);
  for (const name of ["role", "title"]) if (properties[name]) el.setAttribute(name, properties[name]);
  el.append(...children);
  return el;
}

// Of several traces only the last ones change as the reader moves. `animate` redraws them alone, which is several times as fast as `restyle`.
const instant = { mode: "immediate", frame: { duration: 0, redraw: false }, transition: { duration: 0 } };
const plotConfig = { displaylogo: false, responsive: false, displayModeBar: "hover", showSendToCloud: false, plotlyServerURL: "" };

const tellerIn = (place) => (text) => { place.textContent = text; place.hidden = !text; };

// Pictures are drawn one after another: `next(draw)`. One that fails is told of, and does not keep the next from being drawn. What changes as the reader moves is drawn at most once
// an animation frame: `soon(draw)`; if a newer move takes its place, nothing is lost.
function drawing(tellError) {
  let last = Promise.resolve(), failed = false, pending = false;

  function next(draw) {
    last = last.then(draw).then((drawn) => {
      if (failed) tellError("");
      failed = false;
      return drawn;
    }, (error) => {
      console.error(error);
      tellError(`The picture could not be drawn: ${error.message ?? error}`);
      failed = true;
    });
    return last;
  }

  function soon(draw) {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => last.then(() => {
      pending = false;
      return draw();
    }).catch(() => {}));
  }

  return { next, soon };
}

// What was changed so far is seen before anything slow begins.
const painted = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));

// Call `act` when a place becomes wider or narrower, or its ink another; what comes back stops that. How high it is follows from what is written in it, and nothing is drawn again for that.
function watchLook(place, act) {
  const look = () => `${place.clientWidth} ${getComputedStyle(place).color}`;
  let last = look();
  const check = () => { if (look() !== last) { last = look(); act(); } };
  const resized = new ResizeObserver(check), themed = new MutationObserver(check), dark = matchMedia("(prefers-color-scheme: dark)");
  resized.observe(place);
  themed.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light"] });
  dark.addEventListener("change", check);
  return () => { resized.disconnect(); themed.disconnect(); dark.removeEventListener("change", check); };
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
  if (!tokens[next]) return from;                                // there is no other line
  let best = next;
  for (; tokens[next] && line(next) === line(best); next += step) if (away(next) < away(best)) best = next;
  return best;
}

const announce = (root) => root.dispatchEvent(new CustomEvent("ll-moved"));

// The call that shows a view again: what the kernel wrote, with what was chosen on the page since in its place; what is null is as it would be by itself.
function spell({ call, chosen, order }, here) {
  const all = { ...chosen, ...here };
  return `${[call, ...order.filter((name) => all[name] != null).map((name) => `${name}=${all[name]}`)].join(", ")})`;
}

// Where the clipboard is closed the text is selected, so that the reader can copy it.
async function copyText(text, place) {
  try {
    await navigator.clipboard.writeText(text);
    return "copied";
  } catch {
    getSelection().selectAllChildren(place);
    return "selected; press Ctrl+C";
  }
}

const typing = (target) => target.isContentEditable || target.tagName === "TEXTAREA" || (target.tagName === "INPUT" && !["range", "checkbox", "radio", "button"].includes(target.type));

function buildMemory(root) {
  const button = (textContent, title, keys) => element("button", { type: "button", className: "ll-do", textContent, title: `${title}${keys ? ` (${keys})` : ""}` });
  const parts = {
    undo: button("Undo", "Back to what was seen before", "Ctrl+Z"), redo: button("Redo", "Forward again", "Ctrl+Shift+Z"), keep: button("Keep", "Put this view by, to come back to it"),
    copy: button("Copy as code", "The call that shows this view again"), done: element("span", { className: "ll-done-what", role: "status" }),
    code: element("code", { className: "ll-code" }), kept: element("div", { className: "ll-kept" }),
  };
  parts.spelled = element("details", { className: "ll-details ll-as-code" }, element("summary", { textContent: "As code" }), parts.code);
  const bar = element("div", { className: "ll-memory", role: "group" }, parts.done, parts.undo, parts.redo, parts.keep, parts.copy);
  bar.setAttribute("aria-label", "This view");
  root.prepend(bar);
  root.append(parts.kept, parts.spelled);
  return parts;
}

function drawKept(place, rows, back, forget) {
  place.hidden = !rows.length;
  const cells = rows.map(({ caption, code, known }, i) => {
    const go = known ? element("button", { type: "button", className: "ll-return", textContent: caption, dir: "auto" }) : caption;
    if (known) go.addEventListener("click", () => back(i));
    const away = element("button", { type: "button", className: "ll-do", textContent: "✕", title: "Forget this view" });
    away.setAttribute("aria-label", `Forget: ${caption}`);
    away.addEventListener("click", () => forget(i));
    return element("tr", {}, element("td", {}, go), element("td", {}, element("code", { textContent: code })), element("td", {}, away));
  });
  const head = element("tr", {}, ...["Kept view", "As code"].map((textContent) => element("th", { textContent, scope: "col" })), element("td"));
  place.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...cells)));
}

// Undo, redo, keep and copy. With a kernel the kernel remembers, because it knows of other texts and examples; a file remembers where on it the reader was. A page with a history of its own has `steps()`: whether it can
// go back and forward by itself; `undo()` and `redo()` do, and beyond their ends the kernel is asked.
function remembering(root, page, tell = null) {
  const parts = buildMemory(root), same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  let spelled = null, kept = [], steps = [0, 0], past = [], at = 0, resting = null;

  const own = () => page.steps?.() ?? [false, false];
  const code = () => (spelled ? spell(spelled, page.chosen()) : "");
  const say = (verb, ...which) => tell({ ...page.place(), wish: JSON.stringify([`${Date.now()}-${Math.random()}`, verb, ...which]) });   // and where the reader is by now

  function refresh() {
    const [back, forward] = own(), [before, after] = tell ? steps : page.steps ? [0, 0] : [past.length - 1 - at, at];
    parts.undo.setAttribute("aria-disabled", !(back || before > 0));
    parts.redo.setAttribute("aria-disabled", !(forward || after > 0));
    parts.code.textContent = code();
  }

  function note() {                                              // in a file: where the reader rests is remembered
    clearTimeout(resting);
    const place = page.place();
    if (!place || same(place, past[at])) return;
    past = [place, ...past.slice(at)].slice(0, 100);
    at = 0;
    refresh();
  }

  function go(to) {
    note();
    if (!(to in past)) return;
    at = to;
    page.goTo(past[at]);
    refresh();
  }

  const undo = () => (own()[0] ? page.undo() : tell ? say("undo") : page.undo || (note(), go(at + 1)));
  const redo = () => (own()[1] ? page.redo() : tell ? say("redo") : page.redo || (note(), go(at - 1)));

  function keep() {
    const place = page.place();
    if (!place) return told("this cannot be kept");
    if (tell) say("keep");
    else if (!kept.some((row) => same(row.place, place))) showKept([...kept, { caption: page.caption(), code: code(), place }]);
    told("kept, below");
  }

  function showKept(rows) {
    kept = rows;
    const back = (i) => (tell ? say("return", i) : (note(), page.goTo(kept[i].place)));
    const forget = (i) => (tell ? say("forget", i) : showKept(kept.filter((_, k) => k !== i)));
    drawKept(parts.kept, kept.map((row) => ({ ...row, known: Boolean(tell || row.place) })), back, forget);
  }

  function onMoved() {
    refresh();
    clearTimeout(resting);
    if (!tell) resting = setTimeout(note, 400);
  }

  function onKey(event) {
    const key = event.key.toLowerCase(), ours = (root.closest(".ll-explorer") ?? root).contains(event.target);
    if (!ours || !(event.ctrlKey || event.metaKey) || event.altKey || !["z", "y"].includes(key) || typing(event.target)) return;
    event.preventDefault();
    event.stopPropagation();
    if (key === "y" || event.shiftKey) redo();
    else undo();
  }

  function told(text) {
    parts.done.textContent = text;
    setTimeout(() => { parts.done.textContent = ""; }, 4000);
  }

  async function copy() {
    if (!page.place()) return told("this has no call of its own");
    parts.spelled.open = true;                                   // so that there is something to select
    told(await copyText(code(), parts.code));
  }

  for (const [name, act] of Object.entries({ undo, redo, keep, copy })) parts[name].addEventListener("click", () => { if (parts[name].getAttribute("aria-disabled") !== "true") act(); });
  root.addEventListener("ll-moved", onMoved);
  document.addEventListener("keydown", onKey, true);
  showKept([]);
  refresh();

  return {
    code(next) { spelled = next; refresh(); },
    kept: showKept,
    steps(next) { steps = next; refresh(); },
    note,
    destroy() { clearTimeout(resting); document.removeEventListener("keydown", onKey, true); root.removeEventListener("ll-moved", onMoved); },
  };
}

function fillTable(place, columns, rows) {
  const row = (cells, tag) => element("tr", {}, ...cells.map((cell) => element(tag, { textContent: cell })));
  place.replaceChildren(element("table", {}, element("thead", {}, row(columns, "th")), element("tbody", {}, ...rows.map((cells) => row(cells, "td")))));
}

const referred = (model, name) => model.widget_manager.get_model(model.get(name).replace("IPY_MODEL_", ""));

// plotly.js comes from the kernel, once a page: no network, and no five megabytes in every widget.
async function plotlyFrom(library) {
  const wrapped = new Blob(["const module = { exports: {} }, exports = module.exports, define = undefined;\n", library.get("source"), "\nexport default module.exports;"], { type: "text/javascript" });
  const url = URL.createObjectURL(wrapped);
  try { return (await import(/* webpackIgnore: true */ url)).default; }
  finally { URL.revokeObjectURL(url); }
}

// All views of a page wait for the same; after a failure the next one tries again.
function loadPlotly(library) {
  return globalThis.latentLabPlotly ??= plotlyFrom(library).catch((error) => { globalThis.latentLabPlotly = undefined; throw error; });
}

// JupyterLab would take arrows, Home and letters for its own commands, from any control that is not a text field. What is pressed with Ctrl or Cmd stays its own, but for undo and redo.
function keepKeys(event) {
  if (!event.target.closest?.(".ll-explorer")) return;
  const ours = !(event.ctrlKey || event.metaKey) || ["z", "y"].includes(event.key.toLowerCase());
  if (ours) event.target.dataset.lmSuppressShortcuts = "true";
  else delete event.target.dataset.lmSuppressShortcuts;
}

// A page as a widget: it follows the traits of `state`, and tells it what the reader did. `follows(page, state)` adds to what is followed.
function asWidget(mount, follows = () => ({})) {
  async function render({ model, el }) {
    if (!globalThis.latentLabKeys) window.addEventListener("keydown", globalThis.latentLabKeys = keepKeys, true);   // before JupyterLab hears of it; every widget brings this file anew, and one of them is enough
    el.textContent = "Loading the picture…";
    const state = await referred(model, "state");
    const Plotly = await referred(model, "library").then(loadPlotly).catch((error) => {
      el.textContent = `plotly.js could not be loaded: ${error}`;
      throw error;
    });
    const tell = (changes) => { state.set(changes); state.save_changes(); }, page = mount(el, Plotly, tell), memory = page.place && state.get("code") && remembering(el, page, tell);
    const follow = {
      frame: () => page.show(JSON.parse(state.get("frame"))),
      busy: () => page.busy(state.get("busy")),
      error: () => page.error(state.get("error")),
      ...follows(page, state),
    };
    if (memory) Object.assign(follow, { code: () => memory.code(JSON.parse(state.get("code"))), kept: () => memory.kept(JSON.parse(state.get("kept"))), steps: () => memory.steps(state.get("steps")) });
    for (const [name, act] of Object.entries(follow)) { state.on(`change:${name}`, act); act(); }
    return () => { for (const [name, act] of Object.entries(follow)) state.off(`change:${name}`, act); memory?.destroy(); page.destroy(); };
  }
  return { render };
}

// A page in a file: plotly.js is packed beside it, and there is no kernel.
async function plotlyInside() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (letter) => letter.charCodeAt(0));
  const source = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  (0, eval)(source);
  return globalThis.Plotly;
}

// Pages about the same tokens share which of them is selected; at first it is that of the first page.
function linkTokens(opened) {
  const about = ({ frame }) => JSON.stringify([frame.positions, frame.tokens]), at = ({ page }) => page.place?.()?.position;
  const tellOthers = (one) => {
    for (const other of opened) if (other !== one && at(one) !== undefined && at(other) !== undefined && about(one) === about(other) && at(one) !== at(other)) other.page.goTo({ ...other.page.place(), position: at(one), thought: Infinity });
  };
  for (const one of opened) one.root.addEventListener("ll-moved", () => tellOthers(one));
  tellOthers(opened[0]);
}

async function openFile(mounts, shown) {
  const Plotly = await plotlyInside(), opened = [];
  for (const [i, { explorer, frame }] of shown.entries()) {
    const root = document.getElementById(`page${i}`), page = mounts[explorer](root, Plotly), memory = page.place && frame.memory && remembering(root, page);
    if (memory) { memory.code(frame.memory.code); memory.kept(frame.memory.kept); }
    await page.show(frame);
    opened.push({ root, page, frame, memory });
  }
  linkTokens(opened);
  for (const { memory } of opened) memory?.note();
}
