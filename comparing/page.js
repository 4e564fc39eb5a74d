"use strict";
// Cells sort by data-value: as numbers where both are, else as text; empty ones come last.
function compare(a, b, direction) {
  if (a === "" || b === "") { return (a === "") - (b === ""); }
  const x = Number(a), y = Number(b);
  const order = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  return direction * order;
}
function sortBy(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const cell of table.tHead.rows[0].cells) { cell.removeAttribute("aria-sort"); }
  head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  const value = (row) => row.cells[column].dataset.value;
  const rows = Array.from(table.tBodies[0].rows);
  rows.sort((one, other) => compare(value(one), value(other), direction));
  table.tBodies[0].append(...rows);
}
function filterBy(table, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of table.tBodies[0].rows) {
    const own = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => own.includes(word));
  }
}
for (const table of document.querySelectorAll("table")) {
  Array.from(table.tHead.rows[0].cells).forEach((cell, column) => {
    cell.addEventListener("click", () => sortBy(table, column));
  });
  const field = table.parentElement.querySelector("input");
  field.addEventListener("input", () => filterBy(table, field.value));
}
const wish = new URLSearchParams(location.hash.slice(1));
if (wish.has("sort")) {
  const [table, column] = wish.get("sort").split(",").map(Number);
  sortBy(document.getElementById(`table-${table}`), column);
}
if (wish.has("filter")) {
  const field = document.querySelector("input");
  field.value = wish.get("filter");
  filterBy(document.querySelector("table"), field.value);
}
