// A question, the thoughts about it and the answer, step by step; what each layer would say; and the answers that come of other thoughts. All answers of a history are
// in the frame, so looking, undoing and redoing happen in the browser, also while the kernel is busy, and without one; only a new fork is asked for. `page.js` comes before this file.

function buildDebugger(root) {
  const button = (textContent, title) => element("button", { type: "button", className: "ll-button", textContent, title });
  const parts = {
    error: element("div", { className: "ll-error", role: "alert", hidden: true }),
    busy: element("span", { className: "ll-busy", role: "status" }),
    was: element("div", { className: "ll-answer ll-was" }), now: element("div", { className: "ll-answer ll-changed" }),
    sentence: element("p", { className: "ll-sentence" }),
    scroller: element("div", { className: "ll-scroller", tabIndex: 0, role: "application" }),
    said: element("p", { className: "ll-said" }), words: element("div", { className: "ll-words" }),
    title: element("h4"), kind: element("select"), amount: element("input", { type: "number", step: "any" }), word: element("input", { type: "text", size: 10 }), question: element("select"),
    fork: button("Think on"), hint: element("p", { className: "ll-hint" }),
    history: element("div", { className: "ll-history", role: "listbox" }),
    map: element("div", { className: "ll-plot ll-map", role: "figure" }), quality: element("p", { className: "ll-hint" }),
    table: element("div", { className: "ll-scroll", tabIndex: 0, role: "region" }),
    keys: element("p", { className: "ll-hint ll-keys" }),
  };
  const heading = (textContent) => element("h4", { textContent });
  parts.details = element("details", { className: "ll-details" }, element("summary", { textContent: "As a table" }), parts.table);
  parts.said.setAttribute("aria-live", "polite");
  parts.sentence.setAttribute("aria-live", "polite");
  parts.history.setAttribute("aria-label", "Answers: arrows walk along them");
  parts.table.setAttribute("aria-label", "Table of steps");
  for (const [name, label] of [["kind", "What it reads instead"], ["amount", "How much"], ["word", "Word"], ["question", "Question"]]) parts[name].setAttribute("aria-label", label);
  parts.fork.type = "submit";
  parts.form = element("form", { className: "ll-form" }, element("label", {}, "Let it be ", parts.kind), parts.amount, parts.word, parts.question, parts.fork);
  root.classList.add("ll-page", "ll-debugger");
  root.replaceChildren(parts.error,
    element("div", { className: "ll-answers" }, parts.was, parts.now), element("div", { className: "ll-line" }, parts.sentence, parts.busy),
    parts.scroller,
    parts.keys,
    element("div", { className: "ll-two" },
      element("section", {}, parts.title, parts.said, parts.form, parts.hint, parts.words, heading("Answers so far"), parts.history),
      element("section", {}, heading("Where thoughts lie"), parts.map, parts.quality)), parts.details);
  return parts;
}

// ---- what is drawn

const percent = (chance) => `${(100 * chance).toFixed(chance < 0.0995 ? 1 : 0)} %`;
const wordOf = (cell) => (cell.end ? "end" : cell.text || "∅");
const thoughtNumber = (step) => (step.startsWith("thought ") ? +step.slice(8) : 0);
const steps = (n) => `${n} step${n === 1 ? "" : "s"}`;

// An answer in large letters; what is not as in the other one is underlined, and the place where that begins is marked.
function drawAnswer(place, name, branch, first, note = "") {
  const tokens = Object.entries(branch.cells).filter(([step]) => !thoughtNumber(step)).map(([step, cell]) => {
    const number = +step.slice(6), word = element("span", { className: `ll-word${first && number >= first ? " ll-differs" : ""}${number === first ? " ll-first" : ""}${cell.end ? " ll-end" : ""}`, textContent: cell.end ? "end" : cell.text, title: `${step}: ${percent(cell.chance)}` });
    word.style.setProperty("--chance", `${100 * cell.chance}%`);
    return word;
  });
  place.replaceChildren(element("h5", {}, name, element("small", { textContent: `${steps(branch.steps)}${note}` })), element("p", { className: "ll-text", dir: "auto" }, ...tokens));
}

