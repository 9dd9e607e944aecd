/**
 * Which inputs of a model may share their memory with the output that updates
 * them. It looks at data flow alone: an input may be overwritten by a node
 * that comes after all its readers, whatever order the runtime chooses.
 */

import type { OnnxModel, OnnxNode } from "./model.ts";

/** Operators that write element i from elements i, and so may write over an operand. */
const ELEMENTWISE = new Set(["Add", "Sub", "Mul", "Div"]);

/** Operators whose result may be a view of their operand. */
const VIEWS = new Set(["Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten", "Cast"]);

/**
 * Whether `output` can be written into `input`'s memory while the model runs.
 * Both have the same shape and type.
 */
export function canShareMemory(model: OnnxModel, input: string, output: string): boolean {
  const writer = model.nodes.find((node) => node.outputs.includes(output));
  if (!writer || VIEWS.has(writer.operator)) return false;
  const before = ancestors(model, writer);
  return readersOf(model, input).every((reader) =>
    reader === writer ? ELEMENTWISE.has(reader.operator) && reader.inputs.includes(input) : before.has(reader)
  );
}

/** Nodes that read a tensor, itself or through views. */
function readersOf(model: OnnxModel, name: string): readonly OnnxNode[] {
  const direct = model.nodes.filter((node) => node.inputs.includes(name));
  return direct.flatMap((node) =>
    VIEWS.has(node.operator) ? [node, ...node.outputs.flatMap((view) => readersOf(model, view))] : [node]
  );
}

/** Nodes that must have run before this one can. */
function ancestors(model: OnnxModel, node: OnnxNode): ReadonlySet<OnnxNode> {
  const needed = new Set(node.inputs);
  const found = new Set<OnnxNode>();
  // Nodes stand after those they read from.
  for (const candidate of model.nodes.slice(0, model.nodes.indexOf(node)).reverse()) {
    if (!candidate.outputs.some((name) => needed.has(name))) continue;
    found.add(candidate);
    for (const name of candidate.inputs) needed.add(name);
  }
  return found;
}
