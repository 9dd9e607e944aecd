/** The page at `/`: a small chat for people, made of the same API that programs use. It is read from disk once. */

import { readFileSync } from "node:fs";

/** Nothing but what comes from here is loaded, run or asked. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const FILES: Readonly<Record<string, { readonly file: string; readonly type: string }>> = {
  "/": { file: "index.html", type: "text/html; charset=utf-8" },
  "/chat.css": { file: "chat.css", type: "text/css; charset=utf-8" },
  "/chat.js": { file: "chat.js", type: "text/javascript; charset=utf-8" },
  "/events.js": { file: "events.js", type: "text/javascript; charset=utf-8" },
  "/icon.svg": { file: "icon.svg", type: "image/svg+xml" },
};

/** The page's files, ready to be sent. */
export class Page {
  readonly #bodies: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

  constructor() {
    this.#bodies = new Map(
      Object.entries(FILES).map(([path, { file }]) => [
        path,
        new Uint8Array(readFileSync(new URL(`./page/${file}`, import.meta.url))),
      ]),
    );
  }

  /** Whether something of the page lies at this path. */
  has(path: string): boolean {
    return this.#bodies.has(path);
  }

  /** What lies there. */
  toResponse(path: string): Response {
    return new Response(this.#bodies.get(path), {
      headers: {
        "content-type": FILES[path].type,
        "content-security-policy": POLICY,
        "cache-control": "no-cache",
      },
    });
  }
}
