/**
 * Which lines and branches of the contracts the tests have executed:
 * `deno run -A contracts/testing/coverage.ts`. Without `forge`, from what the
 * chain itself traces: the contracts are compiled without optimizer, every
 * transaction and call of the tests is traced, and the compiler's source maps and
 * syntax trees say what that was. A line counts if some statement of it was
 * executed; a branch is one of the two ways out of an `if`, a `?:`, a loop's
 * condition, or of the left side of `&&` and `||`.
 *
 * It covers our contracts; what the libraries do is theirs to test.
 */

import { compile, type DetailedArtifact, readSources, type Sources } from "../compile.ts";
import { artifactTexts } from "../build.ts";
import { fileURLToPath } from "node:url";

const AT_LEAST = 0.95;
const CONTRACTS_FOLDER = fileURLToPath(new URL("../", import.meta.url));

/** Opcodes that carry data after them. */
const PUSH1 = 0x60, PUSH32 = 0x7f;
const JUMPI = 0x57;
const MARKERS = new Set(["Block", "UncheckedBlock"]);

/** A piece of source. */
interface Piece {
  readonly start: number;
  readonly end: number;
}

interface Node {
  readonly nodeType?: string;
  readonly src?: string;
  readonly operator?: string;
  readonly [key: string]: unknown;
}

/** What of one contract's code was executed, by program counter. */
interface Execution {
  readonly executed: Set<number>;
  /** For each conditional jump where it went. */
  readonly jumps: Map<number, Set<number>>;
}

/** What is counted of one file. */
interface Count {
  readonly lines: Map<number, boolean>;
  readonly branches: Map<string, boolean>;
}

