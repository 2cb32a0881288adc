import { describe, expect, test } from "bun:test";
import type { AgentConfig, AgentSpec, AgentTool, Attachment } from "../../src/agent/event.ts";
import { bytesOf, checkBytes, checkInput, checkSpec } from "../../src/agent/spec.ts";
import type { JsonObject } from "../../src/agent/json.ts";
import { EngramError } from "../../src/errors.ts";
import { requestLimits } from "../../src/limits.ts";
import { nested, plainConfig, plainSpec } from "../support/events.ts";

/** The message of the refusal; empty: taken. */
function refusalOf(check: () => void): string {
  try {
    check();
    return "";
  } catch (error) {
    if (error instanceof EngramError && error.code === "invalid_argument") return error.message;
    throw error;
  }
}
const ofSpec = (spec: Partial<AgentSpec>): string =>
  refusalOf(() => checkSpec({ ...plainSpec, ...spec }));
const ofConfig = (config: Partial<AgentConfig>): string =>
  ofSpec({ config: { ...plainConfig, ...config } });
const tool = (name: string): AgentTool => ({
  name,
  description: "",
  parameters: null,
  requiresConfirmation: false,
});
const entries = (count: number): AgentSpec["metadata"] =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, "v"]));

const deep = (levels: number): JsonObject => JSON.parse(nested(levels));

test("a plain spec is taken, and one that is full to its bounds", () => {
  expect(ofSpec({})).toBe("");
  const deepest = deep(requestLimits.jsonLevelsMax);
  const full: AgentSpec = {
    goal: "g".repeat(requestLimits.goalBytesMax),
    model: "m".repeat(requestLimits.modelNameBytesMax),
    systemPrompt: "s".repeat(requestLimits.systemPromptBytesMax),
    metadata: entries(requestLimits.metadataEntriesMax),
    config: { ...plainConfig, temperature: 5, stepsMax: 1, responseSchema: deepest },
    tools: Array.from({ length: requestLimits.toolsMax }, (_, at) => tool(`t-${at}_A`)),
  };
  expect(ofSpec(full)).toBe("");
});

describe("a refused spec names its field:", () => {
  const { goalBytesMax, systemPromptBytesMax, modelNameBytesMax } = requestLimits;
  const { metadataEntriesMax, metadataKeyBytesMax, metadataValueBytesMax } = requestLimits;
  const limits = plainConfig.toolLimits;
  const cases: (readonly [string, string])[] = [
    ["goal", ofSpec({ goal: " \n" })],
    ["goal", ofSpec({ goal: "g".repeat(goalBytesMax + 1) })],
    ["model", ofSpec({ model: "" })],
    ["model", ofSpec({ model: "m".repeat(modelNameBytesMax + 1) })],
    ["system_prompt", ofSpec({ systemPrompt: "s".repeat(systemPromptBytesMax + 1) })],
    ["metadata", ofSpec({ metadata: entries(metadataEntriesMax + 1) })],
    ["metadata", ofSpec({ metadata: { "": "v" } })],
    ["metadata key", ofSpec({ metadata: { ["k".repeat(metadataKeyBytesMax + 1)]: "" } })],
    ["metadata.k", ofSpec({ metadata: { k: "v".repeat(metadataValueBytesMax + 1) } })],
    ["config.max_steps", ofConfig({ stepsMax: -1 })],
    ["config.max_duration", ofConfig({ durationMsMax: Number.NaN })],
    ["config.max_context_tokens", ofConfig({ contextTokensMax: -1 })],
    ["config.max_total_tokens", ofConfig({ totalTokensMax: Infinity })],
    ["config.tool_limits.fuel", ofConfig({ toolLimits: { ...limits, fuel: -1 } })],
    ["config.tool_limits.memory_bytes", ofConfig({ toolLimits: { ...limits, memoryBytes: -1 } })],
    ["config.tool_limits.timeout", ofConfig({ toolLimits: { ...limits, timeoutMs: -1 } })],
    [
      "config.tool_limits.max_output_bytes",
      ofConfig({ toolLimits: { ...limits, outputBytesMax: -1 } }),
    ],
    ["config.temperature", ofConfig({ temperature: 5.1 })],
    ["config.temperature", ofConfig({ temperature: -0.1 })],
    ["config.temperature", ofConfig({ temperature: Number.NaN })],
    ["tools", ofSpec({ tools: [tool("no spaces")] })],
    ["tools", ofSpec({ tools: [tool("")] })],
    ["tools", ofSpec({ tools: [tool("t".repeat(65))] })],
    ["tools", ofSpec({ tools: [tool("../echo")] })],
    ["tools", ofSpec({ tools: [tool("echo"), tool("echo")] })],
    ["tools", ofSpec({ tools: [tool("echo")], config: { ...plainConfig, noTools: true } })],
    ["tools", ofSpec({ tools: Array.from({ length: 129 }, (_, at) => tool(`t${at}`)) })],
  ];
  const wide = (values: number): JsonObject => ({ enum: Array.from({ length: values }, () => 1) });
  const withSchema = (parameters: JsonObject): AgentTool => ({ ...tool("b"), parameters });
  const long = { const: "x".repeat(requestLimits.specBytesMax) };
  const levelsMax = requestLimits.jsonLevelsMax;
  const { messagePartsMax, specBytesMax } = requestLimits;
  cases.push(
    ["config.response_schema", ofConfig({ responseSchema: deep(levelsMax + 1) })],
    ["config.response_schema", ofConfig({ responseSchema: deep(5_000) })],
    ["config.response_schema", ofConfig({ responseSchema: wide(messagePartsMax - 1) })],
    ["config.response_schema", ofConfig({ responseSchema: long })],
    [
      "config.response_schema",
      ofConfig({ responseSchema: { properties: { a: { const: Number.POSITIVE_INFINITY } } } }),
    ],
    [
      "tools[0].parameters_schema",
      ofSpec({ tools: [withSchema({ enum: [1, -Number.POSITIVE_INFINITY] })] }),
    ],
    ["tools[1].parameters_schema", ofSpec({ tools: [tool("a"), withSchema(deep(31))] })],
    [
      "tools[1].parameters_schema",
      ofSpec({ tools: [{ ...withSchema(wide(5_000)), name: "a" }, withSchema(wide(5_000))] }),
    ],
    ["tools", ofSpec({ tools: [withSchema(long)] })],
    ["tools", ofSpec({ tools: [{ ...tool("a"), description: "é".repeat(specBytesMax / 2) }] })],
  );
  test("a deep one for being deep", () => {
    expect(ofConfig({ responseSchema: deep(levelsMax + 1) })).toContain("in one another");
  });
  test.each(cases)("%s: %s", (field, message) => {
    expect(message).toStartWith(`${field} `);
  });
});

