"use strict";
(() => {
  const table = document.getElementById("table-cases");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const filter = document.getElementById("filter");
  const shown = document.getElementById("shown");

  // numbers sort as numbers, dashes and blanks come last in both directions
  const compare = (a, b, sign) => {
    const empty = (text) => text === "" || text === "-";
    if (empty(a) || empty(b)) return empty(a) - empty(b);
    const x = Number(a), y = Number(b);
    const order = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
    return sign * order;
  };

  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const key = (row) => row.cells[column].textContent;
      rows.sort((a, b) => compare(key(a), key(b), ascending ? 1 : -1));
      body.append(...rows);
    });
  });

  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    shown.textContent = `${count} of ${rows.length} rows`;
  };
  filter.addEventListener("input", apply);
  apply();

  for (const box of document.querySelectorAll("[data-switch]")) {
    box.addEventListener("change", () => {
      for (const layer of document.querySelectorAll(`[data-layer="${box.dataset.switch}"]`)) {
        layer.style.display = box.checked ? "" : "none";
      }
    });
  }
})();
