/** What went wrong, as OpenAI's clients expect to be told. It decides nothing: whoever throws one does. */

/** What kind of trouble it is, in OpenAI's words. */
export type ProblemType =
  | "invalid_request_error"
  | "authentication_error"
  | "rate_limit_error"
  | "server_error";

/** More about a problem. */
export interface ProblemDetails {
  /** Word for programs. */
  readonly code?: string;
  /** Field of the request that is to blame. */
  readonly param?: string;
  /** When to ask again. */
  readonly retryAfterSeconds?: number;
  /** Further headers of the answer. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A request that gets no answer but this. */
export class Problem extends Error {
  override name = "Problem";
  readonly status: number;
  readonly type: ProblemType;
  readonly details: ProblemDetails;

  constructor(status: number, message: string, details: ProblemDetails = {}) {
    super(message);
    this.status = status;
    this.type = typeOf(status);
    this.details = details;
  }

  /** The body that OpenAI's clients read. */
  toJSON(): { error: Record<string, string | null> } {
    const { code = null, param = null } = this.details;
    return { error: { message: this.message, type: this.type, param, code } };
  }

  /** The whole answer. */
  toResponse(): Response {
    const { retryAfterSeconds, headers = {} } = this.details;
    const retry: Record<string, string> = retryAfterSeconds === undefined
      ? {}
      : { "retry-after": String(Math.max(1, Math.ceil(retryAfterSeconds))) };
    return Response.json(this, { status: this.status, headers: { ...headers, ...retry } });
  }
}

function typeOf(status: number): ProblemType {
  if (status === 401) return "authentication_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}
