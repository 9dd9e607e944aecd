/** Numbers and names as a person reads them. It rounds; nothing computes with what it returns. */

/** `12,345`; below ten, one decimal where it is no whole number: `3.1`. */
export function rate(value: number): string {
  return value < 10 && !Number.isInteger(value)
    ? value.toFixed(1)
    : Math.round(value).toLocaleString("en-US");
}

/** `2.3142`. */
export function loss(value: number): string {
  return value.toFixed(4);
}

/** `9.8e-4`. */
export function learningRate(value: number): string {
  return value === 0 ? "0" : value.toExponential(1);
}

/** `42s`, `3m 05s`, `2h 14m`. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  const pad = (value: number) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${pad(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h ${pad(Math.floor(whole / 60) % 60)}m`;
}

/** `2.0 GB`, `128 MB`: multiples of 1024. */
export function gigabytes(bytes: number): string {
  return bytes < 2 ** 30 ? `${Math.round(bytes / 2 ** 20)} MB` : `${(bytes / 2 ** 30).toFixed(1)} GB`;
}

/** The last characters of a peer's name, which tell peers apart (the first ones are all alike). */
export function shortPeer(peer: string): string {
  return peer.slice(-6);
}

/** Rows under headings; text to the left, numbers to the right. */
export function table(headings: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [
    headings,
    ...rows.map((row) => row.map((cell) => typeof cell === "number" ? rate(cell) : cell)),
  ];
  const widths = headings.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const right = headings.map((_, column) =>
    rows.length > 0 && rows.every((row) => typeof row[column] === "number")
  );
  return cells.map((row) =>
    row.map((cell, column) => right[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!))
      .join("   ").trimEnd()
  ).join("\n");
}

/** Text of a stranger, which must not steer the terminal. */
export function printable(text: string): string {
  // deno-lint-ignore no-control-regex -- these are what steers it
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, "?");
}

/** Text of a stranger in as many lines as it has, which must not steer the terminal either. */
export function printableLines(text: string): string {
  return text.split("\n").map((line) => line.split("\t").map(printable).join("\t")).join("\n");
}
