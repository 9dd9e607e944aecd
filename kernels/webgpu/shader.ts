/**
 * The text of a kernel: its files, behind the types and numbers that it is
 * specialised by. It reads files and compiles nothing.
 */

import { type Dispatch, HALF_MAX } from "./writer.ts";

/** What a kernel's files say, by their address. */
export class ShaderFiles {
  readonly #texts = new Map<string, string>();

  /**
   * Reads the files that were not read yet.
   *
   * @throws {Error} if one can't be read.
   */
  async load(files: Iterable<URL>): Promise<void> {
    const missing = new Set([...files].map(({ href }) => href).filter((href) => !this.#texts.has(href)));
    await Promise.all([...missing].map(async (href) => {
      this.#texts.set(href, await read(href));
    }));
  }

  /**
   * What WebGPU compiles for a dispatch whose files are loaded.
   *
   * @throws {TypeError} if a number has no WGSL literal.
   */
  textOf(
    { source, sizes = {}, constants = {}, floats = {}, tables = {}, types = {} }: Omit<
      Dispatch,
      "bindings" | "workgroups"
    >,
  ): string {
    const lines: string[] = [];
    if (Object.values(types).includes("f16")) lines.push("enable f16;");
    for (const [name, storage] of Object.entries(types)) lines.push(`alias ${name} = ${storage};`);
    for (const [name, value] of Object.entries(constants)) lines.push(constant(name, value));
    for (const [name, value] of Object.entries(floats)) lines.push(float(name, value));
    for (const [name, numbers] of Object.entries(tables)) lines.push(table(name, numbers));
    let texts = source.map(({ href }) => this.#texts.get(href)!);
    const halves = Object.keys(types).filter((name) => types[name] === "f16");
    if (halves.length > 0) {
      lines.push(TO_HALF);
      const stores = new RegExp(`\\b(vec4<)?(${halves.join("|")})>?\\(`, "g");
      texts = texts.map((text) => text.replaceAll(stores, (_all, four) => four ? "fourHalves_(" : "half_("));
    }
    const names = Object.keys(sizes);
    if (names.length === 0) return [...lines, ...texts].join("\n");
    const members = names.map((name) => `${name}: u32`).join(", ");
    lines.push(`struct Sizes_ { ${members} }`, "@group(1) @binding(0) var<uniform> sizes_: Sizes_;");
    const words = new RegExp(`\\b(${names.join("|")})\\b`, "g");
    return [...lines, ...texts.map((text) => text.replaceAll(words, "sizes_.$1"))].join("\n");
  }
}

/**
 * How 16 bits take what is beyond their greatest number: as that number. Infinity would make the next
 * difference NaN, and WGSL leaves open what becomes of it.
 */
const TO_HALF = `const HALF_MAX_ = ${HALF_MAX}.0;
fn half_(value: f32) -> f16 { return f16(clamp(value, -HALF_MAX_, HALF_MAX_)); }
fn fourHalves_(value: vec4f) -> vec4h { return vec4h(clamp(value, vec4f(-HALF_MAX_), vec4f(HALF_MAX_))); }`;

async function read(href: string): Promise<string> {
  try {
    const response = await fetch(href);
    if (response.ok) return await response.text();
    throw new Error(`status is ${response.status}`);
  } catch (error) {
    throw new Error(`Cannot read kernel ${href}: ${error instanceof Error ? error.message : error}`);
  }
}

function constant(name: string, value: number | boolean): string {
  if (typeof value === "boolean") return `const ${name}: bool = ${value};`;
  if (!Number.isInteger(value)) return float(name, value);
  if (value < 0 || value > 0xffff_ffff) throw refusal(name, value, "an unsigned number of 32 bits");
  return `const ${name}: u32 = ${value}u;`;
}

function float(name: string, value: number): string {
  const rounded = Math.fround(value);
  if (!Number.isFinite(rounded)) throw refusal(name, value, "a finite f32");
  return `const ${name}: f32 = ${rounded}f;`;
}

function table(name: string, numbers: Uint32Array): string {
  const literals = Array.from(numbers, (number) => `${number}u`).join(", ");
  return `const ${name} = array<u32, ${numbers.length}>(${literals});`;
}

function refusal(name: string, value: number, expected: string): TypeError {
  return new TypeError(`Cannot write kernel: ${name} is ${value}, expected ${expected}`);
}
