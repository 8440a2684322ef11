// Draws every <figure data-chart="…json">. What is drawn comes as data from there; the same data can be had as a
// table, CSV, SVG and PNG from links below each chart. No two series differ by colour alone.
"use strict";
(() => {
  const DASHES = [[], [8, 4], [8, 3, 2, 3], [2, 3]];
  const OF_SVG = new Set(["svg", "line", "rect", "path", "title"]);
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
  function written(value, unit) {
    if (value == null) return "–";
    if (unit === "share") return `${+(100 * value).toPrecision(3)} %`;
    const size = Math.abs(value);
    const number = size >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(3));
    return unit ? `${number} ${unit}` : number;
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
    if (look === "bars") svg.append(element("rect", { x: 4, y: 1, width: 20, height: 10, fill: colour(number) }));
    else if (look === "points") svg.append(element("path", { d: "M14 1 19 6 14 11 9 6Z", fill: "none", stroke: css("--ink"), "stroke-width": 1.5 }));
    else svg.append(element("line", { x1: 0, x2: 28, y1: 6, y2: 6, ...stroke, "stroke-dasharray": dash(number, look).join(" ") }));
    return svg;
  }
  const dash = (number, look) => look === "dashed" ? DASHES[1] : DASHES[number % DASHES.length];

  function legend(figure, chart) {
    figure.querySelector(".legend").replaceChildren(...chart.series.map((one, number) =>
      element("span", {}, sample(number, one.look), one.name, element("b", { "data-value": number }, ""))));
    figure.querySelector(".marks").replaceChildren(...chart.markers.map((one) => {
      const words = `${EVENTS[one.event]} ${instant(one.at / 1000, true)} ${one.words}`;
      return element("li", {}, one.url ? element("a", { href: one.url }, words) : words);
    }));
  }

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
      for (const level of chart.levels) {
        const y = u.valToPos(level.value, "y", true);
        if (y < bbox.top || y > bbox.top + bbox.height) continue;
        ctx.setLineDash([6 * ratio, 3 * ratio]);
        ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
        ctx.textAlign = "right";
        ctx.fillText(level.name, bbox.left + bbox.width - 4 * ratio, y - 4 * ratio);
      }
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
      ctx.strokeStyle = css("--quiet"); ctx.fillStyle = css("--paper"); ctx.lineWidth = 1.5 * ratio;
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

  // Single values that stand out, as alarms: diamonds around the place, whatever is drawn there.
  function diamonds(index) {
    return (u, _, i0, i1) => {
      const { ctx } = u, ratio = devicePixelRatio, size = 6 * ratio;
      ctx.save();
      ctx.strokeStyle = css("--ink"); ctx.lineWidth = 1.5 * ratio;
      for (let i = i0; i <= i1; i++) {
        if (u.data[index][i] == null) continue;
        const x = u.valToPos(u.data[0][i], "x", true), y = u.valToPos(u.data[index][i], "y", true);
        ctx.beginPath();
        ctx.moveTo(x, y - size); ctx.lineTo(x + size, y); ctx.lineTo(x, y + size); ctx.lineTo(x - size, y);
        ctx.closePath(); ctx.stroke();
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
        label: one.name, stroke, width: one.look === "points" ? 0 : 2, dash: dash(number, one.look),
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
    chart.series.forEach((one, number) => { if (one.look === "points") weak.push(diamonds(indexOf(chart, number))); });
    const axis = { stroke: css("--ink"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    const values = chart.series.map((_, number) => figure.querySelector(`[data-value="${number}"]`));
    return new uPlot({
      width: plot.clientWidth, height: plot.clientHeight, series, bands, tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      legend: { show: false }, cursor: { sync: { key: "time" }, drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
      scales: { x: { time: true, ...(chart.span && { range: chart.span.map((at) => at / 1000) }) }, y: { range: (_, low, high) => ends(chart, low, high) } },
      axes: [{ ...axis, space: 70, values: TIMES }, { ...axis, size: 64, values: (_, splits) => splits.map((value) => written(value, chart.unit)) }],
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
      values[number].textContent = at == null ? "" : `${written(value, chart.unit)}${number === 0 ? ` · ${instant(u.data[0][at], true)}` : ""}`;
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
        const value = one.values[place], width = 100 * Math.abs(value ?? 0) / most;
        const svg = element("svg", { width: "100%", height: 10, "aria-hidden": "true" });
        svg.append(element("rect", { width: `${width}%`, height: 10, fill: colour(number), "fill-opacity": number % 2 ? 0.55 : 1, stroke: colour(number) }));
        return element("div", {}, svg, element("span", { class: "unseen" }, `${one.name}: ${written(value, chart.unit)}`));
      });
      const numbers = chart.series.map((one) => written(one.values[place], chart.unit)).join(" | ");
      return element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "bars" }, ...bars), element("td", { class: "number" }, numbers));
    };
    const table = element("table", { class: "bar-chart" }, element("tbody", {}, ...chart.axis.map(row)));
    plot.classList.add("listed");
    plot.replaceChildren(table);
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
    const caption = figure.querySelector("figcaption p");
    if (chart.words && caption && figure.closest("[data-chart-words]")) caption.textContent = chart.words;
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
