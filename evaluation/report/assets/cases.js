"use strict";
// The table of cases: numbers are unpacked from arrays, filtered, sorted and drawn 50 rows at a time.
(() => {
  const data = JSON.parse(document.getElementById("case-data").textContent);
  const unpack = (text, Kind) => new Kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const count = data.cases.length, teams = data.teams.length;
  const status = unpack(data.status, Uint8Array);
  const milliseconds = unpack(data.milliseconds, Uint32Array);
  const score = {};
  for (const name of ["dsc", "nsd", "dsc_official", "nsd_official"]) score[name] = unpack(data[name], Uint16Array);
  const NONE = 65535, PAGE = 50;
  const number = (name, at) => (score[name][at] === NONE ? null : score[name][at] / 10000);
  const fixed = (value, digits = 4) => (value === null ? "-" : value.toFixed(digits));
  const reasons = new Map(data.reasons.map(([team, index, text]) => [team * count + index, data.texts[text]]));

  const summary = (index) => {
    const dsc = [], nsd = [];
    let failed = 0, slowest = null;
    for (let team = 0; team < teams; team += 1) {
      const at = team * count + index;
      if (status[at] !== 0) { failed += 1; continue; }
      if (score.dsc[at] !== NONE) { dsc.push(score.dsc[at]); nsd.push(score.nsd[at]); }
      if (milliseconds[at]) slowest = Math.max(slowest ?? 0, milliseconds[at] / 1000);
    }
    dsc.sort((a, b) => a - b);
    const middle = dsc.length ? (dsc[(dsc.length - 1) >> 1] + dsc[dsc.length >> 1]) / 20000 : null;
    const spread = (values) => (values.length ? (Math.max(...values) - Math.min(...values)) / 10000 : null);
    return [
      data.cases[index], data.modalities[data.modality[index]], data.dimensions[index] || null,
      spread(dsc), spread(nsd), dsc.length ? dsc[dsc.length - 1] / 10000 : null, middle,
      dsc.length ? dsc[0] / 10000 : null, failed, slowest,
    ];
  };
  const rows = data.cases.map((_, index) => summary(index));

  const table = document.getElementById("table-cases");
  const body = table.tBodies[0];
  const field = (name) => document.getElementById(`cases-${name}`);
  let order = [], page = 0;

  const cell = (text, kind = "num") => {
    const made = document.createElement("td");
    made.className = kind;
    made.textContent = text;
    return made;
  };

  const detail = (index) => {
    const row = document.createElement("tr");
    row.className = "detail";
    const place = document.createElement("td");
    place.colSpan = rows[0].length;
    const inner = document.createElement("table");
    const head = inner.createTHead().insertRow();
    for (const title of ["Team", "Status", "DSC", "NSD", "Seconds", "Official DSC", "Official NSD", "Reason"]) {
      const made = document.createElement("th");
      made.scope = "col";
      made.textContent = title;
      head.append(made);
    }
    const lines = inner.createTBody();
    const best = data.teams.map((_, team) => team);
    best.sort((a, b) => score.dsc[b * count + index] - score.dsc[a * count + index]);
    for (const team of best) {
      const at = team * count + index;
      const line = lines.insertRow();
      line.append(
        cell(data.teams[team], "name"), cell(data.statuses[status[at]], ""),
        cell(fixed(number("dsc", at))), cell(fixed(number("nsd", at))),
        cell(milliseconds[at] ? fixed(milliseconds[at] / 1000, 2) : "-"),
        cell(fixed(number("dsc_official", at))), cell(fixed(number("nsd_official", at))),
        cell(reasons.get(at) ?? "", "reason"),
      );
    }
    place.append(inner);
    row.append(place);
    return row;
  };

  const draw = () => {
    const last = Math.max(Math.ceil(order.length / PAGE) - 1, 0);
    page = Math.min(page, last);
    body.replaceChildren(...order.slice(page * PAGE, (page + 1) * PAGE).map((index) => {
      const values = rows[index];
      const row = document.createElement("tr");
      const name = cell("", "name");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = values[0];
      button.setAttribute("aria-expanded", "false");
      button.addEventListener("click", () => {
        const open = button.getAttribute("aria-expanded") === "true";
        button.setAttribute("aria-expanded", String(!open));
        if (open) row.nextElementSibling.remove();
        else row.after(detail(index));
      });
      name.append(button);
      row.append(name, cell(values[1], ""), cell(values[2] === null ? "" : `${values[2]}D`));
      row.append(...values.slice(3, 8).map((value) => cell(fixed(value))));
      row.append(cell(String(values[8])), cell(fixed(values[9], 2)));
      return row;
    }));
    field("back").disabled = page === 0;
    field("next").disabled = page === last;
    const first = order.length ? page * PAGE + 1 : 0;
    const end = Math.min((page + 1) * PAGE, order.length);
    field("shown").textContent = `${first} to ${end} of ${order.length.toLocaleString("en")} cases (${count.toLocaleString("en")} in all)`;
  };

  const choose = () => {
    const words = field("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const modality = field("modality").value, dimensions = Number(field("dimensions").value);
    const wanted = field("status").value;
    const has = (index) => {
      if (wanted === "") return true;
      for (let team = 0; team < teams; team += 1) {
        if (data.statuses[status[team * count + index]] === wanted) return true;
      }
      return false;
    };
    order = [];
    rows.forEach((row, index) => {
      if (modality !== "" && row[1] !== modality) return;
      if (dimensions && row[2] !== dimensions) return;
      const text = row[0].toLowerCase();
      if (words.every((word) => text.includes(word)) && has(index)) order.push(index);
    });
    sort(sorted.column, sorted.sign);
  };

  const sorted = { column: 3, sign: -1 };
  const sort = (column, sign) => {
    Object.assign(sorted, { column, sign });
    order.sort((a, b) => window.compareKeys(rows[a][column], rows[b][column], sign) || a - b);
    page = 0;
    draw();
  };

  const heads = Array.from(table.tHead.rows[0].cells);
  window.sortableHeads(heads, sort);
  heads[sorted.column].setAttribute("aria-sort", "descending");
  const controls = field("search").closest(".controls");
  controls.hidden = false;
  field("pages").hidden = false;
  controls.addEventListener("input", choose);
  field("back").addEventListener("click", () => { page -= 1; draw(); });
  field("next").addEventListener("click", () => { page += 1; draw(); });
  choose();
})();
