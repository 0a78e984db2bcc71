// Shows the two entries that the address names (#suite/first/second), and puts into the address those that are chosen.
"use strict";
(() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const suites = page.pairs;
  const form = document.getElementById("pair");
  if (!suites.length) return;
  const place = (id) => document.getElementById(id);
  const made = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  let figures = [];

  function options(suite) {
    for (const select of [form.first, form.second]) {
      select.replaceChildren(...suite.entries.map(({ title }, index) => {
        const option = made("option", title);
        option.value = index;
        return option;
      }));
    }
  }

  // Positions of suite, first and second in the address; the first ones where it names none.
  function asked() {
    const [suite, first, second] = location.hash.slice(1).split("/").map(decodeURIComponent);
    const at = Math.max(0, suites.findIndex(([name]) => name === suite));
    const { entries } = suites[at][1];
    const entry = (name, otherwise) => {
      const found = entries.findIndex((each) => each.name === name);
      return found < 0 ? otherwise : found;
    };
    const one = entry(first, 0);
    return [at, one, entry(second, one === 0 ? Math.min(1, entries.length - 1) : 0)];
  }

  function address(at, first, second) {
    const [name, { entries }] = suites[at];
    return `#${[name, entries[first].name, entries[second].name].map(encodeURIComponent).join("/")}`;
  }

  function table(rows, caption) {
    const shown = made("table", undefined, "data plain");
    shown.append(made("caption", caption));
    const head = shown.createTHead().insertRow();
    for (const { title, number } of page.columns) {
      const cell = made("th", title, number ? "n" : "");
      cell.scope = "col";
      head.append(cell);
    }
    const body = shown.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      row.forEach((text, index) => {
        const cell = made(index === 1 ? "th" : "td", text, page.columns[index].number ? "n" : "");
        if (index === 1) cell.scope = "row";
        line.append(cell);
      });
    }
    return shown;
  }

  // A chart of all entries, with the lines of two.
  function spec(chart, names) {
    const whole = page.charts[chart];
    const curves = whole.datasets.curves.filter((row) => names.includes(row.entry));
    const keep = (node) => {
      if (Array.isArray(node)) return node.map(keep);
      if (!node || typeof node !== "object") return node;
      const copy = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, key === "datasets" ? value : keep(value)]));
      if (copy.field === "entry" && copy.legend) copy.legend = { ...copy.legend, values: names };
      return copy;
    };
    return { ...keep(whole), datasets: { ...whole.datasets, curves }, description: `Share solved by ${names.join(" and ")}` };
  }

  function show() {
    const [at, first, second] = asked();
    const { entries, found, charts } = suites[at][1];
    if (form.suite.value !== String(at) || !form.first.options.length) options(suites[at][1]);
    form.suite.value = at;
    form.first.value = first;
    form.second.value = second;
    const [one, other] = [entries[first], entries[second]];
    const pair = found[`${first} ${second}`];
    const said = place("pair-said");
    said.replaceChildren();
    if (!pair) {
      said.append(made("p", first === second ? "Choose two different entries." : "The two have no cell in common.", "empty"));
    } else {
      for (const { task, verdict, rate, reason } of pair.tasks) {
        const line = made("p");
        line.append(made("code", task), made("strong", ` ${verdict}: `));
        line.append(`${one.title} is ahead of ${other.title} in ${rate} of the pairs of runs (${reason}).`);
        said.append(line);
      }
      const command = made("p", "The same in a terminal, with the charts as a file: ", "muted");
      const suite = suites.length > 1 ? ` --suite ${suites[at][0]}` : "";
      command.append(made("code", `python -m leaderboard compare ${one.name} ${other.name}${suite} --chart pair.pdf`));
      said.append(command);
    }
    place("pair-cells").hidden = !pair;
    place("pair-curves").hidden = !pair;
    place("pair-cells").replaceChildren(...(pair ? [table(pair.rows, `${one.title} against ${other.title}`)] : []));
    for (const figure of figures) window.forgetChart(figure);
    figures = (pair ? charts : []).map(({ id, title }) => {
      const figure = document.createElement("figure");
      figure.id = `${id}-figure`;
      const head = made("div", undefined, "head");
      const saves = made("span", undefined, "saves");
      for (const format of ["svg", "png"]) {
        const button = made("button", format.toUpperCase(), "save");
        button.type = "button";
        button.dataset.format = format;
        button.append(made("span", ` of ${title}`, "sr"));
        saves.append(button);
      }
      head.append(made("strong", title), saves);
      figure.append(head, made("div", undefined, "canvas"));
      figure.spec = spec(id, [one.name, other.name]);
      return figure;
    });
    place("pair-charts").replaceChildren(...figures);
    for (const figure of figures) window.watchChart(figure);
    document.documentElement.dataset.pair = pair ? "shown" : "none";
  }

  form.addEventListener("change", (event) => {
    const at = Number(form.suite.value);
    if (event.target === form.suite) {
      options(suites[at][1]);
      form.second.value = Math.min(1, suites[at][1].entries.length - 1);
    }
    location.hash = address(at, Number(form.first.value), Number(form.second.value));
  });
  form.swap.addEventListener("click", () => {
    location.hash = address(Number(form.suite.value), Number(form.second.value), Number(form.first.value));
  });
  addEventListener("hashchange", show);
  form.hidden = false;
  show();
})();
