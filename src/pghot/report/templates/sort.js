// The head of a column is a button that sorts by it: figures from the most, texts from the first; again, the other way
// round. Cells whose text does not sort carry their value.
for (const table of document.querySelectorAll('.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement('button');
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const key = row => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const rows = [...table.tBodies[0].rows], numbers = rows.every(row => !isNaN(key(row)));
      const before = head.ariaSort, usual = numbers ? 'descending' : 'ascending';
      for (const each of heads) each.removeAttribute('aria-sort');
      const other = usual === 'ascending' ? 'descending' : 'ascending';
      head.ariaSort = before === usual ? other : usual;
      const sign = head.ariaSort === 'ascending' ? 1 : -1;
      rows.sort((a, b) => sign * (numbers ? key(a) - key(b) : key(a).localeCompare(key(b))));
      table.tBodies[0].append(...rows);
    };
  });
}
