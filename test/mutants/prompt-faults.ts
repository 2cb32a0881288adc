import type { Fault } from "./fault.ts";

const calls = "test/agent/calls.test.ts";
const prompts = "test/engine/prompts.test.ts";

/** Where a prompt of the past is told from the log by one line. */
export const looking: readonly Fault[] = [
  {
    name: "prompts: what was gone on with is told from where its call began",
    file: "src/agent/calls.ts",
    text: "    call,\n    headSequence,",
    by: "    call,\n    headSequence: call.afterSequence,",
    tests: [calls],
  },
  {
    name: "prompts: two calls behind one another are taken for one",
    file: "src/agent/calls.ts",
    text: "one.afterSequence === other.afterSequence &&",
    by: "",
    tests: [calls],
  },
  {
    name: "prompts: what an event in between tells of a call is forgotten",
    file: "src/agent/calls.ts",
    text: "    for (const one of continuationsOf(call, outcome))",
    by: "    now.continuations.clear();\n    for (const one of continuationsOf(call, outcome))",
    tests: [calls],
  },
  {
    name: "prompts: a draft that the log has gone past is told of once more",
    file: "src/agent/calls.ts",
    text: "begun.call.afterSequence >= (open?.call.afterSequence ?? 0)",
    by: "true",
    tests: [calls],
  },
  {
    name: "prompts: a continuation is not noted where it was made",
    file: "src/engine/think.ts",
    text: "headSequence: sequence }",
    by: "headSequence: draft.call.afterSequence }",
    tests: [prompts],
  },
  {
    name: "prompts: a condensation does not tell what it was made from",
    file: "src/engine/call-model.ts",
    text: 'type: "ContextCondensed", items, summary, usage, call }',
    by: 'type: "ContextCondensed", items, summary, usage }',
    tests: [prompts],
  },
  {
    name: "prompts: a failed condensation is taken for a failed answer",
    file: "src/engine/call-model.ts",
    text: "condensedItems: items,",
    by: "",
    tests: [prompts],
  },
  {
    name: "prompts: the call that ends a turn leaves no trace",
    file: "src/engine/call-model.ts",
    text: 'written === "") return record(step, failure(code, message, call));',
    by: 'written === "") return record(step, failure(code, message));',
    tests: [prompts],
  },
  {
    name: "prompts: a server is asked for what it refuses, and the log does not tell since when",
    file: "src/llm/openai/openai.ts",
    text: '      ...(refusals.has("usage", model) && { usage: false }),\n',
    by: "",
    tests: ["test/llm/openai-faults.test.ts"],
  },
  {
    name: "prompts: an answer that is given up takes what its prompts held along",
    file: "src/engine/call-model.ts",
    text: '...(text === "" ? {} : { text }),',
    by: "",
    tests: [prompts],
  },
];
