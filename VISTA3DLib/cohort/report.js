"use strict";
// Tables are sorted by a click (or Enter) on a heading, by the value behind the text where there is one.
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th").forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const numbers = head.classList.contains("n");
      const rank = (text) => (text === "" ? (down ? -Infinity : Infinity) : Number(text));
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => numbers ? rank(value(a)) - rank(value(b)) : value(a).localeCompare(value(b)));
      table.tBodies[0].append(...(down ? rows.reverse() : rows));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
}
// One kind of flag at a time.
const chips = [...document.querySelectorAll("button[data-code]")];
for (const chip of chips) {
  chip.addEventListener("click", () => {
    const on = !chip.classList.contains("on");
    chips.forEach((other) => other.classList.toggle("on", on && other === chip));
    for (const card of document.querySelectorAll(".card[data-codes]")) {
      card.hidden = on && !card.dataset.codes.split(" ").includes(chip.dataset.code);
    }
  });
}
for (const box of document.querySelectorAll("input[data-filter]")) {
  box.addEventListener("input", () => {
    const wanted = box.value.toLowerCase();
    for (const row of document.getElementById(box.dataset.filter).tBodies[0].rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
    }
  });
}
