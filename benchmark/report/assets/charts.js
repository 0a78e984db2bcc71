// Line charts and maps: drawn from numbers, in the colours of the page, as wide as their place.
"use strict";
window.charts = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const made = (name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const thousands = (value) => String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ",");

  // Round numbers from low to high, about `n` of them.
  function ticks(low, high, n) {
    const raw = (high - low) / n || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const size = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
    const found = [];
    for (let i = Math.ceil(low / size - 1e-9); i * size <= high + 1e-9 * size; i += 1) found.push(Number((i * size).toPrecision(12)));
    return found;
  }

  // Draw lines over steps; returns a function that moves the line of the present time.
  //   lines: {name, xs, ys, style, dim}; levels: {y, label}; marks: {x, label}; parts: {x, label}, triangles on the axis;
  //   band: [from, to]; x, y: [low, high]
  function lines(place, { lines: series, levels = [], marks = [], parts = [], band = null, x, y, height = 220, label, xLabel = "step" }) {
    const width = Math.max(place.clientWidth, 200);
    const left = 44, right = 10, bottom = 34, top = marks.some((mark) => mark.label) ? 24 : 10;
    const px = (value) => left + ((value - x[0]) / (x[1] - x[0] || 1)) * (width - left - right);
    const py = (value) => height - bottom - ((value - y[0]) / (y[1] - y[0] || 1)) * (height - bottom - top);
    const svg = made("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
    for (const value of ticks(y[0], y[1], 4)) {
      svg.append(made("line", { x1: left, x2: width - right, y1: py(value), y2: py(value), class: "gridline" }));
      svg.append(made("text", { x: left - 6, y: py(value) + 4, "text-anchor": "end", class: "tick" }, String(value)));
    }
    for (const value of ticks(x[0], x[1], Math.max(2, Math.floor(width / 90)))) {
      const text = thousands(value).replace("-", "\u2212");
      const room = Math.min(px(value), width - 3.4 * text.length); // so that the last one is not cut off
      svg.append(made("text", { x: room, y: height - bottom + 16, "text-anchor": "middle", class: "tick" }, text));
    }
    svg.append(made("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "axis" }));
    svg.append(made("text", { x: width - right, y: height - 3, "text-anchor": "end", class: "tick" }, xLabel));
    if (band) {
      const wide = Math.max(px(band[1]) - px(band[0]), 3);
      const area = made("rect", { x: px(band[0]), y: top, width: wide, height: height - bottom - top, class: "jump" });
      area.append(made("title", {}, `largest jump, between steps ${thousands(band[0])} and ${thousands(band[1])}`));
      svg.append(area);
    }
    for (const part of parts) {
      const at = px(part.x);
      const triangle = made("path", { d: `M${at} ${height - bottom - 7}l-4 7h8z`, class: "part" });
      triangle.append(made("title", {}, `${part.label}: step ${thousands(part.x)}`));
      svg.append(triangle);
    }
    let free = -Infinity;
    for (const mark of marks) {
      const line = made("line", { x1: px(mark.x), x2: px(mark.x), y1: top, y2: height - bottom, class: "mark" });
      if (mark.label) {
        line.append(made("title", {}, `${mark.label}: step ${thousands(mark.x)}`));
        // A label that does not fit beside the one before it is left to the table.
        const long = mark.label.length * 6.2;
        const at = Math.min(px(mark.x) + 3, width - right - long);
        if (at > free) {
          svg.append(made("text", { x: at, y: 14, class: "tick" }, mark.label));
          free = at + long + 6;
        }
      }
      svg.append(line);
    }
    for (const level of levels) {
      if (level.y === null || level.y < y[0] || level.y > y[1]) continue;
      svg.append(made("line", { x1: left, x2: width - right, y1: py(level.y), y2: py(level.y), class: "level" }));
      const end = level.end ? { x: width - right - 2, "text-anchor": "end" } : { x: left + 4 };
      svg.append(made("text", { ...end, y: py(level.y) - 4, class: "tick" }, level.label));
    }
    for (const { name, xs, ys, style = "", dim = false } of series) {
      let path = "";
      let pen = "M";
      ys.forEach((value, i) => {
        if (value === null) { pen = "M"; return; }
        path += `${pen}${px(xs[i]).toFixed(1)} ${py(Math.min(Math.max(value, y[0]), y[1])).toFixed(1)}${pen === "M" ? "h.01" : ""}`; // a single point is a dot
        pen = "L";
      });
      const line = made("path", { d: path, class: `line ${style}${dim ? " dim" : ""}` });
      line.append(made("title", {}, name));
      svg.append(line);
    }
    const now = made("line", { y1: top, y2: height - bottom, class: "now" });
    svg.append(now);
    place.replaceChildren(svg);
    return (value) => {
      const shown = value >= x[0] && value <= x[1];
      now.setAttribute("visibility", shown ? "visible" : "hidden");
      if (shown) { now.setAttribute("x1", px(value)); now.setAttribute("x2", px(value)); }
    };
  }

  const mix = (stops, share) => {
    const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const i = Math.min(Math.floor(at), stops.length - 2);
    return stops[i].map((low, channel) => Math.round(low + (stops[i + 1][channel] - low) * (at - i)));
  };
  const SCALES = {
    light: {
      value: [[247, 249, 252], [158, 202, 225], [49, 130, 189], [8, 48, 107]],
      difference: [[166, 54, 0], [247, 249, 252], [8, 69, 148]],
      undefined: [226, 229, 233],
    },
    dark: {
      value: [[21, 26, 33], [30, 74, 130], [86, 160, 230], [224, 240, 255]],
      difference: [[255, 145, 90], [21, 26, 33], [110, 180, 255]],
      undefined: [46, 54, 64],
    },
  };
  const scales = () => SCALES[document.documentElement.dataset.theme === "dark" ? "dark" : "light"];
  const css = (stops, n = 9) => `linear-gradient(to right, ${Array.from({ length: n }, (_, i) => `rgb(${mix(stops, i / (n - 1)).join(" ")})`).join(", ")})`;

  // Draw bytes 0..254 (255: undefined) of a map into a canvas, an entry a pixel; the style makes them larger.
  function map(canvas, values, rows, columns, difference) {
    const stops = scales()[difference ? "difference" : "value"];
    const table = Array.from({ length: 255 }, (_, i) => mix(stops, i / 254));
    table.push(scales().undefined);
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    values.forEach((value, i) => image.data.set([...table[value], 255], 4 * i));
    context.putImageData(image, 0, 0);
  }

  return { lines, map, bytes, ticks, thousands, scales, css };
})();
