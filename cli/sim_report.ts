/** What came of a simulation, in a screenful or as a picture. It computes nothing new but shares. */

import type { Outcome } from "../sim/world.ts";
import type { Scenario } from "../sim/scenario.ts";
import { sharesOf } from "../sim/throughput.ts";
import { plotThroughput } from "../sim/throughput_plot.ts";
import * as format from "./format.ts";

const HOUR_MS = 3_600_000;
/** Stages whose hosts are listed one by one. */
const STAGES_LISTED = 24;
/** What the checkers promise, in the order in which they are told. */
const CHECKERS: readonly (readonly [string, string])[] = [
  ["exactly once", "each micro-batch counted once in every applied step"],
  ["same bits", "replicas bit-identical after every step"],
  ["one stage", "nobody serves two stages"],
  ["within bounds", "mailboxes and what hosts keep within their bounds"],
  ["progress", "steps taken again once a core has healed"],
  ["no crash", "no actor crashed, and no run was given up"],
];

/** Figures of a simulation, as a program reads them. */
export function figures(scenario: Scenario, outcome: Outcome) {
  const { points, steps, virtualMs, violations, joined, lost, replays, resumedAfterMs } = outcome;
  const measured = points.filter(({ atMs }) => atMs <= scenario.breakMs);
  const last = measured.at(-1);
  const overall = sharesOf(measured);
  const lastHour = sharesOf(measured, scenario.breakMs - HOUR_MS);
  const messages = Object.values(outcome.messages).reduce((sum, count) => sum + count, 0);
  const microBatches = steps * scenario.microBatchesPerStep;
  const hostTime = measured.reduce((sum, { alive }) => sum + alive, 0) / Math.max(1, measured.length);
  return {
    seed: scenario.seed,
    hours: virtualMs / HOUR_MS,
    steps,
    microBatches,
    joined,
    lost,
    replays,
    resumedAfterMs,
    hosts: last?.alive ?? 0,
    hostsPerStage: last?.serving ?? [],
    throughput: { overall: overall.applied, lastHour: lastHour.applied },
    assignment: { overall: overall.assigned, lastHour: lastHour.assigned },
    messages,
    hopsPerLookUp: outcome.lookUps.hops / outcome.lookUps.lookUps,
    messagesPerHostAndMicroBatch: messages / (hostTime * microBatches),
    violations,
  };
}

/** The same for a person; lines without a last line break. */
export function report(scenario: Scenario, outcome: Outcome): string {
  const found = figures(scenario, outcome);
  const { hostsPerStage, hosts, throughput, assignment } = found;
  const rows = [
    [
      "throughput",
      `${percent(throughput.overall)} of optimal; in the last hour ${percent(throughput.lastHour)}`,
    ],
    [
      "hosts placed",
      `${percent(assignment.overall)} of optimal; in the last hour ${percent(assignment.lastHour)}`,
    ],
    ["hosts at the end", `${format.rate(hosts)}, serving by stage ${stagesText(hostsPerStage)}`],
    [
      "steps",
      `${format.rate(found.steps)} of ${scenario.microBatchesPerStep} micro-batches; ${
        format.rate(found.replays)
      } sent again, each counted once`,
    ],
    ["hosts taken in, lost", `${format.rate(found.joined)}, ${format.rate(found.lost)}`],
    [
      "messages",
      `${format.rate(found.messages)}; ${
        found.messagesPerHostAndMicroBatch.toPrecision(3)
      } for each host and micro-batch`,
    ],
    [
      "look-ups",
      `${format.rate(outcome.lookUps.lookUps)}, of ${found.hopsPerLookUp.toFixed(1)} hops on the mean`,
    ],
    [
      "under way after heal",
      found.resumedAfterMs === undefined ? "never" : format.duration(found.resumedAfterMs / 1000),
    ],
  ];
  const lines = rows.map(([what, value]) => `${what.padEnd(22)}${value}`);
  const checkers = CHECKERS.map(([name, promise]) => {
    const seen = found.violations.filter(({ checker }) => checker === name);
    return seen.length === 0 ? `✓ ${promise}` : `✗ ${promise}: ${seen.map(({ words }) => words).join("; ")}`;
  });
  return [...lines, "", ...checkers].join("\n");
}

/** Throughput over the hours as an SVG document. */
export function picture(scenario: Scenario, { points }: Outcome): string {
  const measured = points.filter(({ atMs }) => atMs <= scenario.breakMs);
  const applied = measured.slice(1).map(({ atMs, applied }, index) => ({
    hour: measured[index].atMs / HOUR_MS,
    value: 1000 * (applied - measured[index].applied) / (atMs - measured[index].atMs),
  }));
  const curve = (name: "best" | "assigned") =>
    measured.map((point) => ({ hour: point.atMs / HOUR_MS, value: point[name] }));
  return plotThroughput([
    { name: "the best that the hosts alive could do", possible: true, points: curve("best") },
    { name: "as they were placed", points: curve("assigned") },
    { name: "applied", points: applied },
  ], {
    title: `${scenario.stages} stages, seed ${scenario.seed}: throughput`,
    unit: "micro-batches per second",
  });
}

function stagesText(hosts: readonly number[]): string {
  if (hosts.length <= STAGES_LISTED) return hosts.join("·");
  return `${Math.min(...hosts)} to ${Math.max(...hosts)}`;
}

function percent(share: number): string {
  return Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "–";
}
