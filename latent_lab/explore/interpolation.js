// A way between texts: a slider over what was read on it, the sentence itself, a map and a table, linked in the browser. They answer while the
// kernel is busy, and without one; only a reading that is not there yet is asked for. `page.js` comes before this file.

const near = 0.004, magnet = 0.012;                              // alphas this close are one place; a share of the way

function buildWay(root, live) {
  const parts = {
    busy: element("span", { className: "ll-busy", role: "status" }),
    error: element("div", { className: "ll-error", role: "alert", hidden: true }),
    from: element("div", { className: "ll-end" }),
    to: element("div", { className: "ll-end ll-to" }),
    sentence: element("p", { className: "ll-sentence", dir: "auto" }),
    facts: element("p", { className: "ll-facts" }),
    play: element("button", { className: "ll-play", type: "button", textContent: "▶", title: "Play" }),
    ribbon: element("div", { className: "ll-ribbon" }),
    slider: element("input", { className: "ll-slide", type: "range", min: 0, step: 0.001 }),
    letters: element("div", { className: "ll-letters" }),
    count: element("output", { className: "ll-count" }),
    plot: element("div", { className: "ll-plot", tabIndex: 0, role: "application" }),
    quality: element("p", { className: "ll-hint" }),
    near: element("div", { className: "ll-near" }),
    table: element("div", { className: "ll-table", role: "region" }),
  };
  parts.sentence.setAttribute("aria-live", "polite");
  parts.play.setAttribute("aria-label", "Play");
  parts.slider.setAttribute("aria-label", "Alpha, from the first text to the last");
  parts.table.setAttribute("aria-label", "Everything read on the way");
  for (const name of ["ribbon", "letters"]) parts[name].setAttribute("aria-hidden", "true");   // the slider and the ends say the same
  const legend = element("p", { className: "ll-legend" }, ...[["first", "from the left text"], ["second", "from the right text"], ["neither", "in neither"]]
    .map(([origin, said]) => element("span", {}, element("span", { className: `ll-word ll-${origin}`, textContent: said }))));
  const keys = element("p", { className: "ll-hint", textContent: "← → next reading · Shift for small steps · Page Up, Page Down next change" + (live ? " · let go between two readings to read there" : "") });
  const pull = element("p", { className: "ll-hint", textContent: live ? "Drag the ring off the way, or push it with the arrow keys and press Enter, and read what is said there. Escape goes back." : "Click near the way to go there." });
  root.classList.add("ll-page", "ll-way");
  root.replaceChildren(parts.error,
    element("div", { className: "ll-time" }, parts.play, element("div", { className: "ll-track" }, parts.letters, parts.ribbon, parts.slider), parts.count, parts.busy), keys,
    element("div", { className: "ll-between" }, parts.from, element("div", { className: "ll-speech" }, parts.sentence, parts.facts, legend), parts.to),
    element("div", { className: "ll-country" }, element("div", { className: "ll-map" }, element("h4", { textContent: "Where that is" }), parts.plot, parts.quality, pull), parts.near), parts.table);
  return parts;
}

// ---- what is drawn once a frame

function wordsOf(row) {
  return row.words.flatMap(([origin, word], i) => [...(i ? [" "] : []), element("span", { className: `ll-word ll-${origin}`, textContent: word })]);
}

function differenceOf(row) {
  return row.pieces.flatMap(([kind, words], i) => [...(i ? [" "] : []), kind === "same" ? words : element(kind === "in" ? "ins" : "del", { textContent: words })]);
}

function drawRibbon(parts, frame) {
  const last = frame.stops.at(-1).alpha, percent = (x) => `${(100 * x) / last}%`;
  parts.ribbon.replaceChildren(...frame.cuts.map(([start, end, row, color]) => {
    const piece = element("span", { className: "ll-piece", title: frame.rows[row].text });
    Object.assign(piece.style, { left: percent(start), width: percent(end - start), background: color });
    return piece;
  }));
  parts.letters.replaceChildren(...frame.stops.map((stop) => {
    const letter = element("span", { textContent: stop.letter });
    Object.assign(letter.style, { left: percent(stop.alpha), color: `color-mix(in srgb, ${stop.color} 75%, var(--ll-ink))` });
    return letter;
  }));
}

