// Draws the charts, hides arms and sorts tables. Everything it shows lies in the page.
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const narrow = () => innerWidth < 600;
  const hidden = new Set();
  const charts = all(".chart");
  const drawn = new Set();

  // Fonts and colours of the page, around what the report says of its axes.
  function layout(own) {
    const [ink, quiet, rule, paper] = ["--ink", "--quiet", "--rule", "--paper"].map(colour);
    const axis = { gridcolor: rule, linecolor: rule, zerolinecolor: rule, tickfont: { size: 11 }, title: { font: { size: 12 } } };
    const themed = {
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: quiet },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
      margin: { l: narrow() ? 44 : 64, r: 12, t: 14, b: 48 }, dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      hoverlabel: { bgcolor: paper, bordercolor: rule, font: { color: ink, family: getComputedStyle(document.body).fontFamily }, align: "left" },
      legend: { orientation: "h", y: -0.08, font: { size: 11 } },
    };
    for (const [key, value] of Object.entries(own)) {
      themed[key] = /^[xy]axis/.test(key) ? { ...axis, ...value, title: { ...axis.title, ...value.title } } : value;
    }
    return themed;
  }

  function draw(chart) {
    const at = chart.querySelector("select")?.value ?? "0";
    const figure = JSON.parse(document.getElementById(`${chart.id}-${at}`).textContent);
    for (const trace of figure.data) trace.visible = !hidden.has(trace.legendgroup);
    drawn.add(chart);
    Plotly.react(chart.querySelector(".plot"), figure.data, layout(figure.layout), { responsive: true, displayModeBar: false });
  }

  const redraw = () => drawn.forEach(draw);

  // The library is large: it is run when there is something on the screen already.
  function load() {
    const script = document.createElement("script");
    script.textContent = document.getElementById("plotly").textContent;
    document.head.append(script);
    for (const chart of charts) near.observe(chart);
  }

  // A chart is drawn when a reader comes near it.
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "600px" });
  for (const chart of charts) chart.querySelector("select")?.addEventListener("change", () => draw(chart));
  requestAnimationFrame(() => setTimeout(load));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // On paper everything is there, in dark letters on white.
  let folded = [];
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    folded = all("details:not([open])");
    for (const details of folded) details.open = true;
    charts.forEach(draw);
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    for (const details of folded) details.open = false;
    redraw();
  });

  for (const button of all("[data-toggles]")) {
    const arm = button.dataset.toggles;
    button.addEventListener("click", () => {
      if (!hidden.delete(arm)) hidden.add(arm);
      button.setAttribute("aria-pressed", String(!hidden.has(arm)));
      for (const row of all("tr[data-arm]")) row.hidden = hidden.has(row.dataset.arm);
      redraw();
    });
  }

  // By the first number of a cell where its column has numbers, else by its words; the third click restores the order.
  function sort(head) {
    const row = head.parentElement, body = head.closest("table").tBodies[0], at = [...row.cells].indexOf(head);
    const next = { none: "ascending", ascending: "descending", descending: "none" }[head.ariaSort ?? "none"];
    for (const other of row.cells) other.removeAttribute("aria-sort");
    if (next !== "none") head.setAttribute("aria-sort", next);
    const sign = next === "descending" ? -1 : 1;
    const number = (text) => parseFloat(/[-+]?\d+(\.\d+)?/.exec(text) ?? "");
    const compare = {
      number: (a, b) => (number(a) - number(b)) * sign || isNaN(number(a)) - isNaN(number(b)),
      words: (a, b) => a.localeCompare(b, "en", { numeric: true }) * sign,
    }[head.className];
    const key = (tr) => tr.cells[at].textContent;
    const order = next === "none" ? (a, b) => a.dataset.at - b.dataset.at : (a, b) => compare(key(a), key(b));
    body.append(...[...body.rows].sort(order));
  }
  for (const body of all("tbody")) [...body.rows].forEach((row, at) => { row.dataset.at = at; });
  for (const head of all("th:not(.unsorted)")) {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(head));
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(head); });
  }
})();
