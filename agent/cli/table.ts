/** Plain text columns: the first column left, numbers right. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const right = head.map(
    (_, column) =>
      column > 0 &&
      rows.every(
        (row) => /^[-\d.,\s%a-zA-Z/]*$/.test(row[column] ?? '') && /^[-\d]/.test(row[column] || '-'),
      ),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (right[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join('  ')
      .trimEnd();
  return [line(head), ...rows.map(line)].join('\n');
}
