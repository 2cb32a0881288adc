import fc from "fast-check";
import { accept, type Command } from "../../src/agent/accept.ts";
import { decide } from "../../src/agent/decide.ts";
import type { Event, LoggedEvent, ModelCall, TurnErrorCode } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { type Marks, marksOf } from "../../src/agent/mark.ts";
import { buildPrompt, type PromptMessage } from "../../src/agent/prompt.ts";
import { judged } from "./judged.ts";
import { type ModelReply, replyEvents } from "../../src/agent/reply.ts";
import { abilitiesUnknown } from "../../src/agent/request.ts";
import type { AgentState } from "../../src/agent/state.ts";
import { statusOf } from "../../src/agent/state.ts";
import { EngramError } from "../../src/errors.ts";
import { born, outcome, startMs } from "./events.ts";

/** A model call whose outcome is in the log. */
export type PlayedCall = {
  readonly call: ModelCall;
  readonly loggedAt: number;
  /** What it was sent when it began. */
  readonly messages: readonly PromptMessage[];
  /** What it would be sent by an engine that took it up just before its outcome. */
  readonly messagesLate: readonly PromptMessage[];
};

/** A life of an agent as clients, a model and tools could have made it. */
export type History = {
  readonly log: readonly LoggedEvent[];
  readonly calls: readonly PlayedCall[];
};

/** How often each move is made, in proportion: a life that is cut short shows little. */
const weights = {
  step: 30,
  say: 4,
  confirm: 4,
  resume: 4,
  retry: 3,
  edit: 2,
  pause: 2,
  fault: 3,
  abandon: 2,
  observe: 1,
  fork: 1,
  cancel: 1,
} as const;

type Move = {
  readonly kind: keyof typeof weights;
  readonly text: string;
  readonly n: number;
  readonly gapMs: number;
};

const anyMove: fc.Arbitrary<Move> = fc.record({
  kind: fc.oneof(
    ...Object.entries(weights).map(([kind, weight]) => ({
      arbitrary: fc.constant(kind as keyof typeof weights),
      weight,
    })),
  ),
  text: fc.string({ maxLength: 6 }),
  n: fc.nat({ max: 999 }),
  // A wall clock may be set back.
  gapMs: fc.integer({ min: -100, max: 3000 }),
});

/** One that takes tools as such, and one that calls them in its text; an edit changes between them. */
const models = ["native", "in text"] as const;

/** Histories of 12 to 60 moves; shrinking leaves moves out. */
export const anyHistory: fc.Arbitrary<History> = fc
  .tuple(
    fc.record({
      waitForInput: fc.boolean(),
      stepsMax: fc.constantFrom(0, 0, 3),
      durationMsMax: fc.constantFrom(0, 0, 20_000),
      totalTokensMax: fc.constantFrom(0, 0, 60),
    }),
    fc.constantFrom(...models),
    fc.array(anyMove, { minLength: 12, maxLength: 60, size: "max" }),
  )
  .map(([config, model, played]) => play(born(config, { model }), played));

type Flight = { readonly call: ModelCall; readonly messages: readonly PromptMessage[] };

function play(first: Event, played: readonly Move[]): History {
  let log: LoggedEvent[] = [{ sequence: 1, atMs: startMs, event: first }];
  let state = fold(log);
  let nowMs = startMs;
  let calls: PlayedCall[] = [];
  let flight = null as Flight | null;

  const append = (events: readonly Event[]): void => {
    const more = events.map((event, index) => ({
      sequence: state.sequence + index + 1,
      atMs: nowMs,
      event,
    }));
    log.push(...more);
    state = fold(more, state);
    if (state.lifecycle === "canceled" || state.lifecycle === "failed") flight = null;
  };
  const land = ({ call, messages }: Flight, events: readonly Event[]): void => {
    const messagesLate = buildPrompt(state, call);
    calls.push({ call, messages, messagesLate, loggedAt: state.sequence + 1 });
    flight = null;
    append(events);
  };
  const command = (move: Move): void => {
    const facts = log.map(({ event }) => event);
    const marks = new Map(marksOf(facts, 0).map((mark) => [mark.key, mark]));
    append(accepted(state, commandOf(state, move), marks));
  };
  const step = (move: Move): void => {
    const action = decide(state, { nowMs, workedMs: 0 });
    if (action.type === "Rest") command(wakingMove(state, move));
    if (action.type === "Wait") nowMs += action.forMs;
    if (action.type === "FailTurn") append([turnFailedBy(action)]);
    if (action.type === "Condense")
      append([{ type: "ContextCondensed", items: action.items, summary: move.text, usage }]);
    if (action.type === "RunTools") append([toolReturned(action.calls, move)]);
    if (action.type !== "CallModel") return;
    if (flight !== null) {
      const reply = replyOf(move);
      land(
        flight,
        replyEvents(reply, flight.call, state.sequence, judged(reply.toolCalls, asksIn(move))),
      );
      return;
    }
    const tools = move.n % 3 === 0 ? [{ name: "echo", description: "", parameters: {} }] : null;
    const abilities = { ...abilitiesUnknown, tools: state.spec.model === "native" };
    const call = { afterSequence: state.sequence, nowMs, tools, continuedLength: 0, abilities };
    flight = { call, messages: buildPrompt(state, call) };
  };
  const fork = (move: Move): void => {
    const cut = 1 + (move.n % log.length);
    const parent = { agentId: "parent", sequence: cut };
    log = log.slice(0, cut);
    calls = calls.filter(({ loggedAt }) => loggedAt <= cut);
    flight = null;
    state = fold(log);
    append([{ type: "AgentForked", parent, metadata: {} }]);
  };

  for (const move of played) {
    nowMs = Math.max(startMs, nowMs + move.gapMs);
    const working = statusOf(state) === "waiting_for_step";
    if (move.kind === "step") step(move);
    else if (move.kind === "fork") fork(move);
    else if (move.kind === "observe") append([{ type: "Observed", content: move.text }]);
    else if (move.kind === "fault" || move.kind === "abandon") {
      if (flight !== null && working) land(flight, [faultOf(move, flight, nowMs)]);
    } else command(move);
  }
  return { log, calls };
}

