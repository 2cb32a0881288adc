import type { Fault } from "./fault.ts";

const reader = "test/agent/text-tools.test.ts";
const prompt = "test/agent/prompt.test.ts";
const engine = "test/engine/text-tools.test.ts";

/** Of the protocol for models that take no tools as such. */
export const text: readonly Fault[] = [
  {
    name: "text behind a call is shown before the reply is whole, and the call is lost where that breaks off",
    file: "src/engine/collect-reply.ts",
    text: "return toolCalls.length === 0 ? { kind, content } : null;",
    by: "return { kind, content };",
    tests: [engine],
  },
  {
    name: "an answer to which tools were offered is gone on with by a model that takes none",
    file: "src/engine/call-model.ts",
    text: "if (tools && !now.tools) return false;",
    by: "void tools;",
    tests: [engine],
  },
  {
    name: "a call that is not whole at the end of an answer is lost",
    file: "src/agent/text-tools.ts",
    text: "      if (open !== null) close(open);\n",
    by: "",
    tests: [reader, engine],
  },
  {
    name: "a quotation mark that is escaped ends its string",
    file: "src/agent/text-tools.ts",
    text: "isEscaped = char === codes.backslash;",
    by: "",
    tests: [reader],
  },
  {
    name: "what is held back of a text may grow for ever",
    file: "src/agent/text-gaps.ts",
    text: "    mustFit(blank.length + ticks + language.length + gap.length + closing);\n",
    by: "",
    tests: [reader],
  },
  {
    name: "what was spelled for a model with tools is sent to one without",
    file: "src/agent/prompt.ts",
    text: "  const known = written[protocol].get(item);",
    by: "  const known = written.native.get(item) ?? written.text.get(item);",
    tests: [prompt],
  },
];