function gauge(off) {
  const bar = element("span", { className: "ll-gauge" }, element("i"));
  bar.firstChild.style.width = `${off}%`;
  return element("span", { className: "ll-off" }, bar, `${Math.round(off)}`);
}

const numeral = (alpha) => alpha.toFixed(Math.abs(100 * alpha - Math.round(100 * alpha)) < 1e-6 ? 2 : 3);

// Numbers that nobody knows get no column.
const measures = {
  nll: { title: "Surprise", why: "Of the decoder at its own words, in nats a token: 0 is certain", draw: (nll) => nll.toFixed(2) },
  off: { title: "Far out", why: "Off the manifold, as a percentile: at 0 as near to its neighbours as any known idea, at 100 farther out than all of them", draw: gauge },
};
const columnsOf = (frame) => Object.keys(measures).filter((name) => [...frame.rows, ...frame.pushed].some((row) => row[name] !== null));

function rowOf(key, label, row, columns) {
  const button = element("button", { className: "ll-go", type: "button", textContent: label, tabIndex: -1 });
  button.dataset.key = key;
  const text = element("td", { className: "ll-text", dir: "auto" }, ...(row ? differenceOf(row) : ["…"]));
  const cells = columns.map((name) => (row ? (row[name] === null ? "–" : measures[name].draw(row[name])) : ""));
  const line = element("tr", {}, element("th", { scope: "row" }, row ? button : label), text, ...cells.map((cell) => element("td", { className: "ll-number" }, cell)));
  line.dataset.key = key;
  if (row && !row.pieces.some(([kind]) => kind !== "same")) line.classList.add("ll-still");
  if (!row) line.classList.add("ll-waiting");
  return line;
}

function drawTable(parts, frame) {
  const columns = columnsOf(frame), head = [["α", "How far along"], ["Text, and what changed", "Since the row above; in the first row, since what was written"], ...columns.map((name) => [measures[name].title, measures[name].why])];
  const waiting = frame.waiting.map((alpha) => [alpha, rowOf("", numeral(alpha), null, columns)]);
  const rows = frame.rows.map((row, i) => [row.alpha, rowOf(`r${i}`, numeral(row.alpha), row, columns)]);
  const pushed = frame.pushed.map((row, i) => rowOf(`p${i}`, `◇ from ${numeral(row.from)}`, row, columns));
  const ordered = [...rows, ...waiting].sort((a, b) => a[0] - b[0]).map(([, line]) => line);
  parts.table.replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...head.map(([textContent, title]) => element("th", { textContent, title, scope: "col" })))),
    element("tbody", {}, ...ordered), ...(pushed.length ? [element("tbody", { className: "ll-pushed" }, ...pushed)] : [])));
}

// ---- where things are

function rowAt(frame, alpha) {
  return frame.rows.reduce((best, row, i) => (Math.abs(row.alpha - alpha) < Math.abs(frame.rows[best].alpha - alpha) ? i : best), 0);
}

function placeAt(line, alpha) {
  const after = line.findIndex(([at]) => at >= alpha);
  if (after <= 0) return line[after < 0 ? line.length - 1 : 0].slice(1);
  const [a, b] = [line[after - 1], line[after]], share = (alpha - a[0]) / (b[0] - a[0] || 1);
  return [1, 2].map((k) => a[k] + share * (b[k] - a[k]));
}

function alphaNear(line, place) {
  const away = (point) => (point[1] - place[0]) ** 2 + (point[2] - place[1]) ** 2;
  return line.reduce((best, point) => (away(point) < away(best) ? point : best))[0];
}

// The place on the map under the mouse, and the pixel of a place, as plotly's axes have them.
function onPlot(plot) {
  const { xaxis, yaxis } = plot._fullLayout, box = () => plot.getBoundingClientRect();
  return {
    place: (event) => [xaxis.p2d(event.clientX - box().left - xaxis._offset), yaxis.p2d(event.clientY - box().top - yaxis._offset)],
    pixel: ([x, y]) => [box().left + xaxis._offset + xaxis.d2p(x), box().top + yaxis._offset + yaxis.d2p(y)],
    inside: (event) => { const x = event.clientX - box().left - xaxis._offset, y = event.clientY - box().top - yaxis._offset; return x >= 0 && y >= 0 && x <= xaxis._length && y <= yaxis._length; },
  };
}

// ---- the page

