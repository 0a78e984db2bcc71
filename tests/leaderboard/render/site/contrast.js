// Contrast of all visible text with what lies behind it (WCAG 2.2, 1.4.3): {checked, weak: [text, ratio, wanted]}.
() => {
  const parse = (text) => {
    const found = text.match(/rgba?\(([^)]+)\)/);
    if (!found) return null;
    const parts = found[1].split(/[\s,\/]+/).map(Number);
    return { rgb: parts.slice(0, 3), alpha: parts.length > 3 ? parts[3] : 1 };
  };
  const over = (top, below) => top.rgb.map((part, i) => part * top.alpha + below[i] * (1 - top.alpha));
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((part) => part / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const layers = [];
    for (let node = element; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour && colour.alpha > 0) layers.push(colour);
      if (colour && colour.alpha === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const weak = [];
  let checked = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || ["SCRIPT", "STYLE", "OPTION"].includes(element.tagName) || !element.getClientRects().length) continue;
    if (element.closest(".mark-group .mark-group .mark-text") && element.closest("[id*=success]")) continue; // on a coloured cell
    if (element.closest("[id*=difficulty]") && /^\d+\/\d+$/.test(text)) continue; // the same: computed in test_page.py
    if (element.closest(".skip, .sr")) continue; // not on the screen
    const style = getComputedStyle(element);
    const inSvg = element instanceof SVGElement;
    const colour = parse(inSvg ? style.fill : style.color);
    if (!colour) continue;
    if (inSvg) colour.alpha *= Number(style.fillOpacity) * Number(style.opacity);
    const back = ground(inSvg ? element.closest("div") : element);
    const front = luminance(over(colour, back));
    const behind = luminance(back);
    const ratio = (Math.max(front, behind) + 0.05) / (Math.min(front, behind) + 0.05);
    const size = parseFloat(style.fontSize);
    const wanted = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    checked += 1;
    if (ratio < wanted) weak.push([text.slice(0, 40), Number(ratio.toFixed(2)), wanted]);
  }
  return { checked, weak };
}
