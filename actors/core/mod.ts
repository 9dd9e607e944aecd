/**
 * The runtime of actors: what a program needs that builds peers, simulates them
 * or watches them. What only the runtime itself uses stays inside.
 */

export type { Address, Behaviour, Context, Envelope, PeerId, Work } from "./actor.ts";
export type { Failure } from "./cell.ts";
export type { Clock, Timer } from "./clock.ts";
export type { Entropy } from "./entropy.ts";
export { type Outcome, type Performer, RealPerformer } from "./performer.ts";
export { RealClock } from "./real_clock.ts";
export { eventLoopScheduler, type Scheduler } from "./scheduler.ts";
export { SeededEntropy } from "./seeded_entropy.ts";
export type { CostModel } from "./simulated_performer.ts";
export {
  type RunOptions,
  type RunResult,
  type SimulatedSystemOptions,
  Simulation,
  type SimulationOptions,
} from "./simulation.ts";
export type { SupervisionLimits } from "./supervisor.ts";
export { ActorSystem, type ActorSystemOptions } from "./system.ts";
export { SystemEntropy } from "./system_entropy.ts";
export { silentTrace, teeTrace, type TraceEvent, TraceRing, type TraceSink } from "./trace.ts";
export { TraceHash } from "./trace_hash.ts";
export { VirtualClock } from "./virtual_clock.ts";
