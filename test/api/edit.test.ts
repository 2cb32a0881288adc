import { describe, expect, test } from "bun:test";
import type { JsonObject } from "@bufbuild/protobuf";
import type { AgentSpec } from "../../src/agent/event.ts";
import { patched } from "../../src/api/edit.ts";
import { requestLimits } from "../../src/limits.ts";
import { nested, plainConfig, plainSpec } from "../support/events.ts";

const spec: AgentSpec = {
  ...plainSpec,
  goal: "count",
  systemPrompt: "be brief",
  metadata: { owner: "ann", system_prompt: "a key of the client's" },
  config: {
    ...plainConfig,
    stepsMax: 5,
    durationMsMax: 90_000,
    temperature: 0.5,
    totalTokensMax: 1000,
    responseSchema: { type: "object", required: ["n"] },
    toolLimits: { fuel: 7, memoryBytes: 8, timeoutMs: 1_500, outputBytesMax: 9 },
  },
  tools: [
    { name: "echo", description: "", parameters: { type: "object" }, requiresConfirmation: true },
  ],
};

const refusal = (patch: JsonObject): string => {
  try {
    patched(spec, patch);
  } catch (error) {
    expect(error).toMatchObject({ code: "invalid_argument" });
    return (error as Error).message;
  }
  throw new Error("the patch was taken");
};

const config = (over: Partial<AgentSpec["config"]>): AgentSpec => ({
  ...spec,
  config: { ...spec.config, ...over },
});

describe("a merge patch", () => {
  test("that is empty changes nothing", () => {
    expect(patched(spec, {})).toEqual(spec);
  });
  test.each<[string, JsonObject, AgentSpec]>([
    ["replaces", { goal: "sum", model: "m" }, { ...spec, goal: "sum", model: "m" }],
    ["takes the proto's names", { system_prompt: "x" }, { ...spec, systemPrompt: "x" }],
    ["takes the JSON names", { systemPrompt: "x" }, { ...spec, systemPrompt: "x" }],
    ["removes with null", { systemPrompt: null }, { ...spec, systemPrompt: "" }],
    [
      "merges metadata, whose keys are the client's own",
      { metadata: { owner: null, system_prompt: "mine", maxSteps: "3" } },
      { ...spec, metadata: { system_prompt: "mine", maxSteps: "3" } },
    ],
    ["merges config", { config: { max_steps: 9 } }, config({ stepsMax: 9 })],
    [
      "sets single settings back",
      { config: { maxSteps: null, temperature: null } },
      config({ stepsMax: 0, temperature: null }),
    ],
    ["sets all settings back", { config: null }, { ...spec, config: plainConfig }],
    [
      "takes 64-bit numbers as text",
      { config: { maxTotalTokens: "77" } },
      config({ totalTokensMax: 77 }),
    ],
    ["and as numbers", { config: { max_total_tokens: 78 } }, config({ totalTokensMax: 78 })],
    ["takes durations", { config: { max_duration: "2.5s" } }, config({ durationMsMax: 2_500 })],
    [
      "reaches the tools' limits",
      { config: { tool_limits: { max_output_bytes: "10", fuel: null } } },
      config({ toolLimits: { ...spec.config.toolLimits, outputBytesMax: 10, fuel: 0 } }),
    ],
    [
      "merges into the client's schema without renaming",
      { config: { response_schema: { max_steps: 1, required: null } } },
      config({ responseSchema: { type: "object", max_steps: 1 } }),
    ],
    [
      "replaces the tools as a whole",
      {
        tools: [{ name: "add", parameters_schema: { some_name: {} }, requires_confirmation: true }],
      },
      {
        ...spec,
        tools: [
          {
            name: "add",
            description: "",
            parameters: { some_name: {} },
            requiresConfirmation: true,
          },
        ],
      },
    ],
  ])("%s", (_what, patch, expected) => {
    expect(patched(spec, patch)).toEqual(expected);
  });
  test.each<[string, JsonObject, string]>([
    ["an unknown field", { gaol: "x" }, "gaol"],
    ["what is not to be edited", { request_id: "x" }, "request_id"],
    ["an unknown setting", { config: { maxStep: 1 } }, "maxStep"],
    ["another type", { goal: 7 }, "edit.patch.goal "],
    ["a number that is none", { config: { maxSteps: "many" } }, "edit.patch.config.max_steps "],
    ["no duration", { config: { max_duration: "abc" } }, "edit.patch.config.max_duration "],
    ["no limits", { config: { tool_limits: [] } }, "edit.patch.config.tool_limits "],
    [
      "no time of a tool",
      { config: { tool_limits: { timeout: 7 } } },
      "edit.patch.config.tool_limits.timeout ",
    ],
    ["a schema that is none", { config: { response_schema: 7 } }, "config.response_schema "],
    ["metadata of another type", { metadata: { a: 7 } }, "edit.patch.metadata.a "],
    ["tools that are no list", { tools: { name: "a" } }, "edit.patch.tools "],
    [
      "a tool of another type",
      { tools: [{ name: "a" }, { name: "b", requires_confirmation: "yes" }] },
      "edit.patch.tools[1].requires_confirmation ",
    ],
    ["a missing goal", { goal: null }, "goal"],
    ["a blank model", { model: " " }, "model"],
    ["a number past its bounds", { config: { max_steps: -1 } }, "config.max_steps"],
    ["tools for an agent without", { config: { no_tools: true } }, "tools"],
    ["settings that are no object", { config: 7 }, "edit.patch.config "],
    ["a prototype", JSON.parse('{"__proto__": {"goal": "x"}}'), "__proto__"],
  ])("refuses %s", (_what, patch, named) => {
    expect(refusal(patch)).toContain(named);
  });
});