async function runTests(sources: Sources): Promise<Map<string, Execution>> {
  const artifacts = await Deno.makeTempDir();
  const traces = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${artifacts}/testing`);
    const texts = artifactTexts(sources, { optimize: false });
    for (const [path, text] of Object.entries(texts)) await Deno.writeTextFile(`${artifacts}/${path}`, text);
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--no-check", ...TESTS.map((name) => `${CONTRACTS_FOLDER}${name}_test.ts`)],
      env: { CONTRACTS_ARTIFACTS: artifacts, CONTRACTS_COVERAGE: traces },
      stdout: "inherit",
      stderr: "inherit",
    }).output();
    if (code !== 0) throw new Error("Cannot measure coverage: a test failed");
    const executions = new Map<string, Execution>();
    for await (const { name } of Deno.readDir(traces)) {
      for (const line of (await Deno.readTextFile(`${traces}/${name}`)).split("\n")) {
        const [contract, from, to] = line.split(" ");
        const it = executions.get(contract) ?? { executed: new Set(), jumps: new Map() };
        executions.set(contract, it);
        it.executed.add(Number(from));
        if (to === undefined) continue;
        it.jumps.set(Number(from), (it.jumps.get(Number(from)) ?? new Set()).add(Number(to)));
      }
    }
    return executions;
  } finally {
    await Deno.remove(artifacts, { recursive: true });
    await Deno.remove(traces, { recursive: true });
  }
}

/** Tests that speak to the contracts through a stand; gas is another matter without optimizer. */
const TESTS = [
  "stake_vault",
  "stage_registry",
  "training_rewards",
  "shard_revenue",
  "inference_escrow",
  "adversaries",
];

/** Each instruction's program counter, with the piece of source that it comes from. */
function* instructions({ deployedBytecode, sourceMap }: DetailedArtifact) {
  const code = deployedBytecode.slice(2).match(/../g)!.map((byte) => parseInt(byte, 16));
  let [start, length, file] = [0, 0, -1];
  let pc = 0;
  for (const entry of sourceMap.split(";")) {
    const [s, l, f] = entry.split(":");
    if (s) start = Number(s);
    if (l) length = Number(l);
    if (f) file = Number(f);
    if (pc >= code.length) return;
    const opcode = code[pc];
    yield { pc, opcode, start, end: start + length, file };
    pc += 1 + (opcode >= PUSH1 && opcode <= PUSH32 ? opcode - PUSH1 + 1 : 0);
  }
}

/** Visits a syntax tree, the outermost first. */
function walk(node: unknown, visit: (node: Node) => void): void {
  if (typeof node !== "object" || node === null) return;
  if ("nodeType" in node) visit(node as Node);
  for (const child of Object.values(node)) walk(child, visit);
}

function pieceOf(src: string): Piece {
  const [start, length] = src.split(":").map(Number);
  return { start, end: start + length };
}

const within = (inner: Piece, outer: Piece) => inner.start >= outer.start && inner.end <= outer.end;

/** Statements inside of functions, and the conditions that part ways. */
function partsOf(tree: unknown): { statements: Piece[]; conditions: Piece[] } {
  const statements: Piece[] = [];
  const conditions: Piece[] = [];
  walk(tree, (node) => {
    if (node.nodeType !== "FunctionDefinition" || node.body === undefined || node.body === null) return;
    // Deployed code has none; without it no test would have a contract to talk to.
    if (node.kind === "constructor") return;
    walk(node.body, (inner) => {
      const piece = pieceOf(inner.src!);
      const type = inner.nodeType!;
      const isStatement = /Statement$/.test(type) || type === "Return";
      if (isStatement && !MARKERS.has(type)) statements.push(piece);
      const condition = inner.condition as Node | null | undefined;
      if (["IfStatement", "Conditional", "ForStatement", "WhileStatement"].includes(type) && condition) {
        conditions.push(piece);
      }
      if (type === "BinaryOperation" && ["&&", "||"].includes(inner.operator!)) conditions.push(piece);
    });
  });
  return { statements, conditions };
}

function count(sources: Sources, executions: ReadonlyMap<string, Execution>): Map<string, Count> {
  const { artifacts, trees } = compile(sources, { optimize: false });
  const counts = new Map<string, Count>();
  for (const [name, text] of Object.entries(sources)) {
    if (name === "TestToken.sol" || name.startsWith("adversaries/")) continue;
    // The compiler counts bytes; our sources are plain ASCII, so that is the same.
    const lineOf = (at: number) => text.slice(0, at).split("\n").length;
    const { statements, conditions } = partsOf(trees[name].tree);
    const it: Count = { lines: new Map(), branches: new Map() };
    counts.set(name, it);
    for (const { start } of statements) it.lines.set(lineOf(start), false);
    for (const { start, end } of conditions) {
      for (const way of ["taken", "passed"]) {
        it.branches.set(`${lineOf(start)}:${start}-${end} ${way}`, false);
      }
    }
    for (const [contract, artifact] of Object.entries(artifacts)) {
      const execution = executions.get(contract);
      if (execution === undefined) continue;
      for (const instruction of instructions(artifact)) {
        const { pc, opcode, file } = instruction;
        if (file !== trees[name].index || !execution.executed.has(pc)) continue;
        // The smallest statement around an instruction is the one that it belongs to.
        const inner = smallest(statements, instruction);
        if (inner !== undefined) it.lines.set(lineOf(inner.start), true);
        if (opcode !== JUMPI) continue;
        const condition = conditions.find(({ start, end }) =>
          start === instruction.start && end === instruction.end
        );
        if (condition === undefined) continue;
        for (const to of execution.jumps.get(pc) ?? []) {
          const way = to === pc + 1 ? "passed" : "taken";
          it.branches.set(`${lineOf(condition.start)}:${condition.start}-${condition.end} ${way}`, true);
        }
      }
    }
  }
  return counts;
}

function smallest(pieces: readonly Piece[], inner: Piece): Piece | undefined {
  return pieces
    .filter((piece) => within(inner, piece))
    .sort((left, right) => left.end - left.start - (right.end - right.start))[0];
}

if (import.meta.main) {
  // Read once: somebody may write while the tests run.
  const sources = readSources({ adversaries: true });
  const counts = count(sources, await runTests(sources));
  const total = { lines: [0, 0], branches: [0, 0] };
  for (const [name, it] of counts) {
    const words = [];
    for (const kind of ["lines", "branches"] as const) {
      const all = [...it[kind]];
      const done = all.filter(([, executed]) => executed).length;
      total[kind][0] += done;
      total[kind][1] += all.length;
      words.push(`${kind} ${done} of ${all.length}`);
      for (const [place, executed] of all) if (!executed) words.push(`\n  never: ${kind} ${place}`);
    }
    console.log(`${name}: ${words.join(" ")}`);
  }
  const share = ([done, all]: readonly number[]) => done / all;
  for (const [kind, both] of Object.entries(total)) {
    console.log(`${kind}: ${both[0]} of ${both[1]}, ${(100 * share(both)).toFixed(1)} %`);
  }
  if (Object.values(total).some((both) => share(both) < AT_LEAST)) Deno.exit(1);
}
