/**
 * One text for one value: JSON with sorted keys and no blanks, so that peers
 * who hash the same value get the same hash (RFC 8785 in spirit). It refuses
 * what JSON would silently drop or blur: undefined, NaN, functions.
 */

/**
 * Writes a value as canonical JSON.
 *
 * @param value plain objects, lists, texts, finite numbers, booleans and null.
 * @throws {TypeError} if it holds anything else.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === "boolean" || typeof value === "string") {
    return JSON.stringify(value);
  }
  if (typeof value === "number" && Number.isFinite(value)) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value === "object" && isPlain(value)) {
    const fields = Object.entries(value)
      .sort(([a], [b]) => a < b ? -1 : 1)
      .map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`);
    return `{${fields.join(",")}}`;
  }
  throw new TypeError(`Cannot write canonical JSON: found ${describe(value)}`);
}

function isPlain(value: object): value is Record<string, unknown> {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function describe(value: unknown): string {
  return typeof value === "object" ? "an object of a class" : String(value);
}