describe("a json_patch", () => {
  const operations = (...list: JsonObject[]): JsonObject => ({ json_patch: list });
  const toolFields = { name: "echo", description: "", parameters_schema: { type: "object" } };

  test.each<[string, JsonObject, AgentSpec]>([
    [
      "replaces by the proto's names",
      operations({ op: "replace", path: "/config/tool_limits/max_output_bytes", value: "3" }),
      config({ toolLimits: { ...spec.config.toolLimits, outputBytesMax: 3 } }),
    ],
    [
      "adds to the end of a list",
      operations({ op: "add", path: "/tools/-", value: { name: "add" } }),
      {
        ...spec,
        tools: [
          ...spec.tools,
          { name: "add", description: "", parameters: null, requiresConfirmation: false },
        ],
      },
    ],
    [
      "reaches into a list",
      operations({ op: "replace", path: "/tools/0/requires_confirmation", value: false }),
      { ...spec, tools: [{ ...spec.tools[0]!, requiresConfirmation: false }] },
    ],
    [
      "leaves the client's keys alone",
      operations({ op: "remove", path: "/metadata/system_prompt" }),
      { ...spec, metadata: { owner: "ann" } },
    ],
    [
      "tests, moves and copies",
      operations(
        { op: "test", path: "/metadata/owner", value: "ann" },
        { op: "copy", from: "/goal", path: "/system_prompt" },
        { op: "move", from: "/metadata/owner", path: "/metadata/by" },
      ),
      {
        ...spec,
        systemPrompt: "count",
        metadata: { system_prompt: "a key of the client's", by: "ann" },
      },
    ],
    [
      "takes the whole away and puts it back",
      operations(
        { op: "test", path: "/tools/0", value: { ...toolFields, requires_confirmation: true } },
        { op: "replace", path: "", value: { goal: "sum", model: "m" } },
        { op: "add", path: "/system_prompt", value: "x" },
      ),
      { ...plainSpec, goal: "sum", model: "m", systemPrompt: "x", config: plainConfig, tools: [] },
    ],
    [
      "knows a slash and a tilde in a name",
      operations(
        { op: "add", path: "/metadata/a~1b~0~01", value: "x" },
        { op: "test", path: "/metadata/a~1b~0~01", value: "x" },
      ),
      { ...spec, metadata: { ...spec.metadata, "a/b~~1": "x" } },
    ],
  ])("%s", (_what, patch, expected) => {
    expect(patched(spec, patch)).toEqual(expected);
  });
  test.each<[string, JsonObject, string]>([
    [
      "a test that fails",
      operations({ op: "test", path: "/goal", value: "x" }),
      "json_patch[0] does not hold",
    ],
    [
      "a path that leads nowhere",
      operations({ op: "remove", path: "/nowhere" }),
      "json_patch[0].path",
    ],
    ["a pointer without a slash", operations({ op: "remove", path: "goal" }), "[0].path does not"],
    ["one to take from", operations({ op: "copy", from: "goal", path: "/model" }), "[0].from does"],
    ["an escape that is none", operations({ op: "remove", path: "/metadata/a~2" }), "[0].path has"],
    ["half an escape", operations({ op: "remove", path: "/metadata/a~" }), "[0].path has"],
    ["a value that is nowhere", operations({ op: "move", from: "/x", path: "/goal" }), "[0].from"],
    ["a place in a text", operations({ op: "add", path: "/goal/0", value: "x" }), "[0].path"],
    [
      "a place in a number",
      operations({ op: "add", path: "/config/maxSteps/x", value: 1 }),
      "path",
    ],
    ["a place past a list", operations({ op: "add", path: "/tools/2", value: {} }), "[0].path"],
    ["an index that is none", operations({ op: "replace", path: "/tools/00", value: {} }), "path"],
    ["what lists have in JavaScript", operations({ op: "remove", path: "/tools/length" }), "path"],
    ["a move into itself", operations({ op: "move", from: "/tools", path: "/tools/0" }), "path"],
    ["to remove the whole", operations({ op: "remove", path: "" }), "must leave an object"],
    [
      "fields beside it",
      { json_patch: [{ op: "replace", path: "/goal", value: "sum" }], model: "m" },
      "beside json_patch",
    ],
    ["another operation", operations({ op: "smash", path: "/goal" }), "json_patch[0]"],
    ["an operation without a value", operations({ op: "add", path: "/goal" }), "json_patch[0]"],
    ["what is no list", { json_patch: { op: "remove" } }, "json_patch"],
    ["what is no operation", { json_patch: ["remove"] }, "json_patch[0]"],
    ["an unknown field", operations({ op: "add", path: "/gaol", value: 1 }), "gaol"],
    [
      "the whole by something else",
      operations({ op: "replace", path: "", value: 7 }),
      "edit.patch",
    ],
    [
      "too many operations",
      operations(
        ...Array.from({ length: requestLimits.patchOperationsMax + 1 }, () => ({
          op: "test",
          path: "/goal",
          value: "count",
        })),
      ),
      "json_patch",
    ],
  ])("refuses %s", (_what, patch, named) => {
    expect(refusal(patch)).toContain(named);
  });
  test("cannot grow an agent by copies of copies, however often it removes them again", () => {
    const schema = { op: "add", path: "/config/response_schema/a", value: "x".repeat(1000) };
    const doubling = Array.from({ length: 40 }, (_, at) => ({
      op: "copy",
      from: "/config/response_schema",
      path: `/config/response_schema/b${at}`,
    }));
    expect(refusal(operations(schema, ...doubling))).toContain("may write");
    const again = Array.from({ length: 990 }, () => [
      { op: "copy", from: "/config/response_schema", path: "/metadata/copy" },
      { op: "remove", path: "/metadata/copy" },
    ]).flat();
    const large = { ...schema, value: "x".repeat(5_000) };
    expect(refusal(operations(large, ...again.slice(0, 990)))).toContain("may write");
  });
  test("cannot nest deeper than a client could read", () => {
    const nest = Array.from({ length: 40 }, (_, at) => ({
      op: "add",
      path: `/config/response_schema${"/a".repeat(at + 1)}`,
      value: {},
    }));
    expect(refusal(operations(...nest))).toContain("[31].path");
    expect(refusal(operations(...nest.slice(0, 31)))).toStartWith("config.response_schema ");
    const deep = JSON.parse(nested(40));
    expect(refusal(operations({ op: "add", path: "/metadata/a", value: deep }))).toContain("flat");
  });
  test("does not reach the prototypes", () => {
    for (const path of ["/__proto__/polluted", "/constructor/prototype/polluted"])
      refusal(operations({ op: "add", path, value: "yes" }));
    expect(Reflect.get({}, "polluted")).toBeUndefined();
  });
});
