/**
 * Shapes: of numbers when a graph runs, with symbols while it is built. One
 * notation for the shape rules of all ops. It never looks at contents.
 */

/** A size that is known, or a symbol such as `B` or `T` that a run binds. */
export type Dimension = number | string;

/** Row-major; `[]` is a scalar. */
export type Shape = readonly Dimension[];

/** Maps the input shapes of an op to its output shapes, or throws `TypeError`. */
export type ShapeRule<Attributes> = (
  inputs: readonly Shape[],
  attributes: Attributes,
) => readonly Shape[];

/** `[2, T, 64]` */
export function formatShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/** Whether two shapes are the same, symbol by symbol. */
export function sameShape(left: Shape, right: Shape): boolean {
  return left.length === right.length &&
    left.every((dimension, axis) => dimension === right[axis]);
}

/** Number of elements of a shape without symbols. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dimension of shape) count *= dimension;
  return count;
}

/**
 * Reads a shape rule such as `"...N I, O I -> ...N O"`. Each name stands for
 * one dimension, and for the same one wherever it appears; a numeral for
 * itself; a name after `...` for any run of dimensions, and only in front.
 *
 * @param sizes gives names their values where the attributes know them.
 */
export function shapeRule<Attributes>(
  rule: string,
  sizes: (attributes: Attributes) => Readonly<Record<string, number>> = () => ({}),
): ShapeRule<Attributes> {
  const [left, right] = rule.split("->").map((side) =>
    side.split(",").map((pattern) => pattern.trim().split(/\s+/))
  );
  const numerals = [...left, ...right].flat().filter((name) => /^\d+$/.test(name));
  return (inputs, attributes) => {
    const bound = new Map<string, Shape>(numerals.map((name) => [name, [Number(name)]]));
    for (const [name, size] of Object.entries(sizes(attributes))) bound.set(name, [size]);
    left.forEach((pattern, index) => match(pattern, inputs[index], index, bound));
    return right.map((pattern) => pattern.flatMap((name) => bound.get(name) ?? fail(`${name} is not bound`)));
  };
}

function match(
  pattern: readonly string[],
  shape: Shape,
  index: number,
  bound: Map<string, Shape>,
): void {
  const open = pattern[0].startsWith("...");
  const fixed = open ? pattern.length - 1 : pattern.length;
  if (open ? shape.length < fixed : shape.length !== fixed) {
    fail(`input ${index} has shape ${formatShape(shape)}, expected [${pattern.join(", ")}]`);
  }
  const front = shape.length - fixed;
  pattern.forEach((name, position) => {
    const got = open && position === 0 ? shape.slice(0, front) : [shape[front + position - (open ? 1 : 0)]];
    const known = bound.get(name);
    if (known === undefined) bound.set(name, got);
    else if (!sameShape(known, got)) {
      fail(
        `input ${index} has shape ${formatShape(shape)}, but ${name} is ${known.join(" × ")}`,
      );
    }
  });
}

function fail(why: string): never {
  throw new TypeError(why);
}
