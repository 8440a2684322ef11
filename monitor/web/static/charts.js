// Draws every <figure data-chart="…json">. What is drawn comes as data from there; the same data can be had as a
// table, CSV, SVG and PNG from links below each chart. No two series differ by colour alone.
"use strict";
(() => {
  const DASHES = [[], [8, 4], [8, 3, 2, 3], [2, 3]];
  const OF_SVG = new Set(["svg", "line", "rect", "path", "title"]);
  const LEVELS = [[6, 3], [2, 2], [10, 3, 2, 3]];
  const COLOURS = 8, DAY_S = 86400;
  // Of the axis, by the distance of its ticks; the second line where a day or a year begins. No 6/12 that is read both ways.
  const TIMES = [
    [365 * DAY_S, "{YYYY}", null, null, null, null, null, null, 1],
    [28 * DAY_S, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [DAY_S, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
    [1, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  ];
  const EVENTS = { deployment: "▲", reference: "◆", incident: "●", training: "■" };
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (number) => css(`--c${(number % COLOURS) + 1}`);
  const drawn = new Map();

  const two = (number) => String(number).padStart(2, "0");
  function instant(seconds, withTime) {
    const at = new Date(seconds * 1000);
    const day = `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;
    return withTime ? `${day} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}` : day;
  }
  // Three digits, and none that nobody needs: what is below a hundredth of a percent, or a thousandth, says so.
  function written(value, unit) {
    if (value == null) return "–";
    const isShare = unit === "share", shown = isShare ? 100 * value : value, size = Math.abs(shown), least = isShare ? 0.01 : 0.001;
    if (size > 0 && size < least) return `${value < 0 ? "> −" : "< "}${least}${isShare ? " %" : unit ? ` ${unit}` : ""}`;
    const number = size >= 1000 ? Math.round(shown).toLocaleString("en") : String(isShare && size < 1 ? +shown.toFixed(2) : +shown.toPrecision(3));
    return isShare ? `${number} %` : unit ? `${number} ${unit}` : number;
  }
  // A tick of an axis, as finely as the ticks lie apart.
  function ticked(value, unit) {
    const shown = unit === "share" ? 100 * value : value;
    const number = Math.abs(shown) >= 1000 ? Math.round(shown).toLocaleString("en") : String(+shown.toPrecision(6));
    return unit === "share" ? `${number} %` : unit ? `${number} ${unit}` : number;
  }

  function element(tag, attributes, ...children) {
    const made = document.createElementNS(OF_SVG.has(tag) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function sample(number, look) {
    const svg = element("svg", { width: 28, height: 12, "aria-hidden": "true" });
    const stroke = { stroke: colour(number), "stroke-width": 2.5 };
    if (look === "bars") svg.append(element("rect", { x: 4, y: 1, width: 20, height: 10, ...barLook(number) }));
    else if (look === "points") svg.append(element("path", { d: "M8 2V10M14 2V10M20 2V10", stroke: css("--alarm"), "stroke-width": 2.5 }));
    else if (look === "level") svg.append(element("line", { x1: 0, x2: 28, y1: 6, y2: 6, stroke: css("--ink"), "stroke-width": 1, "stroke-dasharray": LEVELS[number % LEVELS.length].join(" ") }));
    else svg.append(element("line", { x1: 0, x2: 28, y1: 6, y2: 6, ...stroke, "stroke-dasharray": dash(number, look).join(" ") }));
    return svg;
  }
  const barLook = (number) => ({ fill: colour(number), "fill-opacity": number % 2 ? 0.3 : 1, stroke: colour(number) });
  const dash = (number, look) => look === "dashed" ? DASHES[1] : DASHES[number % DASHES.length];

  function legend(figure, chart) {
    figure.querySelector(".legend").replaceChildren(...chart.series.map((one, number) =>
      element("span", {}, sample(number, one.look), brief(one.name), element("b", { "data-value": number }, ""))));
    figure.querySelector(".legend").append(...chart.levels.map((one, number) =>
      element("span", {}, sample(number, "level"), bdi(one.name), element("b", {}, written(one.value, chart.unit)))));
    figure.querySelector(".marks").replaceChildren(...chart.markers.map((one) => {
      const words = `${EVENTS[one.event]} ${instant(one.at / 1000, true)} UTC: ${one.words}`;
      return element("li", {}, one.url ? element("a", { href: one.url }, words) : words);
    }));
  }

  // Names of people's own may be written from right to left: nothing around them must turn with them.
  const bdi = (name) => element("bdi", {}, name);
  // Long names keep their end, in which those of a kind often differ; whole ones are in the table of numbers.
  const brief = (name) => name.length > 32 ? element("bdi", { title: name }, `${name.slice(0, 18)}…${name.slice(-12)}`) : bdi(name);

  function nothing(plot) {
    plot.replaceChildren(element("p", { class: "nothing" }, "Nothing is known for this range yet."));
  }

  // Marks what happened, and what values mean, on top of the series.
  function annotations(chart) {
    return (u) => {
      const { ctx, bbox } = u, ratio = devicePixelRatio;
      ctx.save();
      ctx.font = `${12 * ratio}px system-ui, sans-serif`;
      ctx.fillStyle = ctx.strokeStyle = css("--ink");
      ctx.lineWidth = ratio;
      // Their names and values are in the legend: on the lines they would hide what is drawn.
      chart.levels.forEach((level, number) => {
        const y = u.valToPos(level.value, "y", true);
        if (y < bbox.top - 1 || y > bbox.top + bbox.height + 1) return;
        ctx.setLineDash(LEVELS[number % LEVELS.length].map((length) => length * ratio));
        ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
      });
      ctx.textAlign = "center";
      ctx.setLineDash([2 * ratio, 3 * ratio]);
      for (const marker of chart.markers) {
        const x = u.valToPos(marker.at / 1000, "x", true);
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.beginPath(); ctx.moveTo(x, bbox.top + 12 * ratio); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
        ctx.fillText(EVENTS[marker.event], x, bbox.top + 10 * ratio);
      }
      ctx.restore();
    };
  }

  // Values of few rows or unfinished windows: hollow, grey points.
  function weakPoints(one, index) {
    return (u, _, i0, i1) => {
      const { ctx } = u, ratio = devicePixelRatio;
      ctx.save();
      ctx.strokeStyle = css("--quiet"); ctx.fillStyle = css("--paper"); ctx.lineWidth = 1.5 * ratio; ctx.setLineDash([]);
      for (let i = i0; i <= i1; i++) {
        if (!one.weak[i] || u.data[index][i] == null) continue;
        ctx.beginPath();
        ctx.arc(u.valToPos(u.data[0][i], "x", true), u.valToPos(u.data[index][i], "y", true), 3.5 * ratio, 0, 2 * Math.PI);
        ctx.fill(); ctx.stroke();
      }
      ctx.restore();
    };
  }

  // Where the values of a series lie in the data of its chart; bands take two places more.
  const indexOf = (chart, number) => chart.series.slice(0, number).reduce((at, one) => at + (one.low.length ? 3 : 1), 1);

  // Places that stand out, as alarms: strokes below the axis, where they hide nothing.
  function strokes(index) {
    return (u, _, i0, i1) => {
      const { ctx, bbox } = u, ratio = devicePixelRatio, low = bbox.top + bbox.height;
      ctx.save();
      ctx.strokeStyle = css("--alarm"); ctx.lineWidth = 2.5 * ratio; ctx.setLineDash([]);
      for (let i = i0; i <= i1; i++) {
        if (u.data[index][i] == null) continue;
        const x = u.valToPos(u.data[0][i], "x", true);
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.beginPath(); ctx.moveTo(x, low + 1 * ratio); ctx.lineTo(x, low + 8 * ratio); ctx.stroke();
      }
      ctx.restore();
    };
  }

  function overTime(figure, plot, chart) {
    const data = [chart.axis.map((at) => at / 1000)], series = [{}], bands = [], weak = [];
    chart.series.forEach((one, number) => {
      const stroke = colour(number), at = data.length;
      const few = one.values.filter((value) => value != null).length < 60;
      data.push(one.values);
      series.push({
        label: one.name, stroke, width: one.look === "points" ? 0 : 2, show: one.look !== "points", dash: dash(number, one.look),
        paths: one.look === "steps" ? uPlot.paths.stepped({ align: 1 }) : one.look === "bars" ? uPlot.paths.bars({ size: [0.7] }) : undefined,
        fill: one.look === "bars" ? stroke : undefined, spanGaps: false,
        points: { show: one.look !== "points" && few, size: 6, stroke, fill: stroke },
      });
      if (one.weak.some(Boolean)) weak.push(weakPoints(one, at));
      if (one.low.length) {
        data.push(one.high, one.low);
        const edge = { label: "", stroke: "transparent", points: { show: false } };
        series.push(edge, { ...edge });
        bands.push({ series: [at + 1, at + 2], fill: `color-mix(in srgb, ${stroke} 22%, transparent)` });
      }
    });
    chart.series.forEach((one, number) => { if (one.look === "points") weak.push(strokes(indexOf(chart, number))); });
    const axis = { stroke: css("--ink"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    const values = chart.series.map((_, number) => figure.querySelector(`[data-value="${number}"]`));
    return new uPlot({
      width: plot.clientWidth, height: plot.clientHeight, series, bands, tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      legend: { show: false }, cursor: { sync: { key: "time" }, drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
      scales: { x: { time: true, ...(chart.span && { range: chart.span.map((at) => at / 1000) }) }, y: { range: (_, low, high) => ends(chart, low, high) } },
      axes: [{ ...axis, space: 70, values: TIMES }, { ...axis, size: 64, values: (_, splits) => splits.map((value) => ticked(value, chart.unit)) }],
      hooks: {
        draw: [annotations(chart), (u) => weak.forEach((paint, i) => paint(u, i, 0, u.data[0].length - 1))],
        setCursor: [(u) => show(u, chart, values)],
        setSelect: [(u) => { if (u.select.width > 4) choose(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")); }],
      },
    }, data, plot);
  }

  function ends(chart, low, high) {
    for (const level of chart.levels) { low = Math.min(low ?? level.value, level.value); high = Math.max(high ?? level.value, level.value); }
    low ??= 0; high ??= 1;
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    return [chart.low ?? low - room, chart.high ?? high + room];
  }

  function show(u, chart, values) {
    const at = u.cursor.idx;
    let index = 1;
    chart.series.forEach((one, number) => {
      const value = at == null ? null : u.data[index][at];
      const said = one.look === "points" ? (value == null ? "no" : "yes") : written(value, chart.unit);
      values[number].textContent = at == null ? "" : `${said}${number === 0 ? ` · ${instant(u.data[0][at], true)} UTC` : ""}`;
      index += one.low.length ? 3 : 1;
    });
  }

  // Brushing leads to the same page for that range: every state has an address.
  function choose(from, to) {
    const url = new URL(location.href), step = to - from > 5 * DAY_S ? DAY_S : 60;
    url.searchParams.set("from", new Date(Math.floor(from / step) * step * 1000).toISOString().slice(0, 16) + "Z");
    url.searchParams.set("to", new Date(Math.ceil(to / step) * step * 1000).toISOString().slice(0, 16) + "Z");
    location.assign(url);
  }

  // Bars for categories, lying; as HTML, since a handful of them needs no canvas.
  function overCategories(plot, chart) {
    const most = Math.max(...chart.series.flatMap((one) => one.values.map((value) => Math.abs(value ?? 0))), chart.high ?? 0, 1e-12);
    const row = (name, place) => {
      const bars = chart.series.map((one, number) => {
        const width = 100 * Math.abs(one.values[place] ?? 0) / most;
        const svg = element("svg", { width: "100%", height: 10, "aria-hidden": "true" });
        svg.append(element("rect", { width: `${width}%`, height: 10, ...barLook(number) }));
        return svg;
      });
      const numbers = chart.series.map((one) => element("td", { class: "number" }, written(one.values[place], chart.unit)));
      return element("tr", {}, element("th", { scope: "row" }, brief(name)), element("td", { class: "bars" }, ...bars), ...numbers);
    };
    const head = element("tr", {}, element("th", { scope: "col" }, "Value"), element("td", {}), ...chart.series.map((one) => element("th", { scope: "col", class: "number" }, bdi(one.name))));
    const body = element("tbody", {}, ...chart.axis.map(row));
    plot.classList.add("listed");
    plot.replaceChildren(element("table", { class: "bar-chart" }, ...(chart.series.length > 1 ? [element("thead", {}, head)] : []), body));
  }

  // What is to be seen, below what the chart is: in place of it where the page says so.
  function said(figure, caption, words) {
    let at = caption.querySelector(figure.closest("[data-chart-words]") ? "p" : "p.seen");
    if (!at) caption.append(at = element("p", { class: "seen" }));
    at.textContent = words;
  }

  async function draw(figure) {
    const plot = figure.querySelector(".plot");
    let chart;
    try {
      const answer = await fetch(figure.dataset.chart, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error((await answer.json()).detail);
      chart = await answer.json();
    } catch (error) {
      plot.replaceChildren(element("p", { class: "nothing" }, `This chart cannot be shown: ${error.message}`));
      return;
    }
    drawn.get(figure)?.destroy();
    drawn.delete(figure);
    legend(figure, chart);
    const caption = figure.querySelector("figcaption");
    if (chart.words && caption) said(figure, caption, chart.words);
    if (chart.words) plot.setAttribute("aria-label", `${chart.title}: ${chart.words}`);
    const isEmpty = chart.series.every((one) => one.values.every((value) => value == null));
    plot.replaceChildren();
    if (isEmpty) nothing(plot);
    else if (chart.over_time) drawn.set(figure, overTime(figure, plot, chart));
    else overCategories(plot, chart);
    figure.dataset.drawn = "1";
  }

  // Charts are drawn when they come into view, again when something has changed, the window or the colours.
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && !entry.target.dataset.drawn) draw(entry.target);
  }, { rootMargin: "200px" });
  const figures = () => document.querySelectorAll("figure[data-chart]");
  // Those of a page that is printed as a report do not wait for somebody to scroll.
  const watch = () => figures().forEach((figure) => {
    if (figure.closest("[data-draw-at-once]") && !figure.dataset.drawn) draw(figure);
    else seen.observe(figure);
  });
  const again = () => figures().forEach((figure) => { if (figure.dataset.drawn) draw(figure); });
  watch();
  document.addEventListener("driftline-redraw", () => { watch(); again(); });
  document.addEventListener("htmx:after:swap", watch);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new ResizeObserver(() => drawn.forEach((u, figure) => {
    const plot = figure.querySelector(".plot");
    u.setSize({ width: plot.clientWidth, height: plot.clientHeight });
  })).observe(document.body);
})();
