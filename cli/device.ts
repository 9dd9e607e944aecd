/** Settles what a host computes on, with this machine's own devices, and says what it settled. It computes nothing. */

import { RealClock } from "../actors/core/real_clock.ts";
import type { Manifest } from "../run/mod.ts";
import { DeviceFigures } from "./device_figures.ts";
import { planDevices, type StageDevices } from "./device_plan.ts";
import { reportOn } from "./device_report.ts";
import type { DeviceChoice } from "./options.ts";

/** What a device is given to be opened: drivers compile, and a cold disk is slow. */
const OPEN_MS_MAX = 20_000;
/** What it is given to be measured, at all stages together. One that takes longer is not the fastest. */
const MEASURE_MS_MAX = 12_000;

/** A host's flags, as far as they matter here. */
export interface DeviceSettings {
  readonly device: DeviceChoice;
  readonly threads?: number;
  readonly stage?: number;
  readonly manifest: Manifest;
  /** Where measurements are kept; it exists. */
  readonly folder: string;
  /** Told what is settled, and before something takes seconds. */
  readonly tell: (words: string) => void;
}

/** See `planDevices`, which throws what this throws. */
export async function settleDevices(settings: DeviceSettings): Promise<StageDevices> {
  const { device, threads, stage, manifest, folder, tell } = settings;
  const clock = new RealClock();
  const { devices, reason } = await planDevices(device, {
    manifest,
    ...threads === undefined ? {} : { threads },
    ...stage === undefined ? {} : { stage },
    probe: (request) => {
      const limitMs = request.stages === undefined ? OPEN_MS_MAX : MEASURE_MS_MAX;
      return reportOn(request, { clock, dataDirectory: folder, limitMs });
    },
    figures: new DeviceFigures(folder),
    onMeasure: (names) => tell(`Measuring which of ${names.join(", ")} is fastest for this run`),
  });
  tell(`Computing with ${reason}`);
  return devices;
}
