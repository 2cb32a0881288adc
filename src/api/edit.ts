import {
  create,
  type DescMessage,
  fromJson,
  type JsonObject as WireObject,
  type JsonValue as WireValue,
  toJson,
} from "@bufbuild/protobuf";
import { applyPatch, type Operation } from "rfc6902";
import type { AgentSpec } from "../agent/event.ts";
import { checkSpec } from "../agent/spec.ts";
import { EngramError, messageOf } from "../errors.ts";
import { CreateAgentRequestSchema } from "../gen/engram/api/v1/agent_pb.ts";
import { requestLimits } from "../limits.ts";
import { specOf } from "./spec.ts";
import { specFields } from "./wire.ts";

const editable = ["goal", "model", "systemPrompt", "metadata", "config", "tools"];

/**
 * The spec as a client's patch changes it: a JSON Merge Patch (RFC 7386) of its JSON form, or RFC 6902 operations under
 * `json_patch`. Field names are taken in both of the proto's spellings. Fails with invalid_argument.
 */
export function patched(spec: AgentSpec, patch: WireObject): AgentSpec {
  const document = toJson(
    CreateAgentRequestSchema,
    create(CreateAgentRequestSchema, specFields(spec)),
    {
      alwaysEmitImplicit: true,
    },
  );
  if (!isObject(document)) throw invalid("does not fit");
  delete document["requestId"];
  const operations = patch["json_patch"];
  const changed =
    operations === undefined
      ? merged(document, inJsonNames(CreateAgentRequestSchema, patch))
      : operated(document, operations);
  if (!isObject(changed)) throw invalid("must leave an object");
  const unknown = Object.keys(changed).find((name) => !editable.includes(name));
  if (unknown !== undefined)
    throw invalid(`names ${JSON.stringify(unknown)}; what can be edited is ${editable.join(", ")}`);
  let next: AgentSpec;
  try {
    next = specOf(fromJson(CreateAgentRequestSchema, changed));
  } catch (cause) {
    throw cause instanceof EngramError ? cause : invalid(`does not fit: ${messageOf(cause)}`);
  }
  checkSpec(next);
  return next;
}

const invalid = (what: string): EngramError =>
  new EngramError("invalid_argument", `edit.patch ${what}`);

const isObject = (value: WireValue | undefined): value is WireObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** RFC 7386: objects are merged, null removes, anything else replaces. */
function merged(target: WireValue | undefined, patch: WireValue): WireValue {
  if (!isObject(patch)) return patch;
  const result = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch))
    if (value === null) result.delete(name);
    else result.set(name, merged(result.get(name), value));
  return Object.fromEntries(result);
}

function operated(document: WireObject, operations: WireValue): WireObject {
  if (!Array.isArray(operations) || operations.length > requestLimits.patchOperationsMax)
    throw invalid(
      `has a json_patch that is not a list of at most ${requestLimits.patchOperationsMax} operations`,
    );
  const list = operations.map((operation, index) => operationOf(operation, index));
  const fault = applyPatch(document, list).find((error) => error !== null);
  if (fault) throw invalid(`cannot be applied: ${fault.message}`);
  return document;
}

const verbs = ["add", "remove", "replace", "move", "copy", "test"];

function operationOf(given: WireValue, index: number): Operation {
  const operation = isObject(given) ? { ...given } : {};
  for (const field of ["path", "from"]) {
    const path = operation[field];
    if (typeof path === "string") operation[field] = pathInJsonNames(path);
  }
  if (isOperation(operation)) return operation;
  throw invalid(
    `has in json_patch[${index}] no RFC 6902 operation: {"op", "path", and "value" or "from"}`,
  );
}

function isOperation(value: WireObject): value is WireObject & Operation {
  const { op, path, from } = value;
  if (typeof path !== "string" || typeof op !== "string" || !verbs.includes(op)) return false;
  if (op === "move" || op === "copy") return typeof from === "string";
  return op === "remove" || value["value"] !== undefined;
}

const jsonName = (message: DescMessage | undefined, name: string): string =>
  message?.fields.find((field) => field.name === name)?.jsonName ?? name;

const messageUnder = (message: DescMessage | undefined, name: string): DescMessage | undefined => {
  const field = message?.fields.find((one) => one.jsonName === name);
  const under = field?.message;
  // A Struct's fields are the client's own names.
  return under?.typeName.startsWith("google.") === true ? undefined : under;
};

/** `system_prompt` as `systemPrompt`, at every depth that the wire has names for. */
function inJsonNames(message: DescMessage | undefined, value: WireValue): WireValue {
  if (message === undefined) return value;
  if (Array.isArray(value)) return value.map((item) => inJsonNames(message, item));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([given, item]) => {
      const name = jsonName(message, given);
      return [name, inJsonNames(messageUnder(message, name), item)];
    }),
  );
}

function pathInJsonNames(path: string): string {
  let message: DescMessage | undefined = CreateAgentRequestSchema;
  return path
    .split("/")
    .map((part) => {
      if (/^(\d+|-|)$/.test(part)) return part;
      const name = jsonName(message, part);
      message = messageUnder(message, name);
      return name;
    })
    .join("/");
}
