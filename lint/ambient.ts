/**
 * Time and chance arrive as arguments, so that a swarm can run on virtual time
 * and from one seed. These two rules find code that helps itself to the
 * machine's, outside the few files that hand it out.
 */

import { pathInHouse } from "./paths.ts";

/** Something ambient, and what to take instead. */
interface Ambient {
  /** `object.member` → replacement. */
  readonly members: Readonly<Record<string, string>>;
  /** Global function → replacement. */
  readonly globals: Readonly<Record<string, string>>;
  /** Module → replacement. */
  readonly modules: Readonly<Record<string, string>>;
  /** `new X()` without arguments → replacement. */
  readonly constructions: Readonly<Record<string, string>>;
  /** What may be used where all the same. */
  readonly allowed: (path: string, name: string) => boolean;
}

/** Files that hand the machine's time out: a clock, and the turns of the event loop. */
const TIME_FILES = [
  "actors/core/real_clock.ts",
  "actors/core/real_clock_test.ts",
  "actors/core/scheduler.ts",
];

const AFTER = "clock.after(delayMs, fire) of a Clock argument";

const TIME: Ambient = {
  members: {
    "Date.now": "clock.epochMs() of a Clock argument",
    "performance.now": "clock.nowMs() of a Clock argument",
    "performance.timeOrigin": "clock.epochMs() of a Clock argument",
    "AbortSignal.timeout":
      "within(clock, limitMs, work) of actors/wire/time_bound.ts, or an AbortController and clock.after",
  },
  globals: {
    setTimeout: AFTER,
    setInterval: AFTER,
    setImmediate: AFTER,
    Date: "clock.epochMs() of a Clock argument",
  },
  modules: {
    "node:timers": AFTER,
    "node:timers/promises": AFTER,
    "node:perf_hooks": "clock.nowMs() of a Clock argument",
  },
  constructions: { Date: "new Date(clock.epochMs()) with a Clock argument" },
  allowed: (path, name) =>
    TIME_FILES.includes(path) || (path.startsWith("bench/") && name === "performance.now"),
};

const DRAW = "an Entropy argument (actors/core/entropy.ts)";

const CHANCE: Ambient = {
  members: {
    "Math.random": `uniform() of ${DRAW}`,
    "crypto.getRandomValues": `bytes(length) of ${DRAW}`,
    "crypto.randomUUID": `bytes(16) of ${DRAW}`,
  },
  globals: {},
  modules: {},
  constructions: {},
  allowed: (path) => path === "actors/core/system_entropy.ts" || path === "actors/wire/identity.ts",
};

/** Global objects that hold the ambient ones. */
const GLOBALS = new Set(["globalThis", "window", "self"]);

function rule(what: string, ambient: Ambient): Deno.lint.Rule {
  return {
    create(context) {
      const path = pathInHouse(context.filename);
      const report = (node: Deno.lint.Node, name: string, instead: string | undefined): void => {
        if (instead === undefined || ambient.allowed(path, name)) return;
        context.report({ node, message: `Cannot take ${what} from ${name} here: use ${instead}` });
      };
      return {
        MemberExpression(node) {
          const name = memberName(node);
          if (name === undefined) return;
          const [object, member] = name;
          report(node, `${object}.${member}`, own(ambient.members, `${object}.${member}`));
          if (GLOBALS.has(object)) report(node, member, own(ambient.globals, member));
        },
        CallExpression(node) {
          if (node.callee.type === "Identifier") {
            report(node, node.callee.name, own(ambient.globals, node.callee.name));
          }
        },
        NewExpression(node) {
          if (node.callee.type !== "Identifier" || node.arguments.length > 0) return;
          report(node, `new ${node.callee.name}()`, own(ambient.constructions, node.callee.name));
        },
        ImportDeclaration(node) {
          report(node, node.source.value, own(ambient.modules, node.source.value));
        },
      };
    },
  };
}

/** `a.b`, `a["b"]` and `globalThis.a.b` as `["a", "b"]`. */
function memberName(node: Deno.lint.MemberExpression): [string, string] | undefined {
  const member = node.property.type === "Identifier" && !node.computed
    ? node.property.name
    : node.property.type === "Literal" && typeof node.property.value === "string"
    ? node.property.value
    : undefined;
  if (member === undefined) return undefined;
  if (node.object.type === "Identifier") return [node.object.name, member];
  if (node.object.type !== "MemberExpression") return undefined;
  const outer = memberName(node.object);
  return outer !== undefined && GLOBALS.has(outer[0]) ? [outer[1], member] : undefined;
}

function own(table: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/** The machine's clock and timers. */
export const ambientTime: Deno.lint.Rule = rule("the time", TIME);

/** The machine's generators. */
export const ambientChance: Deno.lint.Rule = rule("chance", CHANCE);
