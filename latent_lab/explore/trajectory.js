// A picture, a slider for time, the text and a table, linked in the browser: they answer while the kernel is busy, and without one.
// The same code runs as a widget and in a snapshot opened from a file (`mount` alone). `page.js` comes before this file.

const narrowest = 340, tallest = 520;   // pixels

function build(root) {
  const parts = {
    busy: element("span", { className: "ll-busy", role: "status" }),
    wait: element("progress", { className: "ll-wait", hidden: true }),
    error: element("div", { className: "ll-error", role: "alert", hidden: true }),
    plot: element("div", { className: "ll-plot", role: "figure" }),
    quality: element("p", { className: "ll-quality", hidden: true }),
    play: element("button", { className: "ll-play", type: "button", textContent: "▶", title: "Play" }),
    slider: element("input", { className: "ll-slider", type: "range", min: 0, step: 1 }),
    count: element("output", { className: "ll-count" }),
    tokens: element("div", { className: "ll-tokens", role: "listbox" }),
    said: element("p", { className: "ll-said" }),
    table: element("div", { className: "ll-scroll", tabIndex: 0, role: "region" }),
  };
  parts.play.setAttribute("aria-label", "Play");
  parts.wait.setAttribute("aria-label", "How much of the expected time has passed");
  parts.tokens.setAttribute("aria-orientation", "horizontal");
  parts.said.setAttribute("aria-live", "polite");
  parts.details = element("details", { className: "ll-details" }, element("summary", { textContent: "As a table" }), parts.table);
  root.classList.add("ll-page", "ll-walk");
  root.replaceChildren(parts.error, element("div", { className: "ll-picture" }, parts.plot, element("div", { className: "ll-doing" }, parts.busy, parts.wait)), parts.quality,
    element("div", { className: "ll-time" }, parts.play, parts.slider, parts.count), parts.tokens, parts.said, parts.details);
  return parts;
}

function drawTokens(parts, frame) {
  const { one = "Token", all = "Text", table = "Table of tokens" } = frame.labels ?? {};   // what is walked along need not be a text
  parts.slider.setAttribute("aria-label", one);
  parts.tokens.setAttribute("aria-label", `${all}: arrows walk along it, Enter or a click goes there`);
  parts.table.setAttribute("aria-label", table);
  parts.tokens.replaceChildren(...frame.tokens.map((text, i) => {
    const token = element("span", { className: "ll-token", role: "option", tabIndex: -1, textContent: text });
    token.setAttribute("aria-label", `“${text}” at ${frame.positions[i]}`);
    token.setAttribute("aria-selected", "false");
    token.dataset.index = i;
    token.style.setProperty("--token-color", frame.colors[i]);
    return token;
  }));
}

// The trail and the ring are the figure's last two traces; only they change as time moves. In two dimensions `animate` redraws them alone, which is
// several times as fast as `restyle`, which lays out the whole figure again; in three there is no other way.
function highlight(Plotly, plot, frame, at) {
  const last = plot.data.length - 1, axes = ["x", "y", "z"].slice(0, frame.places[0].length);
  const line = (places) => Object.fromEntries(axes.map((axis, k) => [axis, places.map((p) => p[k])]));
  const trail = line(frame.places.slice(Math.max(0, at - frame.trail), at + 1)), ring = line([frame.places[at]]);
  if (axes.length === 2) return Plotly.animate(plot, { data: [trail, ring], traces: [last - 1, last] }, instant);
  return Plotly.restyle(plot, Object.fromEntries(axes.map((axis) => [axis, [trail[axis], ring[axis]]])), [last - 1, last]);
}

function nearest(frame, point) {
  const want = [point.x, point.y, point.z].slice(0, frame.places[0].length);
  const distance = (p) => p.reduce((sum, v, k) => sum + (v - want[k]) ** 2, 0);
  return frame.places.reduce((best, p, i) => (distance(p) < distance(frame.places[best]) ? i : best), 0);
}