const usage = { promptTokens: 3, completionTokens: 2 };

/** What a client does for an agent that rests, so that lives go on. */
function wakingMove(state: AgentState, move: Move): Move {
  const kinds = {
    paused: "resume",
    failed: "retry",
    waiting_for_confirmation: "confirm",
  } as const;
  const status = statusOf(state);
  const kind = status in kinds ? kinds[status as keyof typeof kinds] : "say";
  return { ...move, kind };
}

const turnFailedBy = ({ code, message }: { code: TurnErrorCode; message: string }): Event => ({
  type: "TurnFailed",
  code,
  message,
});

const toolReturned = (calls: readonly { readonly callId: string }[], { n, text }: Move): Event => ({
  type: "ToolReturned",
  callId: calls[n % calls.length]!.callId,
  ...outcome,
  output: text,
  error: n % 4 === 0 ? { code: "TOOL_TRAPPED", message: text } : null,
});

function faultOf({ kind, text, n }: Move, { call }: Flight, nowMs: number): Event {
  if (kind === "abandon") return { type: "AnswerAbandoned", call, reason: text };
  return { type: "ModelFailed", call, code: "MODEL_ERROR", message: text, retryAtMs: nowMs + n };
}

const asksIn =
  ({ n }: Move) =>
  (): boolean =>
    n % 2 === 0;

function replyOf({ n, text }: Move): ModelReply {
  const tool = { name: "echo", inputJson: n % 5 === 0 ? "{broken" : `{"n":${n}}` };
  const final = { name: "final_answer", inputJson: '{"content":"done"}' };
  const wrongFinal = { name: "final_answer", inputJson: "{}" };
  const same = { name: "echo", inputJson: '{"again":true}' };
  const shapes: readonly Pick<ModelReply, "thinking" | "text" | "toolCalls">[] = [
    { thinking: "", text: `text ${text}`, toolCalls: [] },
    { thinking: "hm", text: "", toolCalls: [tool] },
    { thinking: "", text: "so", toolCalls: [tool, tool] },
    { thinking: "hm", text, toolCalls: [final] },
    { thinking: "hm", text: "", toolCalls: [] },
    { thinking: "", text: "", toolCalls: [tool, tool, tool] },
    { thinking: "", text: "", toolCalls: [same, tool] },
    { thinking: "", text: "", toolCalls: [same] },
    { thinking: "", text: "", toolCalls: [wrongFinal, same] },
  ];
  return { ...shapes[n % shapes.length]!, usage: { promptTokens: n % 7, completionTokens: n % 5 } };
}

function commandOf(state: AgentState, { kind, text, n }: Move): Command {
  const key = n % 3 === 0 ? { messageId: `m${n % 10}`, digest: kind } : null;
  switch (kind) {
    case "say":
      return { type: "Say", key, content: `said ${text}`, attachments: [] };
    case "pause":
      return { type: "Pause", key, reason: text };
    case "resume":
      return { type: "Resume", key };
    case "cancel":
      return { type: "Cancel", key };
    case "retry":
      return { type: "Retry", key };
    case "confirm": {
      const waiting = state.pendingCalls.find((call) => call.awaitsConfirmation);
      const callId = waiting?.callId ?? `call_${n % 9}`;
      return { type: "Confirm", key, callId, approve: n % 4 !== 0, reason: text };
    }
    default: {
      const model = models[n % models.length]!;
      const change: (typeof state)["spec"] = { ...state.spec, systemPrompt: text, model };
      return { type: "Edit", key, change: () => change, description: n % 2 === 0 ? text : "" };
    }
  }
}

/** A refusal changes nothing; anything else that is thrown is a bug. */
function accepted(state: AgentState, command: Command, marks: Marks): readonly Event[] {
  try {
    return accept(state, command, marks).events;
  } catch (error) {
    if (error instanceof EngramError) return [];
    throw error;
  }
}
