// Where a model thought long: the text, shaded; a picture with one column a token; why the selected token stopped; its thoughts on a map. One selection,
// linked in the browser, so it answers while the kernel is busy, and without one; only what another thought would have changed is asked for. `page.js` comes before this file.

const narrowColumn = 4.5, wideColumn = 40;                       // pixels of a token's column

function buildPonder(root) {
  const parts = {
    error: element("div", { className: "ll-error", role: "alert", hidden: true }),
    busy: element("span", { className: "ll-busy", role: "status" }),
    layer: element("select"), color: element("select"),
    low: element("span"), high: element("span"), most: element("span", { className: "ll-most" }), scale: element("span", { className: "ll-scale" }),
    tokens: element("div", { className: "ll-tokens", role: "listbox" }),
    said: element("p", { className: "ll-said" }),
    gutter: element("div", { className: "ll-gutter" }),
    scroller: element("div", { className: "ll-scroller", tabIndex: 0, role: "application" }),
    plot: element("div", { className: "ll-plot ll-columns" }),
    column: element("div", { className: "ll-column" }), cell: element("div", { className: "ll-cell" }),
    why: element("p", { className: "ll-why" }), reasons: element("div", { className: "ll-reasons" }),
    whatIf: element("div", { className: "ll-whatif" }),
    marks: element("span", { className: "ll-marks" }),
    map: element("div", { className: "ll-map", role: "figure" }), quality: element("p", { className: "ll-hint" }),
    verdict: element("p", { className: "ll-verdict" }), evidence: element("div", { className: "ll-evidence" }),
    table: element("div", { className: "ll-scroll", tabIndex: 0, role: "region" }),
  };
  const heading = (textContent) => element("h4", { textContent });
  parts.layerBox = element("label", {}, "Layer ", parts.layer);
  parts.details = element("details", { className: "ll-details" }, element("summary", { textContent: "As a table" }), parts.table);
  parts.said.setAttribute("aria-live", "polite");
  parts.tokens.setAttribute("aria-label", "Text: arrows walk along it");
  parts.tokens.setAttribute("aria-orientation", "horizontal");
  parts.scroller.setAttribute("aria-label", "Chance of stopping, thoughts by tokens: left and right go to another token, up and down to another thought, Home and End to the first and the last token");
  parts.table.setAttribute("aria-label", "Table of tokens");
  for (const name of ["gutter", "column", "cell"]) parts[name].setAttribute("aria-hidden", "true");   // the sentence and the table say the same
  root.classList.add("ll-page", "ll-ponder");
  root.replaceChildren(parts.error,
    element("div", { className: "ll-choices" }, parts.layerBox, element("label", {}, "Shade the text by ", parts.color), element("span", { className: "ll-shades" }, parts.low, parts.scale, parts.high), parts.busy),
    parts.tokens, parts.said, parts.why,
    element("div", { className: "ll-chart" }, parts.gutter, parts.scroller),
    element("p", { className: "ll-hint ll-keys" }, "Chance of stopping ", element("span", {}, "0 ", element("span", { className: "ll-scale ll-chance" }), parts.most), parts.marks, element("span", { textContent: "← → token · ↑ ↓ thought · Home, End" })),
    element("div", { className: "ll-two" },
      element("section", {}, heading("Why it stopped here"), parts.reasons, heading("One thought less, one thought more"), parts.whatIf),
      element("section", {}, heading("Its thoughts on a map"), parts.map, parts.quality)),
    element("section", { className: "ll-meaning" }, heading("Is the pondering meaningful?"), parts.verdict, parts.evidence), parts.details);
  parts.scroller.append(element("div", { className: "ll-sheet" }, parts.plot, parts.column, parts.cell));
  return parts;
}

// ---- what is drawn once a frame

const numberOf = (x, digits = 3) => (x === null || x === undefined ? "" : x.toFixed(digits));
const thoughts = (n) => `${n} thought${n === 1 ? "" : "s"}`;

function inkOn(color) {                                          // black or white, whichever is read more easily
  const [r, g, b] = color.match(/\d+(\.\d+)?/g).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";   // where both have the same contrast
}

