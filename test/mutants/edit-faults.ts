import type { Fault } from "./fault.ts";

const counted = "test/agent/counted.test.ts";
const condense = "test/engine/condense.test.ts";
const edits = "test/engine/edits.test.ts";

/** Where what a client edits takes effect by one line. */
export const editing: readonly Fault[] = [
  {
    name: "edits: a prompt that was shortened is counted as it was before",
    file: "src/agent/fold.ts",
    text: "  endCount(draft);\n  const isOther",
    by: "  const isOther",
    tests: [counted],
  },
  {
    name: "edits: a count that was on its way is taken for one of the edited prompt",
    file: "src/agent/fold-reply.ts",
    text: "continuedLength === 0 && afterSequence >= draft.specSequence",
    by: "continuedLength === 0",
    tests: [counted],
  },
  {
    name: "edits: an answer that was gone on with makes its prompt seem long",
    file: "src/agent/fold-reply.ts",
    text: "if (continuedLength === 0 &&",
    by: "if (continuedLength >= 0 &&",
    tests: [counted],
  },
  {
    name: "edits: a server is never asked again whether the model reads more by now",
    file: "src/agent/fold.ts",
    text: "if (draft.reason.startsWith(overflowReason)) draft.reach = unknownReach;",
    by: "",
    tests: [counted],
  },
  {
    name: "edits: how much a model can read is taken from another one's call",
    file: "src/agent/fold-reply.ts",
    text: "told !== draft.reach.told && call.afterSequence >= draft.specSequence",
    by: "told !== draft.reach.told",
    tests: [counted],
  },
  {
    name: "edits: a tool that has to be confirmed now is run",
    file: "src/engine/call-model.ts",
    text: "toolboxOf(step.state.spec, files);",
    by: "toolboxOf(spec, files);",
    tests: [edits],
  },
  {
    name: "edits: another model waits for as long as the one before asked to be left alone",
    file: "src/agent/fold.ts",
    text: "if (isOther) draft.turn = { ...draft.turn, attempts: 0, retryAtMs: 0 };",
    by: "",
    tests: [edits],
  },
  {
    name: "condensing: a reply that finds no room leaves the model little to read for ever",
    file: "src/engine/call-model.ts",
    text: 'const found = written === "" ? null',
    by: "const found = written !== null ? null",
    tests: [condense],
  },
  {
    name: "condensing: a reply that finds no room ends its turn",
    file: "src/engine/call-model.ts",
    text: 'if (!error.transient && written === "")',
    by: "if (!error.transient)",
    tests: [condense],
  },
  {
    name: "condensing: the present time is told with what was never sent",
    file: "src/agent/fold-reply.ts",
    text: "if (call.condensedItems !== undefined) return;",
    by: "",
    tests: [edits],
  },
];
