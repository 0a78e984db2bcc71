// The report: one state (time, runs, row), kept in the address; everything is drawn from it.
"use strict";
(() => {
  const { lines, map, bytes, thousands, scales, css } = window.charts;
  const place = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const made = (name, className, text) => {
    const element = document.createElement(name);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const { runs, summary } = JSON.parse(place("report-data").textContent);
  const several = runs.length > 1;
  const last = (values) => values[values.length - 1];
  const origin = (run) => run.emergence ?? run.moments.after ?? run.moments.end;
  const offset = (run) => (state.align ? origin(run) : 0);

  // Time is a step; where runs are aligned, a step from emergence on.
  const state = { align: false, lock: true, time: 0, times: [], shown: [], row: null };

  function ticksOf(chosen) {
    const found = new Set();
    for (const run of chosen) {
      for (const steps of [run.steps, ...run.maps.map((group) => group.steps)]) for (const step of steps) found.add(step - offset(run));
    }
    return [...found].sort((a, b) => a - b);
  }
  const stepOf = (i) => {
    const run = runs[i];
    const asked = state.lock ? state.time + offset(run) : state.times[i];
    return Math.min(Math.max(asked, 0), last(run.steps));
  };
  const timeText = (value) => (state.align && state.lock ? `${value < 0 ? "\u2212" : "+"}${thousands(Math.abs(value))} steps` : `step ${thousands(value)}`);
  const at = (steps, step) => {
    let found = 0;
    steps.forEach((value, i) => { if (value <= step) found = i; });
    return found;
  };

  // The address.
  function read() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const number = (name, otherwise) => (asked.has(name) && Number.isFinite(Number(asked.get(name))) ? Number(asked.get(name)) : otherwise);
    state.align = several && asked.get("align") === "1";
    state.lock = !several || asked.get("lock") !== "0";
    const shown = (asked.get("runs") ?? "").split(",").filter((text) => /^\d+$/.test(text)).map(Number).filter((i) => i < runs.length);
    state.shown = shown.length ? [...new Set(shown)].sort((a, b) => a - b) : runs.map((_, i) => i).slice(0, Math.max(all("[data-show][checked]").length, 1));
    const times = (asked.get("times") ?? "").split(",");
    state.times = runs.map((run, i) => (times[i] !== undefined && times[i] !== "" && Number.isFinite(Number(times[i])) ? Number(times[i]) : last(run.steps)));
    const end = Math.max(...state.shown.map((i) => last(runs[i].steps) - offset(runs[i])));
    state.time = number("t", end);
    const row = number("row", null);
    state.row = Number.isInteger(row) && row >= 0 && row < runs[state.shown[0]].names.length ? row : null;
  }
  function write() {
    const parts = [state.lock ? `t=${state.time}` : `times=${state.times.join(",")}`];
    if (state.align) parts.push("align=1");
    if (!state.lock) parts.push("lock=0");
    if (several) parts.push(`runs=${state.shown.join(",")}`);
    if (state.row !== null) parts.push(`row=${state.row}`);
    history.replaceState(null, "", `#${parts.join("&")}`);
  }

  // Sliders: one for all runs, or one for each.
  function slider(within, label, ticks, value, moved) {
    const box = made("div", "slider");
    const input = made("input");
    const output = made("output");
    Object.assign(input, { type: "range", min: 0, max: ticks.length - 1, step: 1 });
    input.setAttribute("aria-label", label);
    const show = (time) => {
      input.value = at(ticks, time);
      output.textContent = timeText(time);
      input.setAttribute("aria-valuetext", timeText(time));
    };
    input.addEventListener("input", () => { show(ticks[input.value]); moved(ticks[input.value]); });
    box.append(output, input);
    within.replaceChildren(box);
    show(value);
    return show;
  }
  let showTime = () => {};
  const showTimes = [];
  function sliders() {
    const chosen = state.shown.map((i) => runs[i]);
    place("bar").hidden = false;
    place("time").hidden = !state.lock;
    showTime = slider(place("time"), "Time", ticksOf(chosen), state.time, (time) => { state.time = time; move(); });
    runs.forEach((run, i) => {
      const own = document.querySelector(`.run[data-run="${i}"] .own-time`);
      own.hidden = state.lock;
      showTimes[i] = slider(own, `Time of ${run.label}`, run.steps, stepOf(i), (time) => { state.times[i] = time; move(); });
    });
  }
  function go(i, step) {
    if (state.lock) state.time = step - offset(runs[i]);
    else state.times[i] = step;
    showTime(state.time);
    showTimes[i](stepOf(i));
    move();
  }

  // Charts: by name, what they draw of a run.
  const hue = (n) => `line${n % 5}${["", " second", " third"][Math.floor(n / 5) % 3]}`;
  const finite = (values) => values.filter((value) => value !== null);
  const jump = (run) => (run.moments.after === undefined ? null : [run.moments.before, run.moments.after]);
  const range = (values, least) => [Math.min(0, ...values), Math.max(least, ...values) * 1.04];
  const CHARTS = {
    loss: (run) => {
      const top = Math.max(run.levels.chance, ...finite(run.loss).slice(1), ...finite(run.scored).slice(1));
      return {
        lines: [
          { name: "all tokens", xs: run.steps, ys: run.loss, style: "ink" },
          { name: "predictable tokens", xs: run.steps, ys: run.scored, style: "line0" },
        ],
        levels: [{ y: run.levels.chance, label: "chance", end: true }, { y: run.levels.floor, label: "floor" }],
        marks: run.hits.map(({ step, names }) => ({ x: step, label: names.length > 1 ? `${names[0]} +${names.length - 1}` : names[0], whole: names.join(", ") })),
        band: jump(run), y: [0, top * 1.1], legend: true, unit: " nats",
      };
    },
    rows: (run) => ({
      lines: run.rows.map((ys, row) => ({ name: `${run.noun} ${run.names[row]}`, row, xs: run.steps, ys, style: run.row_heads[row] === null ? "grey" : hue(run.row_heads[row]) })),
      levels: [{ y: run.levels.chance, label: "chance", end: true }],
      band: jump(run), parts: run.part_hits.map(({ step, part }) => ({ x: step, label: `part ${part} solved` })),
      y: [0, run.levels.chance * 1.15], unit: " nats",
    }),
    shares: (run) => ({
      lines: Object.entries(run.shares).map(([name, ys], n) => ({ name: name.replaceAll("_", " "), xs: run.steps, ys, style: ["ink", "line0", "line4 second", "line3"][n] })),
      y: [0, 1.04], legend: true,
    }),
    entropy: (run) => ({
      lines: run.attention.heads.map((name, n) => ({ name, xs: run.attention.steps, ys: run.attention.entropy[n], style: n < run.attention.learned ? hue(n) : "grey" })).reverse(),
      y: range(finite(run.attention.entropy.flat()), 0.1), legend: "named", unit: " nats",
    }),
    mass: (run) => ({
      lines: run.attention.mass.map((ys, row) => ({ name: `${run.noun} ${run.names[row]}`, row, xs: run.attention.steps, ys, style: run.row_heads[row] === null ? "grey" : hue(run.row_heads[row]) })),
      y: [0, 1.04],
    }),
    dependency: (run) => {
      const { steps, ...curves } = run.dependency;
      return { lines: Object.entries(curves).map(([name, ys], n) => ({ name, xs: steps, ys, style: ["ink", "grey", "line0"][n] })), y: [0, 1.04], legend: true };
    },
  };
  CHARTS.decay = (run) => ({
    lines: run.decay.lines.map(({ name, values }, n) => ({ name, xs: run.decay.steps, ys: values, style: `line${Math.floor(n / 2) % 5}${n % 2 ? " second" : ""}` })),
    y: [0, 1.04], legend: true,
  });
  const live = new Map(); // of every chart that is drawn: moves its time
  function sample(className) {
    const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    icon.setAttribute("width", 22);
    icon.setAttribute("height", 10);
    icon.setAttribute("aria-hidden", "true");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", "M0 5H22");
    line.setAttribute("class", `line ${className}`);
    icon.append(line);
    return icon;
  }
  function draw(figure) {
    const i = Number(figure.dataset.run);
    const run = runs[i];
    const spec = CHARTS[figure.dataset.chart](run);
    const picked = state.row;
    for (const line of spec.lines) {
      if (picked === null || line.row === undefined) continue;
      line.dim = line.row !== picked;
      if (!line.dim) line.style += " picked";
    }
    spec.lines.sort((a, b) => (b.dim ? 1 : 0) - (a.dim ? 1 : 0));
    const title = figure.querySelector("strong").textContent;
    const cursor = lines(figure.querySelector(".plot"), { ...spec, x: [0, last(run.steps)], label: `${title} of ${run.label} over training steps` });
    const named = spec.lines.filter((line) => spec.legend === true || (spec.legend && !line.style.startsWith("grey")));
    if (spec.legend === "named") named.reverse();
    figure.querySelector(".legend").replaceChildren(...named.map((line) => {
      const item = made("span");
      item.append(sample(line.style), line.name);
      return item;
    }));
    const readout = figure.querySelector(".readout");
    live.set(figure, () => {
      const step = stepOf(i);
      cursor(step);
      const said = spec.lines.filter((line) => spec.legend === true || line.row === picked && picked !== null)
        .map((line) => [line.name, line.ys[at(line.xs, step)]]).filter(([, value]) => value !== null && value !== undefined);
      readout.textContent = said.length ? `Step ${thousands(step)}: ${said.map(([name, value]) => `${name} ${value.toFixed(3)}`).join(", ")}${spec.unit ?? ""}.` : "";
    });
    live.get(figure)();
  }
  function drawSmall(plot) {
    const run = runs[Number(plot.dataset.run)];
    const starts = runs.map((each) => -offset(each));
    const ends = runs.map((each) => last(each.steps) - offset(each));
    const chance = Math.max(...runs.map((each) => each.levels.chance));
    const cursor = lines(plot, {
      lines: [{ name: run.label, xs: run.steps.map((step) => step - offset(run)), ys: run.scored, style: "line0" }],
      marks: run.emergence === null ? [] : [{ x: run.emergence - offset(run) }],
      x: [Math.min(...starts), Math.max(...ends)], y: [0, chance * 1.15], height: 120, xLabel: state.align ? "from emergence" : "step",
      label: `Loss over predictable tokens of ${run.label}`,
    });
    live.set(plot, () => cursor(stepOf(Number(plot.dataset.run)) - offset(run)));
    live.get(plot)();
  }

  // Maps.
  const decoded = new Map();
  const values = (panel, key) => {
    const id = `${key}`;
    if (!decoded.has(panel)) decoded.set(panel, {});
    return (decoded.get(panel)[id] ??= bytes(panel[key]));
  };
  function one(title, panel, difference) {
    const box = made("div", "map");
    const frame = made("div", "frame");
    const canvas = made("canvas");
    canvas.style.aspectRatio = `${panel.columns} / ${panel.rows}`;
    canvas.setAttribute("role", "img");
    frame.append(canvas);
    if (panel.border !== null && panel.columns === panel.whole[1]) {
      const line = made("div", "border");
      line.style.left = `${(100 * panel.border) / panel.columns}%`;
      frame.append(line);
    }
    if (state.row !== null && panel.rows === panel.whole[0] && state.row < panel.rows) {
      const outline = made("div", "outline");
      outline.style.top = `${(100 * state.row) / panel.rows}%`;
      outline.style.height = `${100 / panel.rows}%`;
      frame.append(outline);
    }
    box.append(made("span", "", title), frame);
    return { box, canvas, difference };
  }
  function scale(low, high, stops) {
    const box = made("div", "scale");
    const bar = made("i");
    bar.style.background = css(stops);
    box.append(low, bar, high);
    return box;
  }
  const digits = (value) => (value >= 0.995 ? "1" : value.toPrecision(2));
  function group(i, content) {
    const run = runs[i];
    const box = made("div", "group");
    const main = content.panels.find((panel) => panel.main) ?? content.panels[0];
    const said = made("p", "said");
    box.append(made("h4", "", `${content.title}: ${main.title.toLowerCase()}`));
    const trio = made("div", "trio");
    const drawn = [{ panel: main, ...one("", main, false) }];
    drawn[0].box.firstChild.textContent = "Now";
    if (main.truth) {
      drawn.push({ panel: main, truth: true, ...one("True pattern", main, false) });
      if (!main.signed) drawn.push({ panel: main, ...one("Difference", main, true) });
    }
    for (const each of drawn) trio.append(each.box);
    drawn[0].box.append(main.signed
      ? scale(`\u2212${digits(main.top)}`, `+${digits(main.top)}`, scales().difference)
      : scale("0", digits(main.top), scales().value));
    if (drawn.length === 3) drawn[2].box.append(scale(`\u2212${digits(main.top)}`, `+${digits(main.top)}`, scales().difference));
    box.append(trio, said);
    const others = content.panels.filter((panel) => panel !== main);
    if (others.length) {
      const more = made("details");
      more.open = !several;
      const heads = run.attention?.heads.length;
      const every = main.kind !== "attention" ? `${others.length} more` : others.length === heads ? `Every head (${heads})` : `Single heads (${others.length} of ${heads})`;
      more.append(made("summary", "", every));
      const grid = made("div", "small-maps");
      for (const panel of others) {
        const each = { panel, ...one(panel.title, panel, false) };
        drawn.push(each);
        grid.append(each.box);
      }
      more.append(grid);
      box.append(more);
    }
    const show = () => {
      const n = at(content.steps, stepOf(i));
      for (const { panel, canvas, truth, difference } of drawn) {
        const size = panel.rows * panel.columns;
        const now = values(panel, "frames").subarray(n * size, (n + 1) * size);
        const true_ = panel.truth ? values(panel, "truth") : null;
        const shown = truth ? true_ : difference ? now.map((value, k) => (value === 255 ? 255 : Math.round((value - true_[k]) / 2 + 127))) : now;
        map(canvas, shown, panel.rows, panel.columns, difference || panel.signed);
        const what = truth ? "True pattern" : difference ? `Difference of ${panel.title} from the true pattern` : panel.title;
        canvas.setAttribute("aria-label", truth ? what : `${what} at step ${content.steps[n]}`);
      }
      said.textContent = `At step ${thousands(content.steps[n])}${share(main, n)}. Point at an entry to read it.`;
    };
    for (const { panel, canvas, truth, difference } of drawn) {
      canvas.addEventListener("pointermove", (event) => {
        const area = canvas.getBoundingClientRect();
        const column = Math.min(Math.floor(((event.clientX - area.left) / area.width) * panel.columns), panel.columns - 1);
        const row = Math.min(Math.floor(((event.clientY - area.top) / area.height) * panel.rows), panel.rows - 1);
        const n = at(content.steps, stepOf(i));
        const cell = row * panel.columns + column;
        const byte = values(panel, "frames")[n * panel.rows * panel.columns + cell];
        const true_ = panel.truth ? values(panel, "truth")[cell] : null;
        const number = (value) => ((panel.signed ? value / 127 - 1 : value / 254) * panel.top).toFixed(2);
        const where = panel.rows === panel.whole[0] && panel.columns === panel.whole[1]
          ? `${panel.noun} ${panel.names[row]}, token ${column}` : `block ${row}, ${column}`;
        said.textContent = `${panel.title}, ${where}: ${byte === 255 ? "not read" : `${number(byte)}${true_ === null || panel.signed ? "" : ` (true ${number(true_)})`}`}`;
      });
      canvas.addEventListener("pointerleave", show);
    }
    live.set(box, show);
    show();
    return box;
  }
  // How much of a map lies on the pattern.
  function share(panel, n) {
    if (!panel.truth || panel.signed || panel.rows !== panel.whole[0] || panel.columns !== panel.whole[1]) return "";
    const size = panel.rows * panel.columns;
    const now = values(panel, "frames").subarray(n * size, (n + 1) * size);
    const true_ = values(panel, "truth");
    let [on, whole] = [0, 0];
    now.forEach((value, k) => {
      if (value === 255) return;
      whole += value;
      if (true_[k] > 0 && true_[k] < 255) on += value;
    });
    return whole ? `: ${Math.round((100 * on) / whole)} % of what is shown lies on the pattern` : "";
  }

  // All of it.
  function move() {
    for (const [element, show] of live) if (element.isConnected) show(); else live.delete(element);
    write();
  }
  function render() {
    live.clear();
    runs.forEach((run, i) => {
      const section = document.querySelector(`.run[data-run="${i}"]`);
      section.hidden = !state.shown.includes(i);
      if (section.hidden) return;
      for (const figure of all("figure", section)) draw(figure);
      for (const maps of all(".maps", section)) maps.replaceChildren(...run.maps.map((content) => group(i, content)));
      for (const moments of all(".moments", section)) moments.hidden = !run.maps.length;
    });
    for (const plot of all("[data-chart=small]")) drawSmall(plot);
    for (const box of all("[data-show]")) { box.disabled = false; box.checked = state.shown.includes(Number(box.dataset.show)); }
    for (const button of all(".pick")) button.setAttribute("aria-pressed", String(Number(button.dataset.row) === state.row));
    if (several) { place("align").checked = state.align; place("lock").checked = state.lock; }
    sliders();
    document.documentElement.dataset.report = "drawn";
  }
  function change(edit) {
    const before = state.shown.map(stepOf);
    edit();
    // Whatever the change, the first run stays where it was.
    const first = state.shown[0];
    if (state.lock) state.time = (before[0] ?? last(runs[first].steps)) - offset(runs[first]);
    write();
    render();
  }

  function save(name, header, rows) {
    const text = (value) => {
      if (value === null || value === undefined) return "";
      const plain = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
      return /[",\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
    };
    const content = [header, ...rows].map((row) => row.map(text).join(",")).join("\n");
    const link = made("a");
    link.href = URL.createObjectURL(new Blob([`${content}\n`], { type: "text/csv" }));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  }
  const SAVES = {
    summary: () => save("summary.csv", summary[0], summary.slice(1)),
    curves: () => {
      const shares = [...new Set(runs.flatMap((run) => Object.keys(run.shares)))];
      const names = Math.max(...runs.map((run) => run.names.length));
      const header = ["run", "step", "loss_nats", "loss_scored_nats", ...shares, ...Array.from({ length: names }, (_, n) => `loss_row${n}_nats`)];
      save("curves.csv", header, runs.flatMap((run) => run.steps.map((step, n) => [
        run.label, step, run.loss[n], run.scored[n], ...shares.map((name) => run.shares[name]?.[n]), ...run.rows.map((row) => row[n]),
      ])));
    },
  };
  const thinned = Math.max(...runs.map((run) => run.every));
  for (const button of all("[data-save]")) button.addEventListener("click", SAVES[button.dataset.save]);
  if (thinned > 1) document.querySelector("[data-save=curves]").textContent += ` (up to every ${thinned}th evaluation)`;
  document.querySelector(".downloads").hidden = false;
  for (const button of all(".moments button")) {
    button.addEventListener("click", () => go(Number(button.parentElement.dataset.run), Number(button.dataset.step)));
  }
  for (const button of all(".pick")) {
    button.addEventListener("click", () => { state.row = Number(button.dataset.row) === state.row ? null : Number(button.dataset.row); write(); render(); });
  }
  for (const box of all("[data-show]")) {
    box.addEventListener("change", () => change(() => {
      const i = Number(box.dataset.show);
      const shown = box.checked ? [...state.shown, i] : state.shown.filter((other) => other !== i);
      state.shown = shown.length ? shown.sort((a, b) => a - b) : state.shown;
    }));
  }
  if (several) {
    place("align").addEventListener("change", (event) => change(() => { state.align = event.target.checked; }));
    place("lock").addEventListener("change", (event) => change(() => {
      if (!event.target.checked) state.times = runs.map((_, i) => stepOf(i));
      state.lock = event.target.checked;
    }));
  }
  const copy = place("copy");
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    write();
    try {
      await navigator.clipboard.writeText(location.href);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "The address bar has it";
    }
    setTimeout(() => { copy.textContent = "Copy link"; }, 2000);
  });
  const theme = place("theme");
  const otherTheme = () => (document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  const nameTheme = () => { theme.textContent = otherTheme() === "dark" ? "Dark" : "Light"; theme.setAttribute("aria-label", `${theme.textContent} theme`); };
  theme.hidden = false;
  theme.addEventListener("click", () => window.setTheme(otherTheme()));
  document.addEventListener("theme", () => { nameTheme(); render(); });
  nameTheme();
  addEventListener("hashchange", () => { read(); render(); });
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; render(); } });
  read();
  render();
})();