// Texts and chances are sent once, and put into the pictures here.
function filled({ data, layout }, frame, layer) {
  const texts = frame.tokens.map((text) => text.replace(/[&<>]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[sign]));
  for (const trace of data) {
    if (trace.type === "heatmap") Object.assign(trace, { customdata: Array(frame.most).fill(texts), z: Array.from({ length: frame.most }, (_, k) => layer.totals.map((total) => (k < total.length ? halting(total, k, frame.threshold).chance : null))) });
    else if (trace.hovertemplate?.includes("%{customdata}")) trace.customdata = texts;
    else if (trace.hovertemplate?.includes("%{text}")) trace.text = texts.map((text, i) => `<b>${text}</b> at ${frame.positions[i]}, ${thoughts(layer.steps[i])}`);
  }
  return { data, layout };
}

// How near a thought was to being the last: all of it follows from the chances, added up.
const halting = (total, k, threshold) => ({ chance: total[k] - (k ? total[k - 1] : 0), total: total[k], left: k ? 1 - total[k - 1] : 1, margin: total[k] - threshold });

function saidOf(frame, layer, at) {
  const facts = layer.facts.map((name) => `${name} ${layer.rows[at][layer.columns.indexOf(name)]}`);
  return [`“${frame.tokens[at]}” at ${frame.positions[at]}`, `${thoughts(layer.steps[at])}, ${layer.ran_out[at] ? "ran out" : "sure"}`, ...facts].join(" · ");
}

function whyHere({ threshold, most }, layer, at) {
  const n = layer.steps[at], total = layer.totals[at][n - 1], before = n > 1 ? `; one thought earlier, ${numberOf(layer.totals[at][n - 2], 2)}` : "";
  if (layer.ran_out[at]) return `It ran out: ${thoughts(most)} are allowed, and after the last its chances of stopping add up to ${numberOf(total, 2)}, ${numberOf(threshold - total, 2)} short of ${threshold}.`;
  return `It was sure: after ${thoughts(n)} its chances of stopping add up to ${numberOf(total, 2)}, and ${threshold} is enough${before}.`;
}

function drawText(parts, frame) {
  const flows = frame.tokens.some((text) => text.length > 1 && text[0] === "␣"), words = [];
  frame.tokens.forEach((text, i) => {
    const starts = flows && text.length > 1 && text[0] === "␣";
    const token = element("span", { className: `ll-token${starts ? " ll-starts" : ""}`, role: "option", tabIndex: -1, textContent: starts ? text.slice(1) : text });
    token.dataset.index = i;
    words.push(...(starts && i ? [" "] : []), token);
    if (text.endsWith("↵")) words.push(element("br"));
  });
  parts.tokens.classList.toggle("ll-flows", flows);
  parts.tokens.replaceChildren(...words);
  return words.filter((word) => word.dataset?.index);
}

function shadeText(parts, frame, layer, color, tokens) {
  const { shades, low, high } = layer.colors[color];
  parts.low.textContent = low;
  parts.high.textContent = high;
  parts.scale.style.background = `linear-gradient(to right, ${frame.scale.join(",")})`;
  tokens.forEach((token, i) => {
    const shade = shades[i] < 0 ? "" : frame.scale[shades[i]];
    token.style.background = shade;
    token.style.color = shade && inkOn(shade);
    token.setAttribute("aria-label", `“${frame.tokens[i]}” at ${frame.positions[i]}, ${thoughts(layer.steps[i])}`);
  });
}

// Names and ticks of the rows stay where they are while the picture is scrolled.
function drawGutter(gutter, plot) {
  const full = plot._fullLayout, labels = [];
  for (const name of Object.keys(full).filter((key) => /^yaxis\d*$/.test(key))) {
    const axis = full[name];
    const title = element("span", { className: "ll-row", textContent: (plot.layout[name]?.rowName ?? "").replace("<br>", "\n") });
    Object.assign(title.style, { top: `${axis._offset + axis._length / 2}px` });
    labels.push(title);
    for (const value of axis.tickvals ?? []) {
      const tick = element("span", { className: "ll-tick", textContent: `${value}` });
      tick.style.top = `${axis._offset + axis.d2p(value)}px`;
      labels.push(tick);
    }
  }
  gutter.replaceChildren(...labels);
}

