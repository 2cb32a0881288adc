import { Code, ConnectError } from "@connectrpc/connect";
import { EngramError, type ErrorCode } from "../errors.ts";

/** What each failure is to a client. Model faults are events of an agent; one that gets here is a fault of the server. */
const codes: Readonly<Record<ErrorCode, Code>> = {
  invalid_argument: Code.InvalidArgument,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  failed_precondition: Code.FailedPrecondition,
  resource_exhausted: Code.ResourceExhausted,
  unauthenticated: Code.Unauthenticated,
  deadline_exceeded: Code.DeadlineExceeded,
  canceled: Code.Canceled,
  unimplemented: Code.Unimplemented,
  unavailable: Code.Unavailable,
  internal: Code.Internal,
  conflict: Code.Aborted,
  fenced: Code.Aborted,
  corrupt: Code.DataLoss,
  model_unavailable: Code.Unavailable,
  model_not_found: Code.NotFound,
  model_timeout: Code.DeadlineExceeded,
  model_error: Code.Internal,
  context_overflow: Code.ResourceExhausted,
};

/** An expected failure in the protocol's terms; anything else is left to the server, which hides and logs it. */
export const failureOf = (error: unknown): unknown =>
  error instanceof EngramError
    ? new ConnectError(error.message, codes[error.code], undefined, undefined, error)
    : error;
