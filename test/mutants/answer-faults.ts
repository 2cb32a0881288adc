import type { Fault } from "./fault.ts";

const answers = "test/engine/answers.test.ts";
const answer = "test/agent/answer.test.ts";
const repeats = "test/engine/repeats.test.ts";
const limits = "test/engine/limits.test.ts";
const check = "test/sandbox/check.test.ts";

/** Where a promise of final answers, or an end of what a model does again and again, hangs on one line. */
export const answering: readonly Fault[] = [
  {
    name: "answers: one that does not satisfy the schema is taken",
    file: "src/engine/judge.ts",
    text: "return fault === null ? read : { answer: null, fault };",
    by: "return fault === null ? read : read;",
    tests: [answers],
  },
  {
    name: "answers: one is held against a schema that was edited since",
    file: "src/engine/call-model.ts",
    text: "await judge(step.state.spec);",
    by: "await judge(spec);",
    tests: [answers],
  },
  {
    name: "answers: one is checked anew for as long as clients write",
    file: "src/engine/judge.ts",
    text: "if (last?.spec === spec) return last.judged;",
    by: "",
    tests: [answers],
  },
  {
    name: "answers: one without data is taken where a schema asks for some",
    file: "src/agent/answer.ts",
    text: "if (structured === null && isNeeded) return wrong(shape);",
    by: "",
    tests: [answer, answers],
  },
  {
    name: "answers: one is taken that no client can be sent",
    file: "src/agent/answer.ts",
    text: "bytes + values * answerLimits.bytesPerValue <= answerBytesMax",
    by: "bytes <= answerBytesMax",
    tests: [answer],
  },
  {
    name: "answers: a reference of the schema leads elsewhere in the tool's own",
    file: "src/agent/answer.ts",
    text: "`#/properties/structured${value.slice(1)}`",
    by: "value",
    tests: [answer],
  },
  {
    name: "answers: one in a format is gone on with",
    file: "src/engine/call-model.ts",
    text: "if (formatOf(spec) !== null || ",
    by: "if (",
    tests: [answers],
  },
  {
    name: "answers: a text that was refused is shown as a call",
    file: "src/agent/fold-reply.ts",
    text: "formatOf(draft.spec) !== null &&",
    by: "false &&",
    tests: [answers],
  },
  {
    name: "answers: wrong ones end no turn",
    file: "src/agent/decide.ts",
    text: "if (times > answerLimits.toldMax)",
    by: "if (times > 30)",
    tests: [answers, limits],
  },
  {
    name: "answers: two wrong ones of a reply count twice",
    file: "src/agent/repeats.ts",
    text: "refused.step === step ? refused.times : refused.times + 1",
    by: "refused.times + 1",
    tests: [answers],
  },
  {
    name: "answers: a check has no end",
    file: "src/sandbox/check.ts",
    text: "runMs: answerLimits.checkMs,",
    by: "runMs: 100 * answerLimits.checkMs,",
    tests: [check],
  },
  {
    name: "repeats: a call is made for ever",
    file: "src/agent/repeats.ts",
    text: "timesAsked(state, call) > answerLimits.sameCallsMax;",
    by: "timesAsked(state, call) > 30;",
    tests: [repeats, limits],
  },
  {
    name: "repeats: the order of the keys makes another call",
    file: "src/agent/repeats.ts",
    text: "asWritten : orderedJson(input);",
    by: "asWritten : JSON.stringify(input);",
    tests: [repeats],
  },
  {
    name: "repeats: calls count that are not in a row",
    file: "src/agent/repeats.ts",
    text: "asked.filter((call) => call.step >= step - 1);",
    by: "asked;",
    tests: [repeats],
  },
  {
    name: "repeats: several in one reply count as several",
    file: "src/agent/repeats.ts",
    text: 'if (digest === "" || known?.step === step) return recent;',
    by: 'if (digest === "") return recent;',
    tests: [repeats],
  },
  {
    name: "repeats: the model is not told",
    file: "src/agent/fold-reply.ts",
    text: "const noted = content + noteOnRepeat(draft, call);",
    by: "const noted = content;",
    tests: [repeats],
  },
  {
    name: "repeats: a client is asked to confirm what is not run",
    file: "src/agent/state.ts",
    text: "!call.awaitsConfirmation || isAskedTooOften(state, call)",
    by: "!call.awaitsConfirmation",
    tests: [repeats],
  },
  {
    name: "repeats: a retry comes no further",
    file: "src/agent/fold.ts",
    text: "draft.turn = { ...draft.turn, attempts: 0, retryAtMs: 0, ...nothingRepeated };",
    by: "draft.turn = { ...draft.turn, attempts: 0, retryAtMs: 0 };",
    tests: [repeats, answers, limits],
  },
  {
    name: "repeats: input does not begin to count anew",
    file: "src/agent/fold.ts",
    text: "hasNothingToDo(draft) ? newTurn : { ...draft.turn, ...nothingRepeated };",
    by: "hasNothingToDo(draft) ? newTurn : draft.turn;",
    tests: [repeats, answers],
  },
];