// What the signs of the picture mean, of those that are there; and if some are left out, which.
function drawMarks(place, frame, layer) {
  const few = Boolean(frame.unmarked), some = (test) => layer.steps.some((steps, i) => test(steps, layer.ran_out[i]));
  const there = [["●", "stopped, sure", !few && some((_, out) => !out)], ["✖", "ran out", some((_, out) => out)], ["┊", "not thought", !few && some((steps) => steps < frame.most)]];
  place.replaceChildren(...there.filter(([, , drawn]) => drawn).map(([glyph, meaning]) => element("span", {}, element("b", { textContent: glyph }), ` ${meaning}`)), ...(few ? [element("span", { textContent: frame.unmarked })] : []));
}

function drawReasons(place, layer, at, chosen, threshold, choose) {
  const head = ["thought", "chance", "so far", "left", "margin"], why = ["", "of stopping after this thought", `the chances added up; it stops at ${threshold}`, "share of this thought, were it the last", "how far beyond the threshold"];
  const rows = layer.totals[at].map((_, k) => {
    const { chance, total, left, margin } = halting(layer.totals[at], k, threshold), last = k === layer.steps[at] - 1, mark = last ? (layer.ran_out[at] ? " ✖" : " ●") : "";
    const button = element("button", { type: "button", className: "ll-go", textContent: `${k + 1}${mark}`, tabIndex: k === chosen ? 0 : -1 });
    button.addEventListener("click", () => choose(k));
    const bar = element("span", { className: "ll-level" }, element("i"));
    bar.firstChild.style.width = `${100 * Math.min(1, total)}%`;
    return element("tr", { className: k === chosen ? "ll-now" : "" }, element("th", { scope: "row" }, button), element("td", { textContent: numberOf(chance) }), element("td", {}, bar, numberOf(total)),
      element("td", { textContent: numberOf(left) }), element("td", { textContent: `${margin >= 0 ? "+" : "−"}${numberOf(Math.abs(margin))}` }));
  });
  place.replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...head.map((textContent, i) => element("th", { textContent, title: why[i], scope: "col" })))), element("tbody", {}, ...rows)));
}

function drawWhatIf(place, answer, steps, waiting) {
  if (!answer) return place.replaceChildren(element("p", { className: "ll-hint", textContent: waiting }));
  const was = answer.options.find((option) => option.steps === steps);
  place.replaceChildren(...answer.options.map((option) => {
    const name = option === was ? "as it was" : option.steps < steps ? "one less" : "one more";
    const verdict = option === was ? "" : `${option.changes ? "≠ says something else" : "= says the same"}\nKL ${option.kl < 1e-6 ? "0" : option.kl < 0.001 ? "< 0.001" : option.kl.toPrecision(2)} nats`;
    const words = option.top.map(([text, chance]) => {
      const line = element("li", {}, element("i"), element("span", { textContent: text.replaceAll(" ", "␣").replaceAll("\n", "↵") || "∅", dir: "auto" }), element("b", { textContent: `${(100 * chance).toFixed(chance < 0.0995 ? 1 : 0)} %` }));
      line.firstChild.style.width = `${100 * chance}%`;
      return line;
    });
    return element("div", { className: `ll-option${option.changes ? " ll-changes" : ""}${option === was ? " ll-was" : ""}` }, element("h5", {}, `${thoughts(option.steps)}`, element("small", { textContent: name })), element("p", { textContent: verdict, title: "KL: how far the chances of the next token are from those that were, in nats" }), element("ol", {}, ...words));
  }));
}

