"use strict";
// What a cell says when it is pointed at or focused; everything from data is set as text.
(() => {
  const data = JSON.parse(document.getElementById("lens-data").textContent), tip = document.getElementById("tip");
  const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
  const make = (name, text, more = {}) => Object.assign(document.createElement(name), { textContent: text, ...more });
  function say(cell, x, y) {
    tip.hidden = !cell;
    if (!cell) return;
    const [number, token, layer] = cell.dataset.at.split(",").map(Number), own = data[number][token], found = own.layers[layer];
    const table = make("table", "");
    for (const [name, chance] of found.first) {
      const row = table.insertRow();
      row.append(make("td", name), make("td", chance, { className: "number" }));
    }
    const about = make("p", `layer ${found.layer}, `);
    about.append(make("bdi", own.token));
    if (found.rank) about.append(`: rank ${found.rank.toLocaleString("en")}, probability ${found.own}`);
    tip.replaceChildren(about, table);
    tip.style.left = `${clamp(x + 14, 4, innerWidth - tip.offsetWidth - 6)}px`;
    tip.style.top = `${clamp(y + 16, 4, innerHeight - tip.offsetHeight - 6)}px`;
  }
  for (const grid of document.querySelectorAll(".lens")) {
    grid.addEventListener("pointermove", (event) => say(event.target.closest("td[data-at]"), event.clientX, event.clientY));
    grid.addEventListener("pointerleave", () => say(null));
    grid.addEventListener("focusin", (event) => {
      const cell = event.target.closest("td[data-at]"), box = cell?.getBoundingClientRect();
      if (cell) say(cell, box.left, box.bottom - 16);
    });
    grid.addEventListener("focusout", () => say(null));
    grid.addEventListener("keydown", (event) => { // from cell to cell
      const by = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
      if (!by) return;
      const cell = event.target.closest("td"), rows = grid.querySelector("tbody").rows;
      const [row, column] = cell ? [cell.parentElement.sectionRowIndex, cell.cellIndex] : [-by[0], 1 - by[1]];
      const next = rows[clamp(row + by[0], 0, rows.length - 1)].cells[clamp(column + by[1], 1, rows[0].cells.length - 1)];
      event.preventDefault();
      next.focus();
    });
  }
  document.body.dataset.ready = "yes";
})();