function drawSteps(parts, frame, at, choose) {
  const now = frame.branches[at], was = frame.branches[0], tokens = frame.columns.findIndex((step) => !thoughtNumber(step));
  const place = (step, i, tag, className, ...children) => {
    const cell = element(tag, { className: `${className}${thoughtNumber(step) ? "" : " ll-said-step"}${i === tokens && tokens > 0 ? " ll-speaks" : ""}` }, ...children);
    cell.dataset.step = step;
    return cell;
  };
  const card = (branch, other) => (step, i) => {
    const cell = branch.cells[step];
    if (!cell) return place(step, i, "td", "ll-card ll-none", "–");
    const moved = other && other.cells[step]?.text !== cell.text, level = element("span", { className: "ll-level" }, element("i"));
    level.firstChild.style.width = `${100 * cell.chance}%`;
    const card = place(step, i, "td", `ll-card${cell.edit ? " ll-edited" : ""}${moved ? " ll-moved" : ""}${cell.end ? " ll-end" : ""}`, element("b", { textContent: wordOf(cell), dir: "auto" }), level, element("small", { textContent: percent(cell.chance) }), ...(cell.edit ? [element("em", { textContent: cell.edit })] : []));
    card.title = cell.said;
    return card;
  };
  const shade = (layer) => (step, i) => {
    const words = now.cells[step]?.lens ?? [], [text, chance] = words[words.length - 1 - layer] ?? ["", 0];
    const cell = place(step, i, "td", "ll-layer", element("span", { textContent: text }));
    if (words.length) cell.style.setProperty("--shade", `${Math.round(4 + 66 * chance)}%`);
    if (text) cell.title = `${frame.layers[layer]}: “${text}”, ${percent(chance)}`;
    return cell;
  };
  const row = (name, className, cells) => element("tr", { className }, element("th", { scope: "row", textContent: name }), ...cells);
  const head = element("tr", {}, element("th", { textContent: "step", scope: "col" }), ...frame.columns.map((step, i) => {
    const go = element("button", { type: "button", className: "ll-go", textContent: thoughtNumber(step) ? step : step.slice(6), tabIndex: -1 });
    go.addEventListener("click", () => choose(step));
    return place(step, i, "th", "ll-head", go);
  }));
  const lens = frame.layers.map((name, i) => row(name, "ll-lens", frame.columns.map(shade(i))));
  const what = element("tr", { className: "ll-what" }, element("th", { colSpan: frame.columns.length + 1 }, element("span", { textContent: "what each layer would say" })));
  parts.scroller.replaceChildren(element("table", { className: "ll-steps" }, element("thead", {}, head),
    element("tbody", {}, row("as it was", "ll-row-was", frame.columns.map(card(was))), ...(at ? [row("now", "ll-row-now", frame.columns.map(card(now, was)))] : [])), element("tbody", { className: "ll-layers" }, what, ...lens)));
}

function drawWords(place, frame, at, step) {
  const named = [[frame.branches[0], at ? "as it was" : ""], ...(at ? [[frame.branches[at], "now"]] : [])].filter(([branch]) => branch.cells[step]);
  place.replaceChildren(...named.map(([branch, name]) => {
    const words = branch.cells[step].top.map(([text, chance]) => {
      const line = element("li", {}, element("i"), element("span", { textContent: text || "∅", dir: "auto" }), element("b", { textContent: percent(chance) }));
      line.firstChild.style.width = `${100 * chance}%`;
      return line;
    });
    return element("div", { className: "ll-option" }, element("h5", { textContent: `${thoughtNumber(step) ? "It would say" : "It says"}${name ? `, ${name}` : ""}` }), element("ol", {}, ...words));
  }));
}

function depth(branches, i) { return i === 0 ? 0 : 1 + depth(branches, branches[i].parent); }

function drawHistory(place, frame, at, go) {
  place.replaceChildren(...frame.branches.map((branch, i) => {
    const line = element("button", { type: "button", className: `ll-branch${i === at ? " ll-here" : ""}${i && branch.first ? " ll-other" : ""}`, role: "option", tabIndex: i === at ? 0 : -1 },
      element("span", { className: "ll-done", textContent: branch.label }), element("span", { className: "ll-answered", textContent: branch.answer || "∅", dir: "auto" }));
    line.style.setProperty("--depth", depth(frame.branches, i));
    line.setAttribute("aria-selected", i === at);
    line.dataset.branch = i;
    line.addEventListener("click", () => go(i));
    return line;
  }));
}