function drawVerdict(parts, meaning) {
  parts.verdict.textContent = meaning.sentence;
  const percent = (x) => `${50 + 50 * Math.max(-1, Math.min(1, x))}%`;
  const rows = meaning.rows.map((row) => {
    const band = element("span", { className: "ll-band" }), rho = element("span", { className: "ll-rho", textContent: "●" }), ring = element("span", { className: "ll-held", textContent: "○" }), signed = (x) => `${x >= 0 ? "+" : "−"}${Math.abs(x).toFixed(2)}`;
    Object.assign(band.style, { left: percent(row.low), right: `calc(100% - ${percent(row.high)})` });
    rho.style.left = percent(row.rho);
    ring.style.left = percent(row.held_rho);
    return element("tr", {}, element("th", { textContent: row.name, scope: "row" }), element("td", { className: "ll-strip" }, element("span", { className: "ll-zero" }), band, ring, rho),
      ...[row.rho, row.held_rho].map((x) => element("td", { textContent: signed(x) })));
  });
  const head = element("tr", {}, ...["Thoughts go with …", "−1 … 0 … +1", "● ρ", "○ ρ, the others held"].map((textContent) => element("th", { textContent, scope: "col" })));
  parts.evidence.replaceChildren(...(rows.length ? [element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)), element("p", { className: "ll-hint", textContent: "Spearman's ρ. The grey band is chance, 95 in 100 times: the same numbers of thoughts, each text turned by some places, or dealt again among the words. In ○ the others are held still: for a surprise, position and frequency; for these two, everything else." })] : []));
}

// ---- the page

