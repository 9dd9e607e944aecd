import assert from "node:assert/strict";
import { DeviceLost, type DeviceName, type Stage } from "../stages/mod.ts";
import { Failure } from "./arguments.ts";
import type { StageDevices } from "./device_plan.ts";
import { StageOpener } from "./stage_opener.ts";

const devices: StageDevices = [[{ name: "webgpu" }, { name: "onnx" }]];

/** Devices that open but for those that are broken, and can be lost. */
class Machine {
  readonly broken = new Set<DeviceName>();
  readonly opened: DeviceName[] = [];
  readonly warnings: string[] = [];
  lose: (error: DeviceLost) => void = () => {};
  readonly opener = new StageOpener(
    devices,
    (_index, { name }, onLost) => {
      if (this.broken.has(name)) return Promise.reject(new Error("out of memory"));
      this.opened.push(name);
      this.lose = onLost;
      return Promise.resolve({} as Stage);
    },
    { info: () => {}, warn: (words: unknown) => this.warnings.push(String(words)) } as never,
  );
}

Deno.test("a stage is opened on the best device, and on the next where that fails", async () => {
  const machine = new Machine();
  await machine.opener.open(0);
  machine.broken.add("webgpu");
  await machine.opener.open(0);
  machine.broken.delete("webgpu");
  await machine.opener.open(0);
  assert.deepEqual(machine.opened, ["webgpu", "onnx", "webgpu"]);
  assert.deepEqual(machine.warnings, ["Cannot open stage 0 on webgpu"]);
});

Deno.test("a device that was lost is not tried again; when the last is lost the host is told to end", async () => {
  const machine = new Machine();
  await machine.opener.open(0);
  machine.lose(new DeviceLost("unplugged"));
  await machine.opener.open(0);
  assert.deepEqual(machine.opened, ["webgpu", "onnx"]);
  machine.lose(new DeviceLost("its driver crashed"));
  const isFailure = (error: unknown) =>
    error instanceof Failure &&
    error.message === "Cannot hold stage 0 on any device of this machine: " +
        "webgpu: it was lost (unplugged); onnx: it was lost (its driver crashed)";
  await assert.rejects(machine.opener.open(0), isFailure);
  await assert.rejects(machine.opener.exhausted, isFailure);
  assert.equal(machine.warnings.length, 2);
});
