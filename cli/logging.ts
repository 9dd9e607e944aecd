/**
 * What commands say of themselves, on standard error: lines for a person, or
 * JSON lines for a machine. Standard output is left to results.
 */

import {
  configure,
  dispose,
  getJsonLinesFormatter,
  getLogger,
  type Logger,
  type LogRecord,
  type Sink,
} from "@logtape/logtape";
import { type Output, PROCESS_OUTPUT } from "./arguments.ts";
import { printable } from "./format.ts";
import type { LogLevel } from "./options.ts";

/** How logs are written. */
export interface LoggingOptions {
  readonly logLevel: LogLevel;
  readonly json?: boolean;
}

/**
 * Sets logging up for this process; later calls replace earlier ones.
 *
 * @returns the logger of `name`, a word that opens each line.
 */
export async function startLogging(
  name: string,
  options: LoggingOptions,
  output: Output = PROCESS_OUTPUT,
): Promise<Logger> {
  const json = getJsonLinesFormatter();
  const sink: Sink = (record) => output.err(options.json ? json(record) : line(record));
  await configure({
    reset: true,
    sinks: { standardError: sink },
    loggers: [
      { category: "murmuration", lowestLevel: options.logLevel, sinks: ["standardError"] },
      // Logtape's own complaints; without this line it introduces itself on every start.
      { category: ["logtape", "meta"], lowestLevel: "warning", sinks: ["standardError"] },
    ],
  });
  return getLogger(["murmuration", name]);
}

/** Ends logging; what was written is out. */
export const endLogging: () => Promise<void> = dispose;

/** `14:03:21 host  Serving stage 1  step=40`; the level stands there only where it is worth a look. */
function line(record: LogRecord): string {
  const time = new Date(record.timestamp).toISOString().slice(11, 19);
  const level = record.level === "info" || record.level === "debug" ? "" : ` ${record.level}:`;
  const fields = Object.entries(record.properties).map(([name, value]) => `  ${name}=${show(value)}`);
  return `${time} ${record.category.slice(1).join(".")}${level} ${
    record.message.map((part) => printable(String(part))).join("")
  }${fields.join("")}\n`;
}

function show(value: unknown): string {
  const plain = typeof value === "string" && !/[\s"]/.test(value);
  // JSON leaves the control characters beyond ASCII as they are.
  return printable(plain ? value : JSON.stringify(value) ?? String(value));
}
