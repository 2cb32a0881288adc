import { describe, expect, test } from "bun:test";
import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  ScalarType,
} from "@bufbuild/protobuf";
import { hasParts, misfitIn } from "../../src/api/misfit.ts";
import {
  AgentService,
  ClientMessageSchema,
  CreateAgentRequestSchema,
} from "../../src/gen/engram/api/v1/agent_pb.ts";

const misfit = (
  message: DescMessage,
  value: JsonValue,
  { path = "", ignoresUnknown = true } = {},
): string | null => misfitIn(message, value, { path, ignoresUnknown });

const takes = (message: DescMessage, value: JsonValue): boolean => {
  try {
    fromJson(message, value, { ignoreUnknownFields: true });
    return true;
  } catch {
    return false;
  }
};

const object: readonly JsonValue[] = ["a", 1, true, []];
const texts: readonly JsonValue[] = [1, false, {}, [], "\ud800"];
const notByType: Readonly<Record<string, readonly JsonValue[]>> = {
  "google.protobuf.Duration": [
    "90",
    90,
    "1 s",
    "1sec",
    "1.0123456789s",
    "1h",
    "400000000000s",
    {},
    true,
  ],
  "google.protobuf.Timestamp": ["2026-01-31", 0, "2026-13-31T12:00:00Z", "10000-01-01T00:00:00Z"],
  "google.protobuf.Struct": object,
};
const notByScalar: ReadonlyMap<ScalarType, readonly JsonValue[]> = new Map([
  [ScalarType.STRING, texts],
  [ScalarType.BYTES, ["!!!", 1, {}, false]],
  [ScalarType.BOOL, ["true", 1, {}, []]],
  [ScalarType.FLOAT, ["x", "", 1e39, {}, true]],
  [ScalarType.INT32, ["x", "", 1.5, 2 ** 31, -(2 ** 31) - 1, "3000000000", {}, true]],
  [ScalarType.INT64, ["x", "", "1.5", `1${"0".repeat(19)}`, 1.5, {}, true]],
]);

const notOf = ({ message, scalar }: DescField): readonly JsonValue[] => {
  if (message === undefined) return notByScalar.get(scalar ?? ScalarType.UINT32) ?? [];
  return hasParts(message) ? object : (notByType[message.typeName] ?? []);
};

/** A message in which one field is wrong, and where. */
type Wrong = readonly [at: string, value: JsonObject];

/** Each field of a message, at every depth, with each value that it does not take. */
function* wrongIn(message: DescMessage): Generator<Wrong> {
  for (const field of message.fields) {
    const { name, jsonName } = field;
    if (field.fieldKind === "list" || field.fieldKind === "map") yield [name, { [jsonName]: "x" }];
    const [at, stands] =
      field.fieldKind === "list"
        ? [`${name}[0]`, (value: JsonValue): JsonValue => [value]]
        : field.fieldKind === "map"
          ? [`${name}.key`, (value: JsonValue): JsonValue => ({ key: value })]
          : [name, (value: JsonValue): JsonValue => value];
    if (at !== name) yield [at, { [name]: stands(null) }];
    for (const value of notOf(field)) yield [at, { [jsonName]: stands(value) }];
    if (field.message !== undefined && hasParts(field.message))
      for (const [under, value] of wrongIn(field.message))
        yield [`${at}.${under}`, { [name]: stands(value) }];
  }
}

describe.each(AgentService.methods.map(({ name, input }) => [name, input] as const))(
  "a request of %s",
  (_name, input) => {
    const wrong = [...wrongIn(input)];
    test("has a wrong value tried for each of its fields", () => {
      const tried = new Set(wrong.map(([at]) => at.split(/[.[]/, 1)[0]));
      expect([...tried]).toEqual(input.fields.map(({ name }) => name));
    });
    test("is refused by the name of the field that is wrong", () => {
      for (const [at, value] of wrong) {
        expect([at, value, takes(input, value)]).toEqual([at, value, false]);
        const said = misfit(input, value);
        expect([at, value, said?.startsWith(`${at} is `)]).toEqual([at, value, true]);
      }
    });
  },
);

test.each<[string, DescMessage, JsonValue, string]>([
  ["a list", CreateAgentRequestSchema, [], "the message is a list; it takes an object"],
  [
    "a long text",
    CreateAgentRequestSchema,
    { config: { maxSteps: "9".repeat(100) } },
    `config.max_steps is "${"9".repeat(60)}" and so on; it takes a whole number of 32 bits`,
  ],
  [
    "a later item",
    CreateAgentRequestSchema,
    { goal: "g", tools: [{ name: "a" }, { name: 7 }] },
    "tools[1].name is 7; it takes a text in Unicode",
  ],
  [
    "a Duration",
    CreateAgentRequestSchema,
    { config: { maxDuration: "90" } },
    'config.max_duration is "90"; it takes a duration in seconds, such as "1.5s"',
  ],
  [
    "both spellings",
    CreateAgentRequestSchema,
    { systemPrompt: "a", system_prompt: "b" },
    "system_prompt is there in two spellings: send one of them",
  ],
  [
    "two of a oneof",
    ClientMessageSchema,
    { userInput: { content: "a" }, pause: {} },
    "pause is there beside user_input: send one of them",
  ],
  [
    "one of a oneof and null",
    ClientMessageSchema,
    { pause: null, userInput: { content: "a" } },
    "user_input is there beside pause: send one of them",
  ],
])("%s is refused in words", (_what, message, value, words) => {
  expect(takes(message, value)).toBe(false);
  expect(misfit(message, value)).toBe(words);
});

test("what is nested too deep is named", () => {
  let deep: JsonValue = 1;
  for (let level = 0; level < 101; level += 1) deep = [deep];
  const value = { edit: { patch: { deep } } };
  expect(takes(ClientMessageSchema, value)).toBe(false);
  expect(misfit(ClientMessageSchema, value)).toStartWith("edit.patch does not fit: ");
});

test("a message that its parser takes has no misfit", () => {
  const value = {
    goal: "g",
    model: null,
    metadata: { ["__proto__"]: "a key like others" },
    config: { maxDuration: "1.5s", temperature: "NaN", maxTotalTokens: 7, inventedLater: 1 },
    inventedLater: { deep: [1] },
  };
  expect(takes(CreateAgentRequestSchema, value)).toBe(true);
  expect(misfit(CreateAgentRequestSchema, value)).toBeNull();
});

test("a field that nobody knows is named where it is not passed over", () => {
  const reading = { path: "edit.patch", ignoresUnknown: false };
  expect(misfit(CreateAgentRequestSchema, { config: { maxStep: 1 } }, reading)).toBe(
    "edit.patch.config.maxStep is no field of the message",
  );
});
