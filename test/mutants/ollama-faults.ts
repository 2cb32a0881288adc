import type { Fault } from "./fault.ts";

const faults = "test/llm/ollama-faults.test.ts";
const calls = "test/llm/ollama.test.ts";
const abilities = "test/llm/ollama-abilities.test.ts";
const lived = "test/engine/abilities.test.ts";
const silence = "test/engine/foul-silence.test.ts";

/** Of Ollama servers. */
export const ollama: readonly Fault[] = [
  {
    name: "ollama: a reply that ended without done is taken for a whole answer",
    file: "src/llm/ollama/ollama.ts",
    text: "      throw failureOfEnd(exchange.subject);\n",
    by: "",
    tests: [faults],
  },
  {
    name: "ollama: a call that was stopped goes on at the server",
    file: "src/llm/ollama/ollama.ts",
    text: "      throw failure;\n    } finally {\n      exchange.close();\n",
    by: "      throw failure;\n    } finally {\n",
    tests: [calls],
  },
  {
    name: "ollama: what a model is refused for is forgotten",
    file: "src/llm/ollama/ollama.ts",
    text: "if (lacking !== null) book.refused(model, lacking);",
    by: "",
    tests: [abilities, lived],
  },
  {
    name: "ollama: what a model wrote is taken for what it lacks",
    file: "src/llm/ollama/failure.ts",
    text: "/answered status 400: \\S+ does not support (tools|thinking) \\(/",
    by: "/does not support (tools|thinking) \\(/",
    tests: [abilities],
  },
  {
    name: "ollama: a refusal for tools fails the turn",
    file: "src/llm/ollama/failure.ts",
    text: '    transient: true,\n    advice: "its tools are offered to it as text from now on",',
    by: '    transient: false,\n    advice: "its tools are offered to it as text from now on",',
    tests: [faults, lived],
  },
  {
    name: "ollama: the server may leave out the oldest messages without a word",
    file: "src/llm/ollama/wire.ts",
    text: "{ truncate: false, shift: false, ...options }",
    by: "options",
    tests: [calls, faults],
  },
  {
    name: "ollama: more room is asked for than the model has",
    file: "src/llm/ollama/wire.ts",
    text: "Math.min(wished, contextTokens ?? wished)",
    by: "wished",
    tests: [calls, lived],
  },
  {
    name: "ollama: a summary is asked for in another room than an answer",
    file: "src/agent/request.ts",
    text: "    contextTokens,\n    format: null,",
    by: "    contextTokens: null,\n    format: null,",
    tests: [lived],
  },
  {
    name: "ollama: whether a model goes on is asked in another room than an answer",
    file: "src/llm/ollama/probe.ts",
    text: "    contextTokens,\n    format: null,",
    by: "    contextTokens: null,\n    format: null,",
    tests: [lived],
  },
  {
    name: "ollama: a model that goes on with its answer thinks anew",
    file: "src/llm/ollama/wire.ts",
    text: 'think: request.thinking && messages.at(-1)?.role !== "assistant",',
    by: "think: request.thinking,",
    tests: [calls],
  },
  {
    name: "ollama: a form is not told to the server",
    file: "src/llm/ollama/wire.ts",
    text: "    format !== null && { format },\n",
    by: "",
    tests: [calls],
  },
  {
    name: "ollama: a large body is spelled out in one go",
    file: "src/llm/http.ts",
    text: "sendParts(it, body),",
    by: 'sendParts(it, [body.join("")]),',
    tests: ["test/llm/http.test.ts"],
  },
  {
    name: "ollama: a character of a large body is cut in halves",
    file: "src/llm/http.ts",
    text: "(isPairCut ? 1 : 0)",
    by: "0",
    tests: ["test/llm/http.test.ts"],
  },
  {
    name: "ollama: a server that says nothing of its models holds a turn up",
    file: "src/llm/ollama/abilities.ts",
    text: "settings.clock.after(abilitiesTimeoutMs, late)",
    by: "settings.clock.after(settings.timeoutMs, late)",
    tests: [abilities],
  },
  {
    name: "ollama: a server that hangs is asked about its models again at once",
    file: "src/llm/ollama/abilities.ts",
    text: "return willSaySo(EngramError.of(error)) ? keep(model, before, unknownKeptMs) : before;",
    by: "return before;",
    tests: [abilities],
  },
  {
    name: "ollama: a question about a model goes on when nobody waits for its answer",
    file: "src/llm/ollama/abilities.ts",
    text: "        question.stop.abort(unwanted);\n",
    by: "",
    tests: [abilities, silence],
  },
  {
    name: "ollama: the first who no longer waits takes the answer from the others",
    file: "src/llm/ollama/abilities.ts",
    text: "if (--question.askers === 0) {",
    by: "if (--question.askers >= 0) {",
    tests: [abilities],
  },
  {
    name: "ollama: what is known of a model is never asked again",
    file: "src/llm/ollama/abilities.ts",
    text: "before !== undefined && clock.monotonicMs() < before.untilMs",
    by: "before !== undefined",
    tests: [abilities],
  },
  {
    name: "ollama: a list of models that does not come holds an answer up",
    file: "src/llm/ollama/ollama.ts",
    text: "Math.min(settings.timeoutMs, modelServerLimits.abilitiesTimeoutMs)",
    by: "settings.timeoutMs",
    tests: [calls],
  },
  {
    name: "ollama: a packed answer is taken for another server's",
    file: "src/llm/ollama/exchange.ts",
    text: 'if (packed !== "" && packed !== "identity")',
    by: 'if (packed === "never")',
    tests: [faults],
  },
  {
    name: "ollama: a tool's input without end holds the event loop",
    file: "src/llm/ollama/wire.ts",
    text: "if (isTooDeep(input, modelServerLimits.inputLevelsMax))",
    by: "if (isTooDeep(input, 1e9))",
    tests: [faults],
  },
  {
    name: "an answer of about the length that ends a turn is gone on with, for ever",
    file: "src/engine/call-model.ts",
    text: "  if (chars > turnLimits.continuedCharsMax) return false;\n",
    by: "",
    tests: ["test/engine/runaway.test.ts", silence],
  },
  {
    name: "a summary without end is read on and on",
    file: "src/engine/summarize.ts",
    text: "if (chars > turnLimits.replyBytesMax) break;",
    by: "",
    tests: ["test/engine/runaway.test.ts"],
  },
  {
    name: "an answer that is too much for the model is gone on with, for ever",
    file: "src/engine/call-model.ts",
    text: 'error.code === "context_overflow")',
    by: "error.message === error.code)",
    tests: ["test/engine/runaway.test.ts"],
  },
];