export function mount(root, Plotly, tell = null) {
  const parts = buildWay(root, Boolean(tell));
  let frame = null, alpha = 0, chosen = null, push = [0, 0], spoken = null, now = null, timer = null, asking = null, awaited = null;
  const tellError = tellerIn(parts.error), drawn = drawing(tellError);

  const last = () => frame.stops.at(-1).alpha;
  const start = () => placeAt(frame.line, chosen === null ? alpha : frame.pushed[chosen].from);
  const ring = () => (chosen === null ? start().map((x, k) => x + push[k]) : frame.pushed[chosen].place);
  const pushing = () => push[0] !== 0 || push[1] !== 0;
  const height = () => Math.round(Math.min(400, Math.max(290, 0.7 * parts.plot.clientWidth)));
  const look = () => ({ "font.color": getComputedStyle(root).color, height: height() });
  const dressed = (layout) => ({ ...layout, title: {}, margin: { l: 44, r: 8, t: 10, b: 42 }, height: height(), font: { ...layout.font, color: getComputedStyle(root).color }, uirevision: "kept" });

  function redraw() {
    if (frame?.rows.length) drawn.soon(() => {
      const end = parts.plot.data.length - 1, line = [start(), ring()];
      const arrow = { x: line.map((p) => p[0]), y: line.map((p) => p[1]) }, here = { x: [line[1][0]], y: [line[1][1]] };
      return Plotly.animate(parts.plot, { data: [arrow, here], traces: [end - 1, end] }, instant);
    });
  }

  function drawEnds(leg) {
    const [a, b] = frame.stops.slice(leg, leg + 2);
    for (const [part, stop] of [[parts.from, a], [parts.to, b]]) {
      part.replaceChildren(element("b", { textContent: stop.letter }), element("span", { textContent: stop.text, dir: "auto" }));
      part.style.setProperty("--end", stop.color);
    }
    root.style.setProperty("--ll-first", a.color);
    root.style.setProperty("--ll-second", b.color);
  }

  function facts(row) {
    const said = [];
    if (pushing()) said.push("off the way; let go, or press Enter, to read here");
    else if (chosen !== null) said.push(`pushed off the way at ${numeral(row.from)}`, row.length);
    else if (row === spoken) said.push("being said …");
    else if (Math.abs(row.alpha - alpha) > near) said.push(`read at ${numeral(row.alpha)}, the nearest reading`);
    if (row.nll !== null) said.push(`surprise ${row.nll.toFixed(2)} nats a token`);
    if (row.off !== null) said.push(row.off >= 99.5 ? "farther out than every known idea" : `farther out than ${Math.round(row.off)} % of known ideas`);
    return said.filter(Boolean).join(" · ");
  }

  function mark() {
    const index = rowAt(frame, alpha), hearing = spoken && chosen === null && Math.abs(spoken.alpha - alpha) <= near && Math.abs(frame.rows[index].alpha - alpha) > near;
    const row = hearing ? spoken : chosen === null ? frame.rows[index] : frame.pushed[chosen], key = hearing ? "spoken" : chosen === null ? `r${index}` : `p${chosen}`;
    drawEnds(Math.min(Math.floor(alpha), frame.stops.length - 2));
    parts.slider.value = alpha;
    parts.slider.setAttribute("aria-valuetext", `alpha ${numeral(alpha)}`);
    parts.count.textContent = `α ${numeral(alpha)}`;
    if (parts.sentence.textContent !== row.text || parts.sentence.dataset.key !== key) parts.sentence.replaceChildren(...(row.text ? wordsOf(row) : [element("i", { textContent: "(nothing)" })]));
    parts.sentence.dataset.key = key;
    parts.sentence.setAttribute("aria-busy", Boolean(hearing));     // a screen reader waits for the end
    parts.sentence.classList.toggle("ll-faded", pushing());
    parts.facts.textContent = facts(row);
    parts.near.replaceChildren(...(row.near.length ? [element("h4", { textContent: "Nearest texts it knows" }), element("ol", {}, ...row.near.map((text) => element("li", { textContent: text, dir: "auto" })))] : []));
    now?.classList.remove("ll-now");
    for (const button of parts.table.querySelectorAll(".ll-go[tabindex='0']")) button.tabIndex = -1;
    now = parts.table.querySelector(`tr[data-key="${key}"]`);
    now?.classList.add("ll-now");
    if (now) now.querySelector(".ll-go").tabIndex = 0;
    announce(root);
  }

  function say(changes) { if (tell) tell(changes); }

  // Where the reader has come to rest: the kernel hears of it, and reads there if nobody has.
  function rest(ask, after = 150) {
    clearTimeout(asking);
    asking = setTimeout(() => {
      if (chosen !== null) return;
      const known = Math.abs(frame.rows[rowAt(frame, alpha)].alpha - alpha) <= near;
      say(ask && !known ? { alpha, asked: alpha } : { alpha });
    }, after);
  }

  function stand(at) {
    alpha = at;
    chosen = null; push = [0, 0]; awaited = null;
    mark(); redraw();
  }

  function arrive(at, ask) {
    stand(Math.min(Math.max(0, Math.round(1000 * at) / 1000), last()));
    rest(ask);
  }

  // The kernel leads to a place: exactly there, and nobody need tell it so. If the present way is too short, it will show the one that is meant.
  function obey(to) {
    if (!frame || to === alpha) return;
    clearTimeout(asking);
    if (to > last() || !frame.rows.length) awaited = to;
    else stand(to);
  }

  function move(to, ask = false) {                               // a reading attracts what comes near it
    if (!frame?.rows.length) return;
    const known = frame.rows[rowAt(frame, to)].alpha;
    arrive(Math.abs(known - to) < magnet * last() ? known : Math.round(100 * to) / 100, ask);
  }

  function choose(key) {
    if (key[0] === "r") return move(frame.rows[+key.slice(1)].alpha);
    chosen = +key.slice(1); push = [0, 0]; alpha = frame.pushed[chosen].from;
    mark(); redraw();
  }

  function play(on) {
    clearInterval(timer);
    timer = on ? setInterval(() => (alpha < last() - near ? step(1) : play(false)), 700) : null;
    parts.play.textContent = on ? "❚❚" : "▶";
    for (const name of ["aria-label", "title"]) parts.play.setAttribute(name, on ? "Pause" : "Play");
    parts.sentence.setAttribute("aria-live", on ? "off" : "polite");
  }

  function step(by) {                                            // to the next reading
    const there = frame.rows.filter((row) => (row.alpha - alpha) * by > near);
    if (there.length) move((by > 0 ? there[0] : there.at(-1)).alpha);
  }

  function stepText(by) {                                        // to the next reading that says something else
    const text = frame.rows[rowAt(frame, alpha)].text, there = frame.rows.filter((row) => (row.alpha - alpha) * by > near && row.text !== text);
    if (there.length) move((by > 0 ? there[0] : there.at(-1)).alpha);
  }

  // -- slider
  const keys = { ArrowRight: [step, 1], ArrowUp: [step, 1], ArrowLeft: [step, -1], ArrowDown: [step, -1], PageUp: [stepText, 1], PageDown: [stepText, -1] };
  parts.slider.addEventListener("keydown", (event) => {
    if (!keys[event.key] || !frame?.rows.length || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    play(false);
    const [act, by] = keys[event.key];
    if (event.shiftKey && act === step) arrive(alpha + 0.01 * by, true); else act(by);
  });
  parts.slider.addEventListener("input", () => { play(false); move(+parts.slider.value); });
  parts.slider.addEventListener("change", () => rest(true, 0));   // let go
  parts.play.addEventListener("click", () => {
    if (timer) return play(false);
    if (alpha > last() - near) move(0);
    play(true);
  });

  // -- table: Tab leads to the present row, arrows to the others
  parts.table.addEventListener("click", (event) => { const line = event.target.closest("tr[data-key]"); if (line?.dataset.key) { play(false); choose(line.dataset.key); } });
  parts.table.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by || !event.target.dataset.key) return;
    event.preventDefault();
    const buttons = [...parts.table.querySelectorAll(".ll-go")], next = buttons[buttons.indexOf(event.target) + by];
    if (next) { choose(next.dataset.key); next.focus(); }
  });

  // -- map: drag the ring, or push it with the keys
  function letGo() {
    if (!pushing() || !tell) return;
    say({ pushed: [alpha, ...push] });
  }
  parts.plot.addEventListener("pointerdown", (event) => {
    if (!tell || event.button || !frame?.rows.length) return;
    const [x, y] = onPlot(parts.plot).pixel(ring());
    if (Math.hypot(event.clientX - x, event.clientY - y) > 26) return;
    event.preventDefault(); event.stopPropagation();             // plotly must not take this for a drag of its own
    parts.plot.focus({ preventScroll: true });
    play(false);
    const from = start(), follow = (moved) => {
      const place = onPlot(parts.plot).place(moved);
      chosen = null; push = place.map((v, k) => v - from[k]);
      mark(); redraw();
    };
    const drop = () => {
      for (const [name, act] of [["pointermove", follow], ["pointerup", drop], ["pointercancel", drop]]) window.removeEventListener(name, act, true);
      letGo();
    };
    for (const [name, act] of [["pointermove", follow], ["pointerup", drop], ["pointercancel", drop]]) window.addEventListener(name, act, true);
  }, true);
  parts.plot.addEventListener("keydown", (event) => {
    const by = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.key === "Escape") { arrive(alpha); return event.preventDefault(); }
    if (event.key === "Enter") { letGo(); return event.preventDefault(); }
    if (!by || !tell || !frame?.rows.length) return;
    event.preventDefault();
    const from = ring();
    if (chosen !== null) { const home = start(); chosen = null; push = from.map((v, k) => v - home[k]); }
    push = push.map((v, k) => v + (by[k] * frame.reach) / 40);
    mark(); redraw();
  });

  function show(next) {
    const first = frame === null, fresh = pushing() && next.pushed.length > (frame?.pushed.length ?? 0) && next.way === frame?.way;   // unless the reader has gone on
    const focused = parts.table.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    if (first) alpha = next.alpha;
    if (next.way !== frame?.way) { chosen = null; push = [0, 0]; }
    frame = next;
    if (awaited !== null && awaited <= last()) [alpha, awaited] = [awaited, null];
    alpha = Math.min(alpha, last());
    parts.slider.max = last();
    parts.slider.disabled = parts.play.disabled = !frame.rows.length;
    parts.plot.setAttribute("aria-label", `${frame.summary} Arrow keys push the idea off its way, Enter reads it, Escape goes back.`);
    root.classList.toggle("ll-alone", !frame.rows.some((row) => row.near.length));
    drawRibbon(parts, frame);
    drawTable(parts, frame);
    if (fresh) { chosen = frame.pushed.length - 1; push = [0, 0]; }
    if (chosen !== null && chosen >= frame.pushed.length) chosen = null;
    if (frame.rows.length) mark();
    if (focused) parts.table.querySelector(`.ll-go[data-key="${focused}"]`)?.focus();
    const { data, layout } = frame.figure;
    parts.quality.textContent = frame.quality;
    const whole = drawn.next(() => painted().then(() => Plotly.react(parts.plot, structuredClone(data), dressed(structuredClone(layout)), plotConfig)));
    redraw();
    return whole;
  }

  parts.plot.addEventListener("click", (event) => {
    if (!frame?.rows.length || pushing() || !parts.plot._fullLayout?.xaxis) return;
    const where = onPlot(parts.plot);
    if (!where.inside(event)) return;
    const to = alphaNear(frame.line, where.place(event)), [x, y] = where.pixel(placeAt(frame.line, to));
    if (Math.hypot(event.clientX - x, event.clientY - y) < 20) move(to, true);
  });

  const restyle = () => frame && drawn.next(() => root.isConnected && Plotly.relayout(parts.plot, { ...look(), autosize: true }));
  const unwatch = watchLook(parts.plot, restyle);

  return {
    show,
    hear(said) { spoken = said && { near: [], nll: null, off: null, ...said }; if (spoken && frame?.rows.length) mark(); },
    obey,
    place: () => (frame && chosen === null && !pushing() ? { alpha } : null),   // what was read beside the way is in the table, and no place of its own
    goTo: (place) => arrive(place.alpha),
    chosen: () => (frame ? { alpha: alpha === 0.5 ? null : Number.isInteger(alpha) ? alpha.toFixed(1) : `${alpha}` } : {}),
    caption: () => `α ${numeral(alpha)}: ${parts.sentence.textContent}`,
    busy(text) { parts.busy.textContent = text; root.setAttribute("aria-busy", Boolean(text)); },
    error: tellError,
    destroy() { play(false); clearTimeout(asking); unwatch(); Plotly.purge(parts.plot); },
  };
}

export default asWidget(mount, (page, state) => ({
  alpha: () => page.obey(state.get("alpha")),
  spoken: () => page.hear(JSON.parse(state.get("spoken") || "null")),
}));