export function mount(root, Plotly, tell = null) {
  const parts = buildPonder(root), answers = new Map();
  let frame = null, at = 0, thought = 0, layerNumber = 0, color = "thoughts", tokens = [], now = null, asking = null, moved = 0;
  const tellError = tellerIn(parts.error), drawn = drawing(tellError), mapped = drawing(tellError);

  const layer = () => frame.layers[layerNumber];
  const empty = () => !frame?.tokens.length;
  const about = () => `${layerNumber}:${at}`;
  const fontColor = () => getComputedStyle(root).color;

  // One column a token: as wide as there is room for, scrolled if there is not enough.
  function sized({ data, layout }) {
    const room = parts.scroller.clientWidth || 800, count = frame.tokens.length, width = Math.round(Math.max(count * narrowColumn + 16, Math.min(room, count * wideColumn + 60)));
    const axes = Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key));
    const quiet = axes.map((key) => (key[0] === "x" ? [key, { ...layout[key], fixedrange: true }] : [key, { ...layout[key], fixedrange: true, showticklabels: false, rowName: layout[key].title?.text, title: {} }]));
    return { data, layout: { ...layout, ...Object.fromEntries(quiet), width, autosize: false, dragmode: false, margin: { ...layout.margin, l: axes.some((key) => layout[key].ticktext) ? 34 : 6, r: 8 }, font: { ...layout.font, color: fontColor() } } };
  }

  function drawChart() {
    const { data, layout } = sized(filled(structuredClone(layer().figure), frame, layer()));
    return drawn.next(() => Plotly.react(parts.plot, data, layout, { ...plotConfig, displayModeBar: false }).then(() => { drawGutter(parts.gutter, parts.plot); follow(); }));
  }

  function drawMap() {
    const { data, layout } = filled(structuredClone(layer().map), frame, layer());
    parts.quality.textContent = `${layer().quality}. A dot is a token's last thought, the yellower the more thoughts it had; the orange path is that of the selected token.`;
    parts.map.setAttribute("aria-label", `Map of thoughts. ${layer().quality}`);
    const height = Math.round(Math.min(400, Math.max(260, 0.75 * parts.map.clientWidth)));
    const whole = mapped.next(async () => {
      await Plotly.react(parts.map, data, { ...layout, height, width: parts.map.clientWidth, title: {}, font: { ...layout.font, color: fontColor() } }, plotConfig);
      parts.map.removeAllListeners?.("plotly_click");
      parts.map.on("plotly_click", (event) => { if (event.points[0].curveNumber === 0) move(event.points[0].pointNumber); });
    });
    redraw();
    return whole;
  }

  // The column and the cell of the picture that are selected: two elements over it, moved at once.
  function follow() {
    const full = parts.plot._fullLayout;
    if (empty() || !full?.xaxis || !full.yaxis) return;
    const { xaxis, yaxis } = full, wide = xaxis._length / frame.tokens.length, x = xaxis._offset + xaxis.d2p(at), high = yaxis._length / frame.most;
    const bottom = Math.max(...Object.keys(full).filter((key) => /^yaxis\d*$/.test(key)).map((key) => full[key]._offset + full[key]._length));
    Object.assign(parts.column.style, { left: `${x - Math.max(wide, 5) / 2}px`, width: `${Math.max(wide, 5)}px`, top: `${yaxis._offset}px`, height: `${bottom - yaxis._offset}px` });
    parts.column.style.setProperty("--heat", `${yaxis._length}px`);   // the colours of the picture stay as they are
    Object.assign(parts.cell.style, { left: `${x - Math.max(wide, 9) / 2}px`, width: `${Math.max(wide, 9)}px`, top: `${yaxis._offset + yaxis.d2p(thought + 1) - high / 2}px`, height: `${high}px` });
    const { scrollLeft, clientWidth } = parts.scroller;
    if (x < scrollLeft + 30 || x > scrollLeft + clientWidth - 30) parts.scroller.scrollLeft = x - clientWidth / 2;
  }

  function redraw() {                                            // the path on the map
    if (!empty() && layer().places[0].length) mapped.soon(() => {
      const path = layer().places[at], line = (points) => ({ x: points.map((p) => p[0]), y: points.map((p) => p[1]) }), last = parts.map.data.length - 1;
      return Plotly.animate(parts.map, { data: [line(path), { ...line(path), text: path.map((_, k) => `${k + 1}`) }, line([path[thought]])], traces: [last - 2, last - 1, last] }, instant);
    });
  }

  const waiting = () => (frame.live ? "asking the model …" : frame.hint);

  function mark() {
    const shown = layer();
    parts.said.textContent = saidOf(frame, shown, at);
    parts.why.textContent = whyHere(frame, shown, at);
    const inTable = parts.reasons.contains(document.activeElement);
    drawReasons(parts.reasons, shown, at, thought, frame.threshold, (k) => move(at, k));
    if (inTable) parts.reasons.querySelector(".ll-now .ll-go")?.focus();
    drawWhatIf(parts.whatIf, answers.get(about()), shown.steps[at], waiting());
    now?.classList.remove("ll-now");
    now?.setAttribute("aria-selected", "false");
    if (now) now.tabIndex = -1;
    now = tokens[at];
    now.classList.add("ll-now");
    now.setAttribute("aria-selected", "true");
    now.tabIndex = 0;
    const low = now.offsetTop - parts.tokens.clientHeight / 2;
    if (Math.abs(low - parts.tokens.scrollTop) > parts.tokens.clientHeight / 2 - 24) parts.tokens.scrollTop = low;
    follow();
    redraw();
    ask();
    announce(root);
  }

  // Asked at once, or when the reader rests who walks on and on; and again if nothing is heard: what a page says in its first moments may be lost on its way to the kernel.
  function ask(again = 0) {
    clearTimeout(asking);
    const walking = performance.now() - moved < 250;
    if (!again) moved = performance.now();
    if (!tell || !frame.live || answers.has(about()) || again > 10000) return;
    asking = setTimeout(() => {
      if (parts.error.hidden || !again) tell({ asked: JSON.stringify([frame.key, about(), again]) });
      ask(Math.max(1000, 2 * again));
    }, again || (walking ? 60 : 0));
  }

  function move(to, k = Infinity, ours = true) {
    if (empty()) return;
    const next = Math.min(Math.max(0, to), tokens.length - 1), chosen = Math.min(Math.max(0, k), layer().steps[next] - 1);
    if (next === at && chosen === thought && now?.isConnected) return;
    [at, thought] = [next, chosen];
    mark();
    if (ours) tell?.({ position: at, thought });
  }

  function dress() {                                             // what follows from the layer and the colour
    const shown = layer();
    if (!(color in shown.colors)) color = "thoughts";
    parts.layer.value = layerNumber;
    parts.color.value = color;
    shadeText(parts, frame, shown, color, tokens);
    parts.most.textContent = ` ${shown.brightest}`;
    drawMarks(parts.marks, frame, shown);
    drawVerdict(parts, shown.meaning);
    if (parts.details.open) fillTable(parts.table, shown.columns, shown.rows);
    else parts.table.replaceChildren();
  }

  function show(next) {
    const inText = parts.tokens.contains(document.activeElement), same = next.key === frame?.key;
    frame = next;
    if (!same) answers.clear();
    for (const [key, answer] of Object.entries(frame.answers)) answers.set(key, answer);
    ({ position: at, thought, layer: layerNumber, color } = next);
    const option = (value, textContent) => element("option", { value, textContent });
    parts.layer.replaceChildren(...frame.layers.map(({ name }, i) => option(i, name)));
    parts.color.replaceChildren(...Object.entries(layer().colors).map(([name, { label }]) => option(name, label)));
    parts.layerBox.hidden = frame.layers.length < 2;
    tokens = drawText(parts, frame);
    root.querySelector(".ll-chance").style.background = `linear-gradient(to right, ${frame.scale.join(",")})`;
    now = null;
    dress();
    if (empty()) parts.said.textContent = frame.summary;
    const both = Promise.all([drawChart(), drawMap()]);
    if (!empty()) mark();
    if (inText) now?.focus();
    return both;
  }

  function selectLayer(to, ours = true) {
    if (empty() || to === layerNumber) return;
    layerNumber = to;
    thought = layer().steps[at] - 1;
    dress();
    drawChart();
    drawMap();
    mark();
    if (ours) tell?.({ layer: layerNumber, thought });
  }

  parts.layer.addEventListener("change", () => selectLayer(+parts.layer.value));
  parts.color.addEventListener("change", () => { color = parts.color.value; dress(); tell?.({ color }); announce(root); });
  parts.tokens.addEventListener("click", (event) => { if (event.target.dataset.index) { move(+event.target.dataset.index); now.focus({ preventScroll: true }); } });
  parts.tokens.addEventListener("keydown", (event) => {
    if (!(event.key in walks) || empty() || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    move(walks[event.key](tokens, at));
    now.focus({ preventScroll: true });
  });
  parts.scroller.addEventListener("keydown", (event) => {
    const goes = { ArrowLeft: [at - 1], ArrowRight: [at + 1], Home: [0], End: [tokens.length - 1], ArrowUp: [at, thought - 1], ArrowDown: [at, thought + 1] }[event.key];
    if (!goes || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    move(...goes);
  });
  parts.reasons.addEventListener("keydown", (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    move(at, thought + by);
  });
  parts.plot.addEventListener("click", (event) => {
    const full = parts.plot._fullLayout;
    if (empty() || !full?.xaxis) return;
    const box = parts.plot.getBoundingClientRect(), { xaxis, yaxis } = full, x = Math.round(xaxis.p2d(event.clientX - box.left - xaxis._offset)), y = event.clientY - box.top - yaxis._offset;
    if (x < 0 || x >= tokens.length || y < 0) return;
    move(x, y < yaxis._length ? Math.round(yaxis.p2d(y)) - 1 : Infinity);
    parts.scroller.focus({ preventScroll: true });
  });
  parts.details.addEventListener("toggle", () => { if (frame && parts.details.open) fillTable(parts.table, layer().columns, layer().rows); });

  const unwatch = watchLook(root, () => {
    if (!frame || !root.isConnected) return;
    drawChart();
    drawMap();
  });

  return {
    show,
    select: (position, k) => move(position, k, false),
    place: () => (frame ? { position: at, thought, layer: layerNumber, color } : null),
    goTo(place) {
      selectLayer(place.layer);
      color = place.color;
      dress();
      move(place.position, place.thought);
      announce(root);
    },
    chosen: () => (frame ? { position: at, thought, layer: layerNumber || null, color: color === "thoughts" ? null : `'${color}'` } : {}),
    caption: () => parts.said.textContent,
    layer: (to) => selectLayer(to, false),
    color: (to) => { if (frame && to !== color) { color = to; dress(); } },
    answer([key, where, answer]) {
      if (key !== frame?.key) return;
      answers.set(where, answer);
      if (where === about()) drawWhatIf(parts.whatIf, answer, layer().steps[at], "");
    },
    busy(text) { parts.busy.textContent = text; root.setAttribute("aria-busy", Boolean(text)); },
    error: tellError,
    destroy() { clearTimeout(asking); unwatch(); for (const plot of [parts.plot, parts.map]) Plotly.purge(plot); },
  };
}

export default asWidget(mount, (page, state) => ({
  layer: () => page.layer(state.get("layer")),
  position: () => page.select(state.get("position"), state.get("thought")),
  thought: () => page.select(state.get("position"), state.get("thought")),
  color: () => page.color(state.get("color")),
  ...Object.fromEntries(["answer", "foreseen"].map((name) => [name, () => { if (state.get(name)) page.answer(JSON.parse(state.get(name))); }])),
}));
