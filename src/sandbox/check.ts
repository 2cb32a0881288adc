import { answerLimits } from "../agent/answer-limits.ts";
import type { JsonObject } from "../agent/json.ts";
import { sandboxLimits } from "../limits.ts";
import { optional, textOf } from "./frame.ts";
import type { Pool } from "./pool.ts";

/** Has a child hold a value against a schema; `Sandbox.check` says what comes of it. */
export const runCheck = async (
  runners: Pool,
  { value, schema }: { readonly value: JsonObject; readonly schema: JsonObject },
  signal: AbortSignal,
): Promise<string | null> => {
  const job = {
    header: { kind: "check", value, schema },
    // All of them together: they leave half of the children to tools.
    key: "check",
    loadMs: sandboxLimits.loadMsMax,
    runMs: answerLimits.checkMs,
    memoryBytesMax: sandboxLimits.childMemoryBytesMax,
  };
  const end = await runners.run(job, signal);
  switch (end.kind) {
    case "answered":
      // One that was cut may end in half a character, which protobuf does not take.
      return optional(end.frame.header, "fault", textOf)?.toWellFormed() ?? null;
    case "tooSlow":
      return `the data could not be held against the schema within ${answerLimits.checkMs} ms; give simpler data`;
    case "tooLarge":
      return "to hold the data against the schema takes too much memory; give less data";
    case "crashed":
      return "the process that held the data against the schema died; give simpler data";
  }
};
