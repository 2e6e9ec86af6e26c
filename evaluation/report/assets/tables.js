"use strict";
// Tables that sort by a click on a head, and the leaderboard's choice of board and modality.
(() => {
  // the number that a cell begins with, or its text; blanks and dashes come last in both directions
  const key = (cell) => {
    const text = (cell.dataset.key ?? cell.textContent).trim();
    if (text === "" || text === "-") return null;
    return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
  };
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  };
  window.compareKeys = compare;

  window.sortableHeads = (heads, sort) => heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sort(column, ascending ? 1 : -1);
    });
  });

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    window.sortableHeads(Array.from(table.tHead.rows[0].cells), (column, sign) => {
      table.classList.add("resorted");
      body.querySelectorAll("tr.tier").forEach((row) => row.classList.remove("tier"));
      const rows = Array.from(body.rows);
      rows.sort((a, b) => compare(key(a.cells[column]), key(b.cells[column]), sign));
      body.append(...rows);
    });
  }

  // leaderboard: one board at a time, means of all modalities or of one
  const section = document.getElementById("leaderboard");
  const controls = section.querySelector(".controls");
  const boards = Array.from(section.querySelectorAll("[data-board]"));
  const modality = document.getElementById("modality");
  const chosen = () => controls.querySelector("input:checked").value;

  const fill = (board) => {
    for (const cell of board.querySelectorAll("[data-means]")) {
      cell.dataset.all ??= cell.innerHTML;
      cell.dataset.allKey ??= cell.dataset.key;
      const means = JSON.parse(cell.dataset.means);
      const value = means[modality.value];
      if (modality.value === "") {
        cell.innerHTML = cell.dataset.all;
        cell.dataset.key = cell.dataset.allKey;
      } else {
        cell.textContent = value ?? "-";
        cell.dataset.key = value ?? "";
      }
    }
  };
  const show = () => {
    for (const board of boards) {
      board.hidden = board.dataset.board !== chosen();
      const names = JSON.parse(board.dataset.modalities);
      if (!board.hidden) {
        for (const option of modality.options) option.disabled = option.value !== "" && !names.includes(option.value);
        if (modality.selectedOptions[0]?.disabled) modality.value = "";
        fill(board);
      }
    }
    document.getElementById("board-shown").textContent = modality.value === ""
      ? "" : `DSC, NSD and seconds: ${modality.value} alone. Places and intervals: all modalities.`;
  };
  controls.hidden = false;
  controls.addEventListener("change", show);
  show();

  // switches of layers in the pictures
  for (const box of document.querySelectorAll("[data-switch]")) {
    box.addEventListener("change", () => {
      for (const layer of document.querySelectorAll(`[data-layer="${box.dataset.switch}"]`)) {
        layer.style.display = box.checked ? "" : "none";
      }
    });
  }

  // paper has no folded parts
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = Array.from(document.querySelectorAll("details:not([open]):not(.long)"));
    folded.forEach((part) => { part.open = true; });
    boards.forEach((board) => { board.hidden = false; });
  });
  window.addEventListener("afterprint", () => {
    folded.forEach((part) => { part.open = false; });
    show();
  });
})();
