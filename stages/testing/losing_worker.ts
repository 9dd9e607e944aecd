/** A thread whose device is lost at the first forward pass, and that crashes when it is asked to describe its state. */

import type { StageAnswer, StageCall } from "../worker_stage.ts";

interface Port {
  onmessage: ((event: MessageEvent<{ number: number; call: StageCall }>) => void) | null;
  postMessage(answer: StageAnswer): void;
}

const port = globalThis as unknown as Port;

port.onmessage = ({ data: { number, call } }) => {
  switch (call.method) {
    case "forward":
      return port.postMessage({
        call: number,
        ok: false,
        error: { name: "DeviceLost", message: "unplugged" },
      });
    case "describeState":
      throw new Error("a bug in the thread");
    default: {
      const facts = { count: 1, step: 0, parameters: 1, kept: 0 };
      return port.postMessage({ call: number, ok: true, value: undefined, facts });
    }
  }
};
