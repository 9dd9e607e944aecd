/**
 * Rooms have a direction (DESIGN.md, "Who may import whom"): a wrong-way import
 * is invisible in review and never comes out again. Type imports count: a room
 * that needs another's types knows that room.
 *
 * Tests beside a file may import whatever they need to test it.
 */

import { importedPath, isTest, pathInHouse } from "./paths.ts";

/** A room, and the rooms that it may import. Its own files are always allowed. */
interface Room {
  readonly name: string;
  readonly holds: (path: string) => boolean;
  readonly imports: readonly string[];
}

const under = (folder: string) => (path: string) => path.startsWith(`${folder}/`);
const anyOf = (...paths: string[]) => (path: string) => paths.includes(path);

const ofHost = (path: string) => under("actors/host")(path) || path === "actors/serving.ts";

const EVERY_ROLE = ["core", "wire", "routing", "run", "messages", "limits", "pieces of roles"];

/** Files of `actors/` that are roles, and what they may see beyond every role. */
const ROLES: Readonly<Record<string, readonly string[]>> = {
  host: ["stages", "pieces of the host"],
  averager: ["stages"],
  trainer: [],
  coordinator: [],
  reader: [],
  exporter: [],
  settler: ["contracts"],
  earner: ["contracts"],
  tolls: ["contracts"],
};

/** First match counts, so single files stand before folders. */
const ROOMS: readonly Room[] = [
  { name: "kernels", holds: under("kernels"), imports: [] },
  { name: "run", holds: under("run"), imports: [] },
  { name: "routing", holds: under("routing"), imports: [] },
  { name: "contracts", holds: under("contracts"), imports: [] },
  { name: "stages", holds: under("stages"), imports: ["kernels", "run"] },
  { name: "core", holds: under("actors/core"), imports: [] },
  { name: "wire", holds: under("actors/wire"), imports: ["core", "limits"] },
  { name: "limits", holds: anyOf("actors/limits.ts"), imports: [] },
  {
    name: "messages",
    holds: anyOf("actors/messages.ts"),
    imports: ["core", "wire", "run", "routing", "limits"],
  },
  {
    name: "assemble",
    holds: anyOf("actors/assemble.ts"),
    imports: [...EVERY_ROLE, "kernels", "stages", "contracts", "pieces of the host", ...Object.keys(ROLES)],
  },
  ...Object.entries(ROLES).map(([name, more]) => ({
    name,
    holds: anyOf(`actors/${name}.ts`),
    imports: [...EVERY_ROLE, ...more],
  })),
  { name: "pieces of the host", holds: ofHost, imports: [...EVERY_ROLE, "stages"] },
  { name: "pieces of roles", holds: under("actors"), imports: EVERY_ROLE },
  { name: "gateway", holds: under("gateway"), imports: ["run", "core"] },
  { name: "lint", holds: under("lint"), imports: [] },
];

/**
 * Rooms that nothing imports, but for those named: a benchmark measures the processes that commands
 * start; a simulation, and the gateway, is run by a command, a test or a benchmark.
 */
const ENDS: Readonly<Record<string, readonly string[]>> = {
  cli: ["bench"],
  bench: [],
  gateway: ["cli", "bench", "tests"],
  tests: [],
  sim: ["cli", "bench", "tests"],
};

function roomOf(path: string): Room | undefined {
  return ROOMS.find((room) => room.holds(path));
}

/** Why `importer` may not import `imported`; `undefined` if it may. */
export function wrongWay(importer: string, imported: string): string | undefined {
  if (isTest(importer)) return undefined;
  const from = importer.split("/")[0];
  const end = Object.keys(ENDS).find((room) => under(room)(imported));
  if (end !== undefined && from !== end && !ENDS[end].includes(from)) return `nothing imports ${end}`;
  if (imported.endsWith("_test.ts")) return "nothing imports a test";
  const room = roomOf(importer);
  const other = roomOf(imported);
  if (room === undefined || other === undefined || room === other) return undefined;
  if (room.imports.includes(other.name)) return undefined;
  if (room.name in ROLES && other.name in ROLES) {
    return `${room.name} and ${other.name} are roles, and meet only through messages`;
  }
  const allowed = room.imports.length === 0 ? "nothing of ours" : `only ${room.imports.join(", ")}`;
  return `${room.name} imports ${allowed}, not ${other.name}`;
}

/** The lint rule. */
export const roomDirection: Deno.lint.Rule = {
  create(context) {
    const importer = pathInHouse(context.filename);
    const check = (source: Deno.lint.Node | null | undefined): void => {
      if (source?.type !== "Literal" || typeof source.value !== "string") return;
      const imported = importedPath(importer, source.value);
      if (imported === undefined) return;
      const reason = wrongWay(importer, imported);
      if (reason === undefined) return;
      context.report({
        node: source,
        message: `Cannot import ${imported} from ${importer}: ${reason}`,
        hint: "See DESIGN.md, “Who may import whom”. actors/assemble.ts is where rooms meet.",
      });
    };
    return {
      ImportDeclaration: (node) => check(node.source),
      ExportNamedDeclaration: (node) => check(node.source),
      ExportAllDeclaration: (node) => check(node.source),
      ImportExpression: (node) => check(node.source),
      TSImportType: (node) =>
        check(node.argument.type === "TSLiteralType" ? node.argument.literal : node.argument),
    };
  },
};