function tableOf(frame, at) {
  const branches = at ? [[frame.branches[0], "as it was"], [frame.branches[at], "now"]] : [[frame.branches[0], "as it was"]];
  const rows = branches.flatMap(([branch, name]) => Object.entries(branch.cells).map(([step, cell]) => [name, step, cell.text, percent(cell.chance), cell.edit, cell.top.slice(1, 3).map(([text, chance]) => `${text} ${percent(chance)}`).join(", ")]));
  return [["answer", "step", "word", "chance", "read instead", "then"], rows];
}

// The slider of the widget above has a label, but nobody tells a screen reader whose it is.
function nameSliders(root) {
  for (const slider of root.closest(".ll-explorer")?.querySelectorAll(".widget-slider") ?? []) slider.querySelector("[role='slider']")?.setAttribute("aria-label", slider.querySelector("label").textContent);
}

// ---- the page

export function mount(root, Plotly, tell = null) {
  const parts = buildDebugger(root);
  let frame = null, at = 0, step = "", wish = 0, waiting = null;
  const tellError = tellerIn(parts.error), drawn = drawing(tellError);

  const branch = () => frame.branches[at];
  const fontColor = () => getComputedStyle(root).color;
  const choice = () => frame.choices.find(({ kind }) => kind === parts.kind.value) ?? frame.choices[0];

  // Where a step is on the map: a thought, or the beginning of the answer.
  function ringAt() {
    const { places } = branch(), number = thoughtNumber(step), last = places.length - 1;
    const i = number || (step === "token 1" ? last + 1 : 0);
    return i && i - 1 <= last && branch().cells[step] && (number === 0 || number <= last) ? [places[i - 1]] : [];
  }

  function drawMap() {
    const { data, layout } = structuredClone(frame.figure), height = Math.round(Math.min(420, Math.max(280, 0.8 * parts.map.clientWidth)));
    parts.quality.textContent = `${frame.quality}. Grey: thoughts about other questions.`;
    if (!frame.questions.length) parts.quality.textContent = `${frame.quality}.`;
    parts.map.setAttribute("aria-label", `Map of thoughts. ${frame.quality}`);
    const legend = { ...layout.legend, y: 1.01 };
    const whole = drawn.next(async () => {
      await Plotly.react(parts.map, data, { ...layout, legend, height, width: parts.map.clientWidth, margin: { ...layout.margin, t: 34, l: 44, r: 8, b: 42 }, title: {}, font: { ...layout.font, color: fontColor() }, uirevision: frame.key }, plotConfig);
      parts.map.removeAllListeners?.("plotly_click");
      parts.map.on("plotly_click", ({ points: [point] }) => {
        if (point.curveNumber < data.length - 5) return;
        const k = point.data.x.length - 1;
        choose(point.pointNumber < k ? `thought ${point.pointNumber + 1}` : "token 1");
      });
    });
    redraw();
    return whole;
  }

  function redraw() {                                            // path and ring; nothing else is drawn meanwhile
    drawn.soon(() => drawn.next(() => {
      const line = (points) => ({ x: points.map((p) => p[0]), y: points.map((p) => p[1]) }), last = parts.map.data.length - 1, { places, cells } = branch(), hot = at ? "#D55E00" : "#0072B2";
      const path = at ? line(places) : line([]), text = at ? places.map((_, k) => `<b>${k < places.length - 1 ? k + 1 : "answer"}</b>`) : [];
      const hover = at ? Object.entries(cells).slice(0, places.length).map(([name, cell]) => `${name}: ${cell.text}`.replaceAll("&", "&amp;").replaceAll("<", "&lt;")) : [];
      const mark = { ...parts.map.data[last].marker, color: hot, line: { width: 3, color: hot } };
      return Plotly.animate(parts.map, { data: [path, { ...path, text, customdata: hover }, { ...line(ringAt()), marker: mark }], traces: [last - 2, last - 1, last] }, instant).catch(() => {});      // a newer move took this one's place
    }));
  }

  function shown() {                                             // what follows from the answer that is looked at
    drawAnswer(parts.was, "As it was", frame.branches[0], at ? branch().first : null);
    parts.now.classList.toggle("ll-vacant", !at);
    if (!at) parts.now.replaceChildren(element("p", { className: "ll-hint", textContent: frame.live ? "Select a thought and let it be another: the answer that comes of it will stand here." : frame.hint }));
    else drawAnswer(parts.now, branch().edits.length > 1 ? `Now, with ${branch().edits.length} thoughts changed` : `Now: ${branch().label}`, branch(), branch().first, branch().first ? "" : ", says the same");
    parts.sentence.textContent = branch().sentence;
    drawSteps(parts, frame, at, choose);
    drawHistory(parts.history, frame, at, go);
    if (parts.details.open) fillTable(parts.table, ...tableOf(frame, at));
    mark();
  }

  function mark() {                                              // what follows from the step
    nameSliders(root);
    const cell = branch().cells[step] ?? frame.branches[0].cells[step], number = thoughtNumber(step);
    for (const place of parts.scroller.querySelectorAll("[data-step]")) place.classList.toggle("ll-selected", place.dataset.step === step);
    parts.said.textContent = branch().cells[step] ? cell.said : `This answer has no ${step}.`;
    parts.title.textContent = number ? `Thought ${number}` : `Token ${step.slice(6)} of the answer`;
    drawWords(parts.words, frame, at, step);
    dress();
    redraw();
    announce(root);
    const head = parts.scroller.querySelector(".ll-head.ll-selected");
    if (!head) return;
    const { scrollLeft, clientWidth } = parts.scroller, left = head.offsetLeft - 96;
    if (left < scrollLeft) parts.scroller.scrollLeft = left; else if (head.offsetLeft + head.offsetWidth > scrollLeft + clientWidth) parts.scroller.scrollLeft = head.offsetLeft + head.offsetWidth - clientWidth + 16;
  }

  // What can be done to the step that is selected. There must be a thought, and someone to ask.
  function dress() {
    const number = thoughtNumber(step), none = !frame.columns.some(thoughtNumber), there = number > 0 && step in branch().cells;
    parts.form.hidden = !frame.live || !there;
    parts.hint.textContent = !frame.live ? frame.hint : none ? "It reasons aloud, or not at all: there is no thought to change." : there ? "" : number ? "There is nothing to change here in this answer." : "Select a thought to change it.";
    for (const option of parts.kind.options) option.hidden = option.disabled = (option.value === "previous" && number === 1) || (option.value === "keep" && !branch().cells[step]?.edit);
    if (parts.kind.selectedOptions[0]?.disabled) parts.kind.value = "zero";
    const { needs } = choice();
    for (const [name, need] of [["amount", "amount"], ["word", "word"], ["question", "question"]]) parts[name].hidden = needs !== need;
    parts.amount.title = parts.kind.value === "noise" ? "in sizes of the thought" : "times as large";
    parts.kind.title = number ? `What thought ${number} reads instead of its state` : "";
  }

  function choose(to, ours = true) {
    if (!frame.columns.includes(to) || to === step) return;
    step = to;
    mark();
    if (ours) tell?.({ step });
  }

  function go(to, ours = true) {
    if (!(to in frame.branches) || to === at) return;
    const inHistory = parts.history.contains(document.activeElement);
    at = to;
    shown();
    if (inHistory) parts.history.querySelector(".ll-here").focus();
    if (ours) tell?.({ at });
  }

  // A wish is told again until it is fulfilled or refused: what a page says in its first moments may be lost on its way to the kernel.
  function ask(about, again = 0) {
    clearTimeout(waiting);
    if (!tell || frame.served >= wish || again > 10000 || (again && !parts.error.hidden)) return;
    tell({ asked: JSON.stringify([frame.key, wish, ...about, again]) });
    waiting = setTimeout(() => ask(about, Math.max(1000, 2 * again)), Math.max(1000, 2 * again));
  }

  function forked(event) {
    event.preventDefault();
    const number = thoughtNumber(step);
    if (!number || !frame.live) return;
    const { kind, needs } = choice(), amount = needs === "amount" ? parts.amount.valueAsNumber : 1, text = needs === "word" ? parts.word.value : needs === "question" ? parts.question.value : "";
    if (Number.isNaN(amount)) return parts.amount.focus();
    const seed = kind === "noise" ? frame.branches.filter(({ edits }) => edits.some((edit) => edit[0] === number && edit[1] === kind)).length : 0;   // other noise each time
    wish = Math.max(wish, frame.served) + 1;
    parts.busy.textContent = "thinking …";
    ask([at, number, kind, amount, text, seed]);
  }

  function show(next) {
    const same = next.key === frame?.key, option = (value, textContent = value) => element("option", { value, textContent });
    const { kind, question } = same ? { kind: parts.kind.value, question: parts.question.value } : {}, inHistory = parts.history.contains(document.activeElement);
    frame = next;
    ({ at, step } = next);
    if (!same) wish = 0;
    if (frame.served >= wish) { clearTimeout(waiting); parts.busy.textContent = ""; }
    parts.kind.replaceChildren(...frame.choices.map((one) => option(one.kind, one.label)));
    parts.question.replaceChildren(...frame.questions.map((one) => option(one, one.length > 48 ? `${one.slice(0, 47)}…` : one)));
    if (kind) parts.kind.value = kind;
    if (question) parts.question.value = question;
    if (!parts.amount.value) parts.amount.value = 2;
    parts.keys.textContent = `← → step · Home, End · ↑ ↓ answer${frame.live ? " · Enter changes a thought" : ""}`;
    parts.scroller.setAttribute("aria-label", `Steps of “${frame.question}”: left and right go to another step, Home and End to the first and the last, up and down to another answer of the history, Enter to what can be done to a thought`);
    shown();
    if (inHistory) parts.history.querySelector(".ll-here").focus();
    return drawMap();
  }

  parts.form.addEventListener("submit", forked);
  parts.form.addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target.tagName === "INPUT") forked(event); });
  parts.kind.addEventListener("change", dress);
  parts.scroller.addEventListener("click", (event) => { const place = event.target.closest("[data-step]"); if (place && frame) { choose(place.dataset.step); parts.scroller.focus({ preventScroll: true }); } });
  parts.scroller.addEventListener("keydown", (event) => {
    if (!frame || event.altKey || event.ctrlKey || event.metaKey) return;
    const i = frame.columns.indexOf(step), last = frame.columns.length - 1;
    const to = { ArrowLeft: Math.max(0, i - 1), ArrowRight: Math.min(last, i + 1), Home: 0, End: last }[event.key], other = { ArrowUp: at - 1, ArrowDown: at + 1 }[event.key];
    if (to !== undefined) choose(frame.columns[to]);
    else if (other !== undefined) go(other);
    else if (event.key === "Enter" && !parts.form.hidden) parts.kind.focus();
    else return;
    event.preventDefault();
  });
  parts.history.addEventListener("keydown", (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    go(at + by);
  });
  parts.details.addEventListener("toggle", () => { if (frame && parts.details.open) fillTable(parts.table, ...tableOf(frame, at)); });

  const unwatch = watchLook(root, () => {
    if (!frame || !root.isConnected) return;
    nameSliders(root);
    drawMap();
  });

  return {
    show,
    select: (to) => { if (frame) choose(to, false); },
    go: (to) => { if (frame) go(to, false); },
    steps: () => (frame ? [at > 0, frame.branches.some(({ parent }) => parent === at)] : [false, false]),
    undo: () => go(branch().parent ?? 0),                        // back to the answer that was forked
    redo: () => go(frame.branches.findLastIndex(({ parent }) => parent === at)),   // to the latest fork of this one
    place: () => (frame ? { step, at } : null),
    goTo(place) { go(place.at); choose(place.step); },
    chosen: () => (frame ? { step: step === "thought 1" ? null : `'${step}'`, edits: branch().code || null } : {}),
    caption: () => `${frame.question} → ${branch().answer} · ${branch().label} · ${step}`,
    busy(text) { parts.busy.textContent = text; root.setAttribute("aria-busy", Boolean(text)); },
    error(text) { tellError(text); if (text) parts.busy.textContent = ""; },   // a wish that is refused is not being thought about
    destroy() { clearTimeout(waiting); unwatch(); Plotly.purge(parts.map); },
  };
}

export default asWidget(mount, (page, state) => ({ at: () => page.go(state.get("at")), step: () => page.select(state.get("step")) }));