export function mount(root, Plotly, tell = () => {}) {
  const parts = build(root);
  let frame = null, at = 0, now = null, stop = null, timer = null, clock = null;
  const tellError = tellerIn(parts.error), drawn = drawing(tellError);

  const height = () => Math.round(Math.min(tallest, Math.max(narrowest, 0.72 * root.clientWidth)));
  const subtitle = () => frame.figure.layout.title?.subtitle?.text ?? "";
  const look = () => ({ "font.color": getComputedStyle(root).color, "title.subtitle.font.color": getComputedStyle(root).color, "title.subtitle.text": parts.quality.hidden ? subtitle() : "", height: height() });

  function dress() {                                     // a line that a narrow picture would cut stands below it
    parts.quality.textContent = subtitle();
    parts.quality.hidden = !subtitle() || root.clientWidth >= 640;
    return Plotly.relayout(parts.plot, look());
  }

  function redraw() {
    if (frame?.places.length) drawn.soon(() => highlight(Plotly, parts.plot, frame, at));
  }

  function stopAt(token) {                               // the one token that Tab leads to; arrows lead to the others
    if (stop) stop.tabIndex = -1;
    stop = token;
    if (stop) stop.tabIndex = 0;
  }

  function mark() {
    parts.slider.value = at;
    parts.slider.setAttribute("aria-valuetext", frame.said[at]);
    parts.count.textContent = `${frame.positions[at]} / ${frame.positions.at(-1)}`;
    parts.said.textContent = frame.said[at];
    now?.classList.remove("ll-now");
    now?.setAttribute("aria-selected", "false");
    now = parts.tokens.children[at];
    now.classList.add("ll-now");
    now.setAttribute("aria-selected", "true");
    if (!parts.tokens.matches(":focus-within")) stopAt(now);
    const low = now.offsetTop - parts.tokens.clientHeight / 2;
    if (Math.abs(low - parts.tokens.scrollTop) > parts.tokens.clientHeight / 3) parts.tokens.scrollTop = low;
    announce(root);
  }

  function move(to, ours = true) {
    if (!frame?.places.length) return;
    const next = Math.min(Math.max(0, Math.round(to)), frame.places.length - 1);
    if (next === at && now?.isConnected) return;
    at = next;
    mark();
    redraw();
    if (ours) tell({ position: at });
  }

  function play(on) {
    clearInterval(timer);
    timer = on ? setInterval(() => (at + 1 < frame.places.length ? move(at + 1) : play(false)), 90) : null;
    parts.play.textContent = on ? "❚❚" : "▶";
    for (const name of ["aria-label", "title"]) parts.play.setAttribute(name, on ? "Pause" : "Play");
    parts.said.setAttribute("aria-live", on ? "off" : "polite");    // a screen reader need not hear ninety tokens
  }

  // A bar that the clock fills: nobody is told how far a map is, only how long one takes as a rule. If it takes longer the bar no longer pretends to know.
  function wait(seconds) {
    clearInterval(clock);
    parts.wait.hidden = !seconds;
    if (!seconds) return;
    const start = performance.now(), fill = () => {
      const passed = (performance.now() - start) / 1000;
      if (passed < seconds) return (parts.wait.value = passed);
      parts.wait.removeAttribute("value");
      clearInterval(clock);
    };
    parts.wait.max = seconds;
    fill();
    clock = setInterval(fill, 200);
  }

  function show(next, position = next.position) {
    play(false);
    frame = next;
    at = Math.min(Math.max(0, position), Math.max(0, frame.places.length - 1));
    const empty = !frame.places.length, { data, layout } = frame.figure;
    parts.plot.setAttribute("aria-label", frame.summary);
    parts.slider.max = Math.max(0, frame.places.length - 1);
    parts.slider.disabled = parts.play.disabled = empty;
    const inText = parts.tokens.matches(":focus-within");
    drawTokens(parts, frame);
    now = stop = null;
    if (parts.details.open) fillTable(parts.table, frame.columns, frame.rows);
    else parts.table.replaceChildren();
    if (empty) parts.said.textContent = frame.summary;
    else mark();
    if (inText) now?.focus();
    const whole = drawn.next(async () => {
      await Plotly.react(parts.plot, structuredClone(data), structuredClone(layout), plotConfig);
      parts.plot.removeAllListeners?.("plotly_click");
      parts.plot.on("plotly_click", (event) => move(nearest(frame, event.points[0])));
      return dress();
    });
    redraw();
    return whole;
  }

  parts.slider.addEventListener("input", () => { play(false); move(+parts.slider.value); });
  parts.play.addEventListener("click", () => {
    if (timer) return play(false);
    if (at + 1 === frame.places.length) move(0);
    play(true);
  });
  parts.tokens.addEventListener("click", (event) => { if (event.target.dataset.index) move(+event.target.dataset.index); });
  parts.tokens.addEventListener("focusin", (event) => { if (event.target.dataset.index) stopAt(event.target); });
  parts.tokens.addEventListener("focusout", (event) => { if (now && !parts.tokens.contains(event.relatedTarget)) stopAt(now); });
  parts.tokens.addEventListener("keydown", (event) => {
    const i = +event.target.dataset.index, tokens = parts.tokens.children, goes = event.key === "Enter" || event.key === " ";
    if (!(goes || event.key in walks) || Number.isNaN(i) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (goes) move(i);
    else tokens[walks[event.key](tokens, i)]?.focus();
  });
  parts.details.addEventListener("toggle", () => { if (frame && parts.details.open) fillTable(parts.table, frame.columns, frame.rows); });

  const restyle = () => frame && drawn.next(() => root.isConnected && Plotly.relayout(parts.plot, { autosize: true }).then(dress));
  const unwatch = watchLook(parts.plot, restyle);

  return {
    show,
    move: (to) => move(to, false),
    place: () => (frame ? { position: at } : null),
    goTo: ({ position }) => move(position),
    chosen: () => (frame ? { position: at === (frame.usual ?? 0) ? null : at } : {}),   // `usual`: where the explorer is by itself
    caption: () => parts.said.textContent,
    busy(text) { parts.busy.textContent = text; root.setAttribute("aria-busy", Boolean(text)); },
    wait,
    error: tellError,
    destroy() { play(false); wait(0); unwatch(); Plotly.purge(parts.plot); },
  };
}

export default asWidget(mount, (page, state) => ({
  frame: () => page.show(JSON.parse(state.get("frame")), state.get("position")),
  position: () => page.move(state.get("position")),
  wait: () => page.wait(state.get("wait")),
}));
