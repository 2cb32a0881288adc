import { EngramError } from "../errors.ts";
import { requestLimits } from "../limits.ts";
import type { AgentSpec, Attachment } from "./event.ts";
import { hasInfinity, type JsonObject, valuesIn } from "./json.ts";
import { schemaFault } from "./schema.ts";

const utf8 = new TextEncoder();

/** UTF-8 bytes of a text. */
export const bytesOf = (text: string): number => utf8.encode(text).length;

const namePattern = /^[A-Za-z0-9_-]{1,64}$/;

/** Throws invalid_argument, naming the field (by its wire name), where a spec cannot be an agent's. */
export function checkSpec(spec: AgentSpec): void {
  if (spec.goal.trim() === "") throw invalid("goal", "is missing: say what the agent is to do");
  if (spec.model.trim() === "")
    throw invalid("model", "is missing: name a model of the server, such as llama3.2");
  checkBytes("goal", spec.goal, requestLimits.goalBytesMax);
  checkBytes("model", spec.model, requestLimits.modelNameBytesMax);
  checkBytes("system_prompt", spec.systemPrompt, requestLimits.systemPromptBytesMax);
  checkMetadata(spec);
  checkConfig(spec);
  checkTools(spec);
  checkSchemas(spec);
  checkSize(spec);
}

function checkMetadata({ metadata }: AgentSpec): void {
  const entries = Object.entries(metadata);
  if (entries.length > requestLimits.metadataEntriesMax)
    throw invalid(
      "metadata",
      `has ${entries.length} entries, the limit is ${requestLimits.metadataEntriesMax}`,
    );
  for (const [key, value] of entries) {
    if (key === "") throw invalid("metadata", "has an empty key");
    checkBytes("metadata key", key, requestLimits.metadataKeyBytesMax);
    checkBytes(`metadata.${key}`, value, requestLimits.metadataValueBytesMax);
  }
}

function checkConfig({ config }: AgentSpec): void {
  const positive = {
    "config.max_steps": config.stepsMax,
    "config.max_duration": config.durationMsMax,
    "config.max_context_tokens": config.contextTokensMax,
    "config.max_total_tokens": config.totalTokensMax,
    "config.tool_limits.fuel": config.toolLimits.fuel,
    "config.tool_limits.memory_bytes": config.toolLimits.memoryBytes,
    "config.tool_limits.timeout": config.toolLimits.timeoutMs,
    "config.tool_limits.max_output_bytes": config.toolLimits.outputBytesMax,
  };
  for (const [field, value] of Object.entries(positive))
    if (!Number.isFinite(value) || value < 0)
      throw invalid(field, `is ${value}; it must be 0 (the default) or more`);
  const { temperature } = config;
  const { temperatureMax } = requestLimits;
  if (temperature !== null && !(temperature >= 0 && temperature <= temperatureMax))
    throw invalid(
      "config.temperature",
      `is ${temperature}; it must be between 0 and ${temperatureMax}`,
    );
}

function checkTools({ tools, config }: AgentSpec): void {
  if (tools.length > requestLimits.toolsMax)
    throw invalid("tools", `names ${tools.length} tools, the limit is ${requestLimits.toolsMax}`);
  if (config.noTools && tools.length > 0)
    throw invalid("tools", "names tools although config.no_tools is set: leave one of them out");
  const seen = new Set<string>();
  for (const { name } of tools) {
    if (!namePattern.test(name))
      throw invalid("tools", `has the name ${JSON.stringify(name)}: use letters, digits, _ and -`);
    if (seen.has(name)) throw invalid("tools", `names ${name} twice`);
    seen.add(name);
  }
}

function checkSchemas({ config, tools }: AgentSpec): void {
  const schemas = new Map<string, JsonObject | null>([
    ["config.response_schema", config.responseSchema],
    ...tools.map(({ parameters }, at) => [fieldOfSchema(at), parameters] as const),
  ]);
  let left = requestLimits.messagePartsMax;
  for (const [field, schema] of schemas) {
    if (schema === null) continue;
    const values = valuesIn(schema);
    if (values === Infinity)
      throw invalid(
        field,
        `has more than ${requestLimits.jsonLevelsMax} objects and lists in one another: make it flatter`,
      );
    if (hasInfinity(schema)) throw invalid(field, "has a number that is too large for JSON");
    const fault = schemaFault(schema);
    if (fault !== null) throw new EngramError("invalid_argument", field + fault);
    left -= values;
    if (left < 0)
      throw invalid(
        field,
        `is too much: all schemas together may have ${requestLimits.messagePartsMax} values`,
      );
  }
}

const fieldOfSchema = (toolIndex: number): string => `tools[${toolIndex}].parameters_schema`;

/** Bounds all at once what each edit could add to. The largest part is the one to be named. */
function checkSize(spec: AgentSpec): void {
  const bytesMax = requestLimits.specBytesMax;
  if (JSON.stringify(spec).length * 3 <= bytesMax) return;
  const { goal, model, systemPrompt, metadata, config, tools } = spec;
  const parts = Object.entries({
    goal,
    model,
    system_prompt: systemPrompt,
    metadata,
    "config.response_schema": config.responseSchema,
    tools,
  }).map(([field, part]) => ({ field, bytes: bytesOf(JSON.stringify(part)) }));
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  const largest = parts.toSorted((a, b) => b.bytes - a.bytes)[0];
  if (bytes > bytesMax && largest !== undefined)
    throw invalid(
      largest.field,
      `has ${largest.bytes} of ${bytes} bytes that the agent is told in all, the limit is ${bytesMax}: shorten it`,
    );
}

/** Throws invalid_argument where a message of a client cannot be taken. */
export function checkInput(content: string, attachments: readonly Attachment[]): void {
  if (content === "" && attachments.length === 0)
    throw invalid("user_input.content", "is missing: say something to the agent");
  checkBytes("user_input.content", content, requestLimits.contentBytesMax);
  if (attachments.length > requestLimits.attachmentsMax)
    throw invalid(
      "user_input.attachments",
      `has ${attachments.length} files, the limit is ${requestLimits.attachmentsMax}`,
    );
  for (const [at, file] of attachments.entries())
    checkAttachment(`user_input.attachments[${at}]`, file);
}

/** As recorded: a type's name in small letters. Parameters may follow it. */
const mimePattern = /^(image\/[^\s;]+|text\/[^\s;]+|application\/json)\s*(;.*)?$/;

function checkAttachment(field: string, { name, mimeType, base64 }: Attachment): void {
  const bytesMax = requestLimits.attachmentNameBytesMax;
  checkBytes(`${field}.name`, name, bytesMax);
  checkBytes(`${field}.mime_type`, mimeType, bytesMax);
  if (!mimePattern.test(mimeType))
    throw invalid(
      `${field}.mime_type`,
      `is ${JSON.stringify(mimeType)}: use image/*, text/* or application/json`,
    );
  if (base64 === "" && mimeType.startsWith("image/"))
    throw invalid(`${field}.data`, "is empty: an image has bytes");
}

/** Throws invalid_argument, naming the field, where a client's text is longer than `bytesMax`. */
export function checkBytes(field: string, text: string, bytesMax: number): void {
  // A UTF-16 unit is at most 3 bytes, so that most texts need no encoding to be measured.
  if (text.length * 3 <= bytesMax) return;
  const bytes = bytesOf(text);
  if (bytes > bytesMax) throw invalid(field, `has ${bytes} bytes, the limit is ${bytesMax}`);
}

const invalid = (field: string, what: string): EngramError =>
  new EngramError("invalid_argument", `${field} ${what}`);
