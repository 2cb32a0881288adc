import { create, fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Event, EventType } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import { specOf } from "../../src/api/spec.ts";
import { agentOf, isOutput, serverMessageOf, specFields, toolInfoOf } from "../../src/api/wire.ts";
import {
  AgentSchema,
  CreateAgentRequestSchema,
  ServerMessageSchema,
  ToolInfoSchema,
} from "../../src/gen/engram/api/v1/agent_pb.ts";
import type { AgentRow } from "../../src/agent/row.ts";
import { anyEventOf, anySpec, anyText, born, logged, spoke } from "../support/events.ts";
import { makePlayedSandbox } from "../support/played-sandbox.ts";
import { seeded } from "../support/seed.ts";

/** What each event is shown as: with the engine's notes asked for, and without. */
const shown: Readonly<Record<EventType, readonly [string, string]>> = {
  AgentCreated: ["status", "status"],
  AgentForked: ["status", "status"],
  AgentPaused: ["status", "status"],
  AgentResumed: ["status", "status"],
  AgentCanceled: ["status", "status"],
  AgentRetried: ["status", "status"],
  AgentEdited: ["status", "status"],
  ToolConfirmed: ["status", "status"],
  MessageReceived: ["status", "status"],
  ModelThought: ["thought", "thought"],
  ModelSpoke: ["text", "text"],
  ToolRequested: ["toolCall", "toolCall"],
  FinalAnswered: ["finalAnswer", "finalAnswer"],
  ToolReturned: ["toolResult", "toolResult"],
  TurnFailed: ["error", "error"],
  ModelFailed: ["observation", "status"],
  AnswerAbandoned: ["observation", "status"],
  Observed: ["observation", "status"],
  ContextCondensed: ["observation", "status"],
};

const types = Object.keys(shown) as EventType[];

const roundTrip = (event: Event, observed = true) => {
  const message = serverMessageOf("a", { sequence: 7, atMs: 1_234, event }, observed);
  const read = fromBinary(ServerMessageSchema, toBinary(ServerMessageSchema, message));
  toJson(ServerMessageSchema, message);
  return { message, read };
};

describe("an event as a message", () => {
  test.each(types)("%s is one message with its sequence and time", (type) => {
    fc.assert(
      fc.property(anyEventOf[type], (event) => {
        const { message, read } = roundTrip(event);
        expect(read).toEqual(message);
        expect([read.agentId, read.sequenceId, read.timestamp?.nanos]).toEqual(["a", 7n, 234e6]);
        expect<string | undefined>(read.payload.case).toBe(shown[type][0]);
        expect<string | undefined>(roundTrip(event, false).read.payload.case).toBe(shown[type][1]);
        expect(isOutput(event, true)).toBe(shown[type][0] !== "status");
        expect(isOutput(event, false)).toBe(shown[type][1] !== "status");
      }),
      seeded(20),
    );
  });

  test("a user's input is shown with its content", () => {
    const [said] = fc.sample(anyEventOf.MessageReceived, { numRuns: 1, seed: 1 });
    const event = { ...said, content: "hello" } as Event;
    expect(roundTrip(event).read.payload.value).toMatchObject({
      status: "user_input",
      message: "hello",
    });
  });

  test("half a character, as a model may write it, does not break the wire", () => {
    const { read } = roundTrip(spoke("a\ud83d", 1));
    expect(read.payload.value).toMatchObject({ content: "a\ufffd" });
  });
});

const rowOf = (stats: Partial<AgentRow["stats"]> = {}): AgentRow => {
  const state = fold(logged([born()]));
  return { ...state, agentId: "a", status: "paused", stats: { ...state.stats, ...stats } };
};

describe("an agent as a message", () => {
  test("has its numbers, however large they have grown", () => {
    const agent = agentOf(rowOf({ promptTokens: 2 ** 40, completionTokens: 1, fuelUsed: 2 ** 50 }));
    const read = fromBinary(AgentSchema, toBinary(AgentSchema, agent));
    expect(read.stats).toMatchObject({
      tokensUsed: 2 ** 31 - 1,
      promptTokens: BigInt(2 ** 40),
      completionTokens: 1n,
      fuelUsed: BigInt(2 ** 50),
    });
  });
  test("has the largest numbers that can be sent, where they have grown beyond", () => {
    const beyond = 2 ** 70;
    const stats = { promptTokens: beyond, completionTokens: beyond, fuelUsed: beyond };
    const agent = agentOf(rowOf({ ...stats, workedMs: beyond }));
    const longest = "315576000000s";
    expect(toJson(AgentSchema, agent)).toMatchObject({ stats: { totalDuration: longest } });
    const read = fromBinary(AgentSchema, toBinary(AgentSchema, agent));
    const most = BigInt(Number.MAX_SAFE_INTEGER);
    expect(read.stats).toMatchObject({
      promptTokens: most,
      completionTokens: most,
      fuelUsed: most,
    });
  });
  test("names no parent where it has none", () => {
    expect(agentOf(rowOf())).toMatchObject({ parentAgentId: "", forkedAtSequence: 0n });
  });
});

test("a spec survives the way out and in again", () => {
  const int32 = fc.nat({ max: 2 ** 31 - 1 });
  const wireSpec = fc.tuple(anySpec, int32, int32, anyText).map(([spec, steps, tokens]) => ({
    ...spec,
    config: {
      ...spec.config,
      stepsMax: steps,
      contextTokensMax: tokens,
    },
  }));
  fc.assert(
    fc.property(wireSpec, (spec) => {
      const message = create(CreateAgentRequestSchema, specFields(spec));
      const bytes = toBinary(CreateAgentRequestSchema, message);
      expect(specOf(fromBinary(CreateAgentRequestSchema, bytes))).toEqual(spec);
    }),
    seeded(100),
  );
});

test("a tool of the folder is shown with its limits", async () => {
  const [file] = await makePlayedSandbox().list();
  const read = fromBinary(ToolInfoSchema, toBinary(ToolInfoSchema, toolInfoOf(file!)));
  expect(read).toMatchObject({
    tool: { name: "echo", requiresConfirmation: false },
    sha256: "00",
    limits: { fuel: 1n, memoryBytes: 1n, maxOutputBytes: 1n },
    error: "",
  });
});
