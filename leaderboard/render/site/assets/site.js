// Makes tables sortable, draws charts when they come into view, switches suite and theme. Without it the pages are whole.
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  function themeButton() {
    const button = document.getElementById("theme");
    const name = () => {
      const other = root.dataset.theme === "dark" ? "Light" : "Dark";
      button.textContent = other;
      button.setAttribute("aria-label", `${other} theme`);
    };
    button.hidden = false;
    button.addEventListener("click", () => window.setTheme(root.dataset.theme === "dark" ? "light" : "dark"));
    document.addEventListener("theme", name);
    name();
  }

  // One suite at a time: the one whose section, or a part of it, the address names; else the first.
  function suites() {
    const sections = all("section.suite");
    const links = all("nav.suites a");
    if (!links.length) return;
    const choose = () => {
      const target = location.hash ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
      const chosen = (target && target.closest("section.suite")) || sections[0];
      for (const section of sections) section.hidden = section !== chosen;
      for (const link of links) {
        if (link.hash === `#${chosen.id}`) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
      if (target && target !== chosen) target.scrollIntoView();
    };
    addEventListener("hashchange", choose);
    choose();
  }

  async function tables() {
    const { ITable } = await window.itables;
    for (const table of all("table.data:not(.plain)")) {
      const rows = table.tBodies[0].rows.length;
      const pageLength = Number(table.dataset.rows);
      const filter = Boolean(table.dataset.filter) || rows > pageLength;
      const box = table.closest(".table-box");
      new ITable(table, {
        autoWidth: false,
        order: [],
        paging: rows > pageLength,
        pageLength,
        lengthMenu: [...new Set([10, 25, 100, pageLength])].sort((a, b) => a - b),
        info: rows > pageLength || filter,
        searching: filter,
        layout: { topStart: filter ? "search" : null, topEnd: rows > pageLength ? "pageLength" : null },
        language: { search: "Filter", lengthMenu: "_MENU_ rows", emptyTable: "No entries" },
      });
      // The box that scrolls is now the table's own, so that filter and page buttons stay in view.
      const scrolls = table.parentElement;
      for (const name of ["role", "tabindex", "aria-label"]) {
        scrolls.setAttribute(name, box.getAttribute(name));
        box.removeAttribute(name);
      }
    }
    root.dataset.tables = "ready";
  }

  const page = JSON.parse(document.getElementById("page-data").textContent);
  const views = new Map();

  // The specification in the colours of the theme; the dark version of each colour of ours comes with the page.
  function themed(spec) {
    if (root.dataset.theme !== "dark") return spec;
    const swap = (node) => {
      if (typeof node === "string") return page.dark[node] || node;
      if (Array.isArray(node)) return node.map(swap);
      if (node && typeof node === "object")
        return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, key === "datasets" ? value : swap(value)]));
      return node;
    };
    return swap(spec);
  }

  function config(width) {
    const style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(name).trim();
    const columns = Math.max(1, Math.floor(width / 150));
    return {
      background: colour("--surface"),
      font: style.getPropertyValue("--font").trim(),
      padding: 4,
      aria: true,
      mark: { aria: false }, // the description says what they say, in one sentence
      view: { stroke: null },
      axis: {
        aria: false, labelColor: colour("--muted"), titleColor: colour("--ink"), gridColor: colour("--grid"),
        domainColor: colour("--line"), tickColor: colour("--line"), labelFontSize: 11, titleFontSize: 12,
        titleFontWeight: "normal",
      },
      header: { labelColor: colour("--ink"), labelFontSize: 12 },
      legend: {
        aria: false, orient: "bottom", columns, labelColor: colour("--ink"), titleColor: colour("--ink"),
        labelFontSize: 12, labelLimit: 140, symbolStrokeWidth: 2.5, symbolSize: 260,
      },
    };
  }

  async function draw(figure) {
    const canvas = figure.querySelector(".canvas");
    const width = canvas.clientWidth;
    const spec = { ...themed(figure.spec || page.charts[figure.dataset.chart]) };
    if (spec.facet) {
      const panel = typeof spec.spec.width === "number" ? spec.spec.width + 45 : 150;
      spec.columns = Math.max(1, Math.floor(width / panel));
    }
    const place = document.createElement("div");
    place.className = "vega";
    canvas.append(place);
    const drawn = await window.vegaEmbed(place, spec, { actions: false, renderer: "svg", config: config(width) });
    const old = views.get(figure);
    if (old) old.finalize();
    views.set(figure, drawn);
    for (const child of [...canvas.children]) if (child !== place) child.remove();
    figure.dataset.drawn = "yes";
    return drawn;
  }

  async function save(button) {
    const figure = button.closest("figure");
    const { view } = views.get(figure) || (await draw(figure));
    const png = button.dataset.format === "png";
    const link = document.createElement("a");
    link.download = `${figure.id}.${button.dataset.format}`;
    link.href = png
      ? await view.toImageURL("png", 2)
      : URL.createObjectURL(new Blob([await view.toSVG()], { type: "image/svg+xml" }));
    link.click();
  }

  function charts() {
    const figures = all("figure[data-chart]");
    const watcher = new IntersectionObserver(
      (entries) => {
        for (const { isIntersecting, target } of entries) {
          if (!isIntersecting) continue;
          watcher.unobserve(target);
          draw(target);
        }
      },
      { rootMargin: "300px" },
    );
    // For pages that make figures of their own, with a specification in `spec`.
    window.watchChart = (figure) => {
      watcher.observe(figure);
      for (const button of all("button.save", figure)) {
        button.hidden = false;
        button.addEventListener("click", () => save(button));
      }
    };
    window.forgetChart = (figure) => {
      watcher.unobserve(figure);
      if (views.has(figure)) views.get(figure).finalize();
      views.delete(figure);
    };
    figures.forEach(window.watchChart);
    document.addEventListener("theme", () => { for (const figure of views.keys()) draw(figure); });
  }

  themeButton();
  suites();
  charts();
  tables();
})();
