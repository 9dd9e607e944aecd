/**
 * The manifest that a flag names, and the tokenizer that the manifest names,
 * read from disk. What they may say is the run room's to judge; this file adds
 * which file it was, and refuses to go on without it.
 */

import { dirname, join } from "node:path";
import {
  type ChatTemplate,
  type Manifest,
  ManifestError,
  openNamedChatTemplate,
  openTokenizer,
  parseManifest,
  type Tokenizer,
  type TokenizerFiles,
} from "../run/mod.ts";
import { UsageError } from "./arguments.ts";

/** The largest tokenizer in use is 33 MB; a file above this is no tokenizer. */
const TOKENIZER_BYTES_MAX = 256 * 1024 * 1024;

/** No manifest comes near it; the run room has its own, smaller bound. */
const MANIFEST_BYTES_MAX = 1024 * 1024;

/**
 * Reads a manifest.
 *
 * @throws {UsageError} naming the file, the field, what was found and what was expected.
 */
export async function readManifest(path: string): Promise<Manifest> {
  const text = new TextDecoder().decode(await readBytes(path, "manifest", MANIFEST_BYTES_MAX));
  try {
    return parseManifest(text);
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error;
    throw new UsageError(
      [`Cannot use manifest ${path}:`, ...error.problems.map((problem) => `  ${problem}`)].join("\n"),
    );
  }
}

/**
 * Reads the tokenizer of a manifest that lies at `path`.
 *
 * @throws {UsageError} if one of its files is missing or not the one that the manifest names.
 */
export async function readTokenizer(path: string, manifest: Manifest): Promise<Tokenizer> {
  return await readTokenizerFiles(path, manifest, openTokenizer);
}

/**
 * Reads the template of chats of a manifest that lies at `path`; a plain one where it names none.
 *
 * @throws {UsageError} if one of its files is missing or not the one that the manifest names.
 */
export async function readChatTemplate(path: string, manifest: Manifest): Promise<ChatTemplate> {
  return await readTokenizerFiles(path, manifest, openNamedChatTemplate);
}

async function readTokenizerFiles<Result>(
  path: string,
  manifest: Manifest,
  open: (manifest: Manifest, files: TokenizerFiles) => Result,
): Promise<Result> {
  const { tokenizer } = manifest;
  const read = async (file: string | undefined) =>
    file === undefined
      ? undefined
      : await readBytes(join(dirname(path), file), "tokenizer", TOKENIZER_BYTES_MAX);
  try {
    if (tokenizer.kind === "bytes") return open(manifest, {});
    return open(manifest, {
      tokenizer: await read(tokenizer.file),
      config: await read(tokenizer.config?.file),
      chatTemplate: await read(tokenizer.chatTemplate?.file),
    });
  } catch (error) {
    throw error instanceof TypeError ? new UsageError(error.message) : error;
  }
}

/**
 * Reads texts to train on.
 *
 * @throws {UsageError} naming the file that is missing, empty, too large or no text.
 */
export async function readTexts(paths: readonly string[]): Promise<string[]> {
  const texts: string[] = [];
  for (const path of paths) {
    const bytes = await readBytes(path, "data", DATA_BYTES_MAX);
    try {
      texts.push(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
    } catch {
      throw new UsageError(`Cannot use data ${path}: it is not UTF-8 text`);
    }
  }
  return texts;
}

/** Token ids of the whole data stay in memory, four bytes each; a string holds no more than 512 MiB either. */
const DATA_BYTES_MAX = 256 * 1024 * 1024;

async function readBytes(path: string, what: string, bytesMax: number): Promise<Uint8Array> {
  try {
    const { size, isFile } = await Deno.stat(path);
    if (!isFile) throw new UsageError(`Cannot use ${what} ${path}: it is not a file`);
    if (size === 0) throw new UsageError(`Cannot use ${what} ${path}: it is empty`);
    if (size > bytesMax) {
      throw new UsageError(`Cannot use ${what} ${path}: it holds ${size} bytes, ${bytesMax} are allowed`);
    }
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new UsageError(`Cannot use ${what} ${path}: there is no such file`);
    }
    if (error instanceof Deno.errors.PermissionDenied) {
      throw new UsageError(`Cannot use ${what} ${path}: it may not be read`);
    }
    throw error;
  }
}
