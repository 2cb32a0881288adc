/** Why something failed. The api maps each to one Connect code; the model_* and context_overflow ones end a turn. */
export type ErrorCode =
  | "invalid_argument"
  | "not_found"
  | "already_exists"
  | "failed_precondition"
  | "resource_exhausted"
  | "unauthenticated"
  | "deadline_exceeded"
  | "canceled"
  | "unimplemented"
  | "unavailable"
  | "internal"
  /** The log's head has moved since it was read: read the rest and decide again. */
  | "conflict"
  /** The epoch is stale: another worker drives the agent now. */
  | "fenced"
  /** Stored bytes are not what was written. */
  | "corrupt"
  | "model_unavailable"
  | "model_not_found"
  | "model_timeout"
  | "model_error"
  | "context_overflow";

type ErrorDetails = {
  readonly cause?: unknown;
  /** The same call may succeed later without anyone's help. */
  readonly transient?: boolean;
  /** Wait at least this long before the next attempt, as the other side asked. */
  readonly retryAfterMs?: number;
  /** Of context_overflow, where the model server told it. */
  readonly overflow?: Overflow;
};

/** By how much a prompt was too long: in the model's tokens, null where its server did not say. */
export type Overflow = {
  readonly contextTokens: number | null;
  readonly promptTokens: number | null;
};

/** The one error class. `message` names what is wrong and what to do; it may be shown to clients, so it holds no secret. */
export class EngramError extends Error {
  override readonly name = "EngramError";
  readonly code: ErrorCode;
  readonly transient: boolean;
  readonly retryAfterMs: number | null;
  readonly overflow: Overflow | null;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.transient = details.transient ?? false;
    this.retryAfterMs = details.retryAfterMs ?? null;
    this.overflow = details.overflow ?? null;
  }

  /** A thrown value as this class: itself, or `internal` around it. */
  static of(error: unknown): EngramError {
    return error instanceof EngramError
      ? error
      : new EngramError("internal", "something in the engine went wrong; its log says what", {
          cause: error,
        });
  }
}

/** What a thrown value says, for a log line or as a part of a message. */
export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
