import { expect, test } from "bun:test";
import { EngramError, type ErrorCode } from "../../src/errors.ts";
import { codeOf, openApi } from "../support/api.ts";
import { openStage } from "../support/stage.ts";

/** What each failure is to a client; none is UNKNOWN. */
const codes: Readonly<Record<ErrorCode, string>> = {
  invalid_argument: "InvalidArgument",
  not_found: "NotFound",
  already_exists: "AlreadyExists",
  failed_precondition: "FailedPrecondition",
  resource_exhausted: "ResourceExhausted",
  unauthenticated: "Unauthenticated",
  deadline_exceeded: "DeadlineExceeded",
  canceled: "Canceled",
  unimplemented: "Unimplemented",
  unavailable: "Unavailable",
  internal: "Internal",
  conflict: "Aborted",
  fenced: "Aborted",
  corrupt: "DataLoss",
  model_unavailable: "Unavailable",
  model_not_found: "NotFound",
  model_timeout: "DeadlineExceeded",
  model_error: "Internal",
  context_overflow: "ResourceExhausted",
};

test.each(Object.entries(codes))(
  "a failure that is %s comes to clients as %s",
  async (code, shown) => {
    const stage = openStage();
    const fails = () => Promise.reject(new EngramError(code as ErrorCode, "it says why"));
    const store = { ...stage.store, row: fails, list: fails };
    const engine = stage.start({ store });
    const client = openApi(engine, stage);
    const calls = [client.getAgent({ agentId: "a" }), client.listAgents({})];
    for (const call of calls) {
      const caught = call.catch((error: unknown) => error);
      expect([await codeOf(call), await caught]).toEqual([
        shown,
        expect.objectContaining({ rawMessage: "it says why" }),
      ]);
    }
    await engine.drain();
  },
);
