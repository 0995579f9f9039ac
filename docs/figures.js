// Draws each stored plotly figure when it first comes near the window, so that a page with many figures opens at once.
const draw = (box) => {
  const figure = JSON.parse(box.querySelector("script").textContent);
  box.textContent = "";
  Plotly.newPlot(box, figure.data, { ...figure.layout, autosize: true }, { responsive: true, displaylogo: false })
    .then(() => figure.frames && Plotly.addFrames(box, figure.frames));
};
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((e) => e.isIntersecting)) {
    seen.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "300px" });
document.querySelectorAll(".live-figure").forEach((box) => seen.observe(box));

// An explorer's frame is as high as what is in it.
for (const frame of document.querySelectorAll(".live-explorer")) {
  const fit = () => { frame.style.height = `${frame.contentDocument.documentElement.scrollHeight}px`; };
  frame.addEventListener("load", () => new ResizeObserver(fit).observe(frame.contentDocument.body));
}