describe("a message", () => {
  const file = (mimeType: string): Attachment => ({ name: "a", mimeType, base64: "QQ==" });

  test("has a content or a file", () => {
    expect(refusalOf(() => checkInput("hi", []))).toBe("");
    expect(refusalOf(() => checkInput("", [file("text/plain")]))).toBe("");
    expect(refusalOf(() => checkInput("", []))).toStartWith("user_input.content ");
  });
  test("has files that a model can be shown", () => {
    const params = ["application/json; charset=utf-8", "text/plain;charset=utf-8"];
    for (const type of ["image/png", "text/csv", "application/json", ...params])
      expect(refusalOf(() => checkInput("hi", [file(type)]))).toBe("");
    for (const type of [
      "application/pdf",
      "image/",
      "",
      "x/image/png",
      "application/json2",
      "text/;",
    ])
      expect(refusalOf(() => checkInput("hi", [file("text/css"), file(type)]))).toStartWith(
        "user_input.attachments[1].mime_type ",
      );
  });
  test("has files with names of a length, and images that are not empty", () => {
    const long = "x".repeat(requestLimits.attachmentNameBytesMax + 1);
    const plain = file("text/plain");
    for (const [field, wrong] of [
      ["name", { ...plain, name: long }],
      ["mime_type", { ...plain, mimeType: `text/${long}` }],
      ["data", { ...file("image/png"), base64: "" }],
    ] as const)
      expect(refusalOf(() => checkInput("hi", [wrong]))).toStartWith(
        `user_input.attachments[0].${field} `,
      );
    expect(refusalOf(() => checkInput("hi", [{ ...plain, base64: "" }]))).toBe("");
  });
  test("has no more files than the limit", () => {
    const files = Array.from({ length: requestLimits.attachmentsMax }, () => file("text/plain"));
    expect(refusalOf(() => checkInput("hi", files))).toBe("");
    expect(refusalOf(() => checkInput("hi", [...files, file("text/plain")]))).toContain("17 files");
  });
});

test("a text is measured in UTF-8 bytes, to the byte", () => {
  expect(bytesOf("aé🙂")).toBe(7);
  for (const text of ["aaaaaaa", "aé🙂"]) {
    expect(refusalOf(() => checkBytes("f", text, 7))).toBe("");
    expect(refusalOf(() => checkBytes("f", text, 6))).toBe("f has 7 bytes, the limit is 6");
  }
});
