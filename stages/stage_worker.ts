/**
 * The thread behind a `WorkerStage`: opens one stage and passes calls on in their
 * order. It decides nothing, and ends with its owner.
 */

import type { Device } from "../kernels/mod.ts";
import { CompiledStage } from "./compiled_stage.ts";
import { openDevice } from "./open_device.ts";
import type { Sessions } from "./sessions.ts";
import type { Stage } from "./stage.ts";
import type { StageAnswer, StageCall, StageFacts } from "./worker_stage.ts";

/** The worker's own end, as far as it is used here; Deno's types know the window's only. */
interface Port {
  onmessage: ((event: MessageEvent<{ number: number; call: StageCall }>) => void) | null;
  postMessage(answer: StageAnswer, transfer: Transferable[]): void;
}

const port = globalThis as unknown as Port;

let device: Device | undefined;
let opened: Stage | undefined;
/** Ends when the stage is open, or failed to open. From then on it keeps the calls' order itself. */
let opening: Promise<void> = Promise.resolve();

port.onmessage = ({ data: { number, call } }) => {
  const answered = opening.then(() => answer(number, call));
  if (call.method === "open") opening = answered;
};

async function answer(number: number, call: StageCall): Promise<void> {
  try {
    const value = await carryOut(call);
    port.postMessage({ call: number, ok: true, value, facts: factsOf(stage()) }, buffersIn(value));
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    const facts = opened && factsOf(opened);
    port.postMessage({ call: number, ok: false, error: { name, message }, ...(facts && { facts }) }, []);
  }
}

function factsOf({ count, step, parameters, kept, inFlightMax = 1, sessions }: Stage): StageFacts {
  const { capacityTokens = 0, roomTokens = 0, count: sessionCount = 0 } = sessions ?? {};
  return {
    count,
    step,
    parameters,
    kept,
    inFlightMax,
    sessions: { capacityTokens, roomTokens, count: sessionCount },
  };
}

async function carryOut(call: StageCall): Promise<unknown> {
  switch (call.method) {
    case "open":
      device = await openDevice(call.device);
      opened = await CompiledStage.create({
        device,
        manifest: call.manifest,
        index: call.index,
        ...(call.cacheBytes !== undefined && { cacheBytes: call.cacheBytes }),
      });
      return undefined;
    case "forward":
      return await stage().forward(call.key, call.input, call.targets, { keep: call.keep });
    case "backward":
      return await stage().backward(call.key, call.gradient, { accumulate: call.accumulate });
    case "extend":
      return await sessions().extend(call.run);
    case "end":
      return sessions().end(call.key);
    case "release":
      return stage().release(call.key);
    case "apply":
      return await stage().apply(call.update);
    case "importState":
      return await stage().importState(call.manifest, call.bytes);
    case "close":
      await stage().close();
      return await device?.close();
    case "gradientSum":
    case "clearGradients":
    case "exportState":
    case "describeState":
      return await stage()[call.method]();
    default:
      return call satisfies never;
  }
}

function stage(): Stage {
  if (opened === undefined) throw new Error("Cannot call the stage: it was not opened");
  return opened;
}

function sessions(): Sessions {
  const { sessions } = stage();
  if (sessions === undefined) throw new Error("Cannot continue sessions: the stage keeps none");
  return sessions;
}

/** Buffers that an answer gives away: fresh ones, which nobody here uses again. */
function buffersIn(value: unknown): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) return [value.buffer as ArrayBuffer];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap((field) =>
    ArrayBuffer.isView(field) || isTensor(field) ? buffersIn(field) : []
  );
}

function isTensor(value: unknown): value is { readonly data: ArrayBufferView } {
  return typeof value === "object" && value !== null && "data" in value;
}
