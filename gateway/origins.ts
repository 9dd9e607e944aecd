/**
 * Which web pages may ask. A gateway without keys trusts whoever reaches it, and
 * a browser reaches it for every page that it shows: so it answers to no name but
 * this machine's own, and to no page but its own, unless it is told others.
 */

import { Problem } from "./problem.ts";

/** Where from, besides the gateway's own page. */
export interface OriginRules {
  /** `https://chat.example.org`, or `*` for all. */
  readonly allowed: readonly string[];
  /** Whether only requests that name this machine are answered: a name that was made to point here is not. */
  readonly loopbackOnly: boolean;
}

/** Hosts that mean this machine. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname.endsWith(".localhost") ||
    /^127(\.\d{1,3}){3}$/.test(hostname) ||
    hostname === "[::1]" || hostname === "::1";
}

/**
 * Headers that let the page that asks read the answer; none if it is no other's.
 *
 * @throws {Problem} 403 if whoever asks may not.
 */
export function admitOrigin(
  rules: OriginRules,
  request: Request,
  url: URL,
): Readonly<Record<string, string>> {
  if (rules.loopbackOnly && !isLoopback(url.hostname)) {
    throw new Problem(
      403,
      `Cannot answer as ${url.hostname}: without API keys this is a gateway for this machine`,
    );
  }
  const origin = request.headers.get("origin");
  // A proxy that speaks TLS for us changes the scheme, and nothing else.
  if (origin === null || hostOf(origin) === url.host) return {};
  const any = rules.allowed.includes("*");
  if (any || rules.allowed.includes(origin)) {
    return {
      "access-control-allow-origin": any ? "*" : origin,
      "access-control-expose-headers": "retry-after",
      ...any ? {} : { vary: "origin" },
    };
  }
  throw new Problem(
    403,
    `Cannot answer a page of ${origin.slice(0, 200)}: it is not among those that may ask`,
  );
}

/** The answer to a browser that asks whether it may ask. */
export function preflight(headers: Readonly<Record<string, string>>, methods: string): Response {
  return new Response(null, {
    status: 204,
    headers: {
      ...headers,
      "access-control-allow-methods": methods,
      // What OpenAI's clients send.
      "access-control-allow-headers": "authorization, content-type, openai-organization, openai-project, " +
        "x-stainless-arch, x-stainless-lang, x-stainless-os, x-stainless-package-version, x-stainless-retry-count, " +
        "x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout, x-stainless-helper-method",
      "access-control-max-age": "86400",
    },
  });
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
