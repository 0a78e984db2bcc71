// Runs before the first paint, so that no page flashes in the wrong colours.
"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try { return localStorage.getItem("theme"); } catch { return null; } // some browsers keep nothing for file://
  };
  const apply = (theme) => {
    document.documentElement.dataset.theme = theme;
    document.documentElement.classList.toggle("dark", theme === "dark"); // what DataTables looks at
    document.dispatchEvent(new Event("theme"));
  };
  const current = () => (["light", "dark"].includes(stored()) ? stored() : dark.matches ? "dark" : "light");
  window.setTheme = (theme) => {
    try { localStorage.setItem("theme", theme); } catch { /* lasts for this page */ }
    apply(theme);
  };
  dark.addEventListener("change", () => apply(current()));
  apply(current());
})();
