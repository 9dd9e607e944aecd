/**
 * How peers reach each other: the interface, and the wires of one process. Wires
 * over libp2p are imported from their own file, so that nobody loads it who
 * simulates.
 */

export { type MemoryFault, MemoryHub, type MemoryHubOptions, type MemoryLink } from "./memory_wire.ts";
export { BadFrame, type Frame, type Wire, type WireEvents, type WireTensor } from "./wire.ts";
